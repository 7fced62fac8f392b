package control

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"lockstep/internal/fault"
	"lockstep/internal/signed"
)

// bubble is a node of key 9 whose network and clock are in memory: time passes
// only when everybody waits for it. Use it inside synctest.Test.
type bubble struct {
	t       *testing.T
	conns   chan net.Conn
	closed  chan struct{}
	server  *Server
	pending func(net.Conn) // takes a connection instead of the server; nil: the server serves it
}

func (b *bubble) Accept() (net.Conn, error) {
	select {
	case c := <-b.conns:
		return c, nil
	case <-b.closed:
		return nil, net.ErrClosed
	}
}

func (b *bubble) Close() error {
	select {
	case <-b.closed:
	default:
		close(b.closed)
	}
	return nil
}

func (b *bubble) Addr() net.Addr { return &net.TCPAddr{} }

func newBubble(t *testing.T, routes []Route, o Options) *bubble {
	b := &bubble{t: t, conns: make(chan net.Conn), closed: make(chan struct{})}
	if o.Seats == nil {
		o.Seats = func(p signed.PeerID) (Seat, bool) { return Seat{Peer: p, Role: Miner}, true }
	}
	ctx, cancel := context.WithCancel(t.Context())
	b.server = NewServer(ctx, routes, o)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = b.server.Serve(b)
	}()
	t.Cleanup(func() {
		cancel()
		_ = b.server.Close()
		<-done
		synctest.Wait()
	})
	return b
}

// dial opens a connection in memory and proves key k on it.
func (b *bubble) dial(ctx context.Context, k byte) (*tls.Conn, error) {
	near, far := net.Pipe()
	if b.pending != nil {
		b.pending(far)
	} else {
		b.conns <- tls.Server(far, config(b.t, testKey(9)))
	}
	conn := tls.Client(near, config(b.t, testKey(k)))
	if err := conn.HandshakeContext(ctx); err != nil {
		near.Close()
		return nil, err
	}
	return conn, nil
}

// client calls the node with key k.
func (b *bubble) client(k byte) *Client {
	c := NewClient(func(ctx context.Context, _ signed.PeerID) (*tls.Conn, error) { return b.dial(ctx, k) })
	b.t.Cleanup(c.Close)
	return c
}

// silentRoutes never answer, or with more than a slow node can send.
func silentRoutes() []Route {
	forever := func(ctx context.Context, c Call) (Reply, error) {
		<-ctx.Done()
		return Reply{}, ctx.Err()
	}
	return []Route{
		{Pattern: "GET /never", Access: Seated, Serve: forever},
		{Pattern: "POST /never", Access: Seated, Body: 1 << 20, Serve: forever},
		{Pattern: "GET /bytes", Access: Seated, Serve: func(context.Context, Call) (Reply, error) {
			return Reply{Raw: make([]byte, 1<<20)}, nil
		}},
	}
}

func TestSilentPeersAreGivenUp(t *testing.T) {
	peer := idOf(testKey(9))
	get := func(wait time.Duration) func(context.Context, *Client) error {
		return func(ctx context.Context, c *Client) error { return c.Get(ctx, peer, "/never", wait, &note{}) }
	}
	tests := []struct {
		name string
		ask  func(context.Context, *Client) error
		want time.Duration
	}{
		{"get", get(0), 15 * time.Second},
		{"long poll", get(20 * time.Second), 35 * time.Second},
		{"raw", func(ctx context.Context, c *Client) error {
			_, err := c.Raw(ctx, peer, "/never", 1<<20)
			return err
		}, 15 * time.Second},
		{"post", func(ctx context.Context, c *Client) error {
			return c.Post(ctx, peer, "/never", time.Minute, note{strings.Repeat("x", 128<<10-4)}, &note{})
		}, 77 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, start := newBubble(t, silentRoutes(), Options{}).client(1), time.Now()
				err := tt.ask(t.Context(), c)
				if took := time.Since(start); fault.KindOf(err) != fault.Network || took.Round(time.Second) != tt.want {
					t.Errorf("after %v: %v; want fault.Network after %v", took, err, tt.want)
				}
			})
		})
	}
}

// TestSilentConnectionsAreGivenUp: a peer that takes connections and says
// nothing on them.
func TestSilentConnectionsAreGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, nil, Options{})
		b.pending = func(c net.Conn) {
			go io.Copy(io.Discard, c)
			t.Cleanup(func() { c.Close() })
		}
		start := time.Now()
		err := b.client(1).Get(t.Context(), idOf(testKey(9)), "/never", 0, &note{})
		if took := time.Since(start); fault.KindOf(err) != fault.Network || took != connectTime {
			t.Errorf("after %v: %v", took, err)
		}
	})
}

// TestDribblingPeersAreGivenUp: a peer that sends the answer's head, and then a
// byte now and then.
func TestDribblingPeersAreGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, silentRoutes(), Options{Throttle: NewBudget(1000, 100<<10)})
		start := time.Now()
		_, err := b.client(1).Raw(t.Context(), idOf(testKey(9)), "/bytes", 1<<20)
		if took := time.Since(start); fault.KindOf(err) != fault.Network || took != TransferTime(1<<20) {
			t.Errorf("1 MiB at 1000 bytes per second, after %v: %v", took, err)
		}
	})
}

// TestOwnContextComesFirst: what the caller ended is no failure of the peer.
func TestOwnContextComesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		c := newBubble(t, silentRoutes(), Options{}).client(1)
		if err := c.Get(ctx, idOf(testKey(9)), "/never", 0, &note{}); err != context.DeadlineExceeded {
			t.Error(err)
		}
	})
}
