package control

import (
	"context"
	"crypto/tls"
	"net"
	"testing"
	"testing/synctest"

	"lockstep/internal/signed"
)

// bubble is a node of key 9 whose network and clock are in memory: time passes
// only when everybody waits for it. Use it inside synctest.Test.
type bubble struct {
	t       *testing.T
	conns   chan net.Conn
	closed  chan struct{}
	server  *Server
	dials   int
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
	b.dials++
	if b.pending != nil {
		b.pending(far)
	} else {
		go func() { // as an endpoint does: the server gets it with the key proven
			if conn := tls.Server(far, config(b.t, testKey(9))); conn.Handshake() == nil {
				b.conns <- conn
			}
		}()
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
