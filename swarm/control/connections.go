package control

import (
	"crypto/tls"
	"net"
	"net/http"
	"sync"

	"lockstep/internal/signed"
)

// Limits of connections. Where one too many comes, the one that has been idle
// longest makes room; the newcomer is closed where all are in use.
const (
	connectionsPerKey = 4
	strangerConns     = 64 // of all keys without a seat
)

// connections bounds the connections of a server: those of one key, and those
// of all keys without a seat.
type connections struct {
	seats func(signed.PeerID) (Seat, bool)

	mu   sync.Mutex
	open map[net.Conn]*connection
	turn uint64
}

// connection is a connection whose key is proven.
type connection struct {
	peer   signed.PeerID
	seated bool
	idle   bool
	used   uint64 // when it last changed between idle and in use, by connections.turn
}

// follow is the hook of http.Server.ConnState. A connection counts as one
// without a seat until it has said a first word: StateNew comes on the goroutine
// that accepts, which must not wait for the registry.
func (c *connections) follow(conn net.Conn, state http.ConnState) {
	if state == http.StateClosed || state == http.StateHijacked {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.open, conn)
		return
	}
	seated := false
	peer, ok := provenKey(conn)
	if !ok {
		return // its handshake is under way
	}
	if state == http.StateActive {
		_, seated = c.seats(peer)
	}
	if surplus := c.note(conn, peer, seated, state != http.StateActive); surplus != nil {
		surplus.(*tls.Conn).NetConn().Close() // no TLS farewell: it may block
	}
}

// provenKey returns the key at the other end of a connection whose handshake is
// done.
func provenKey(conn net.Conn) (signed.PeerID, bool) {
	t, ok := conn.(*tls.Conn)
	if !ok {
		return signed.PeerID{}, false
	}
	state := t.ConnectionState()
	if !state.HandshakeComplete {
		return signed.PeerID{}, false
	}
	peer, err := peerOf(&state)
	return peer, err == nil
}

// note keeps what is known of a connection, and returns the one that has to go
// for it; nil if there is room for all.
func (c *connections) note(conn net.Conn, peer signed.PeerID, seated, idle bool) net.Conn {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.open[conn]
	if k == nil {
		k = &connection{peer: peer}
		c.open[conn] = k
	}
	c.turn++
	k.idle, k.used, k.seated = idle, c.turn, k.seated || seated
	surplus := c.surplus(connectionsPerKey, conn, func(o *connection) bool { return o.peer == peer })
	if surplus == nil && !k.seated {
		surplus = c.surplus(strangerConns, conn, func(o *connection) bool { return !o.seated })
	}
	delete(c.open, surplus)
	return surplus
}

// surplus returns which of the connections that count must go so that no more
// than limit are left: the one that has been idle longest, else newest.
func (c *connections) surplus(limit int, newest net.Conn, counts func(*connection) bool) net.Conn {
	n, out := 0, newest
	for conn, k := range c.open {
		if !counts(k) {
			continue
		}
		n++
		if k.idle && (!c.open[out].idle || k.used < c.open[out].used) {
			out = conn
		}
	}
	if n <= limit {
		return nil
	}
	return out
}
