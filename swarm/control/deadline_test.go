package control

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"lockstep/internal/fault"
)

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
		if took := time.Since(start); fault.KindOf(err) != fault.Network || took != transferTime(1<<20) {
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
