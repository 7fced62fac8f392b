package transport

import (
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Limits bounds what strangers can make a node do. A zero field takes its
// default. What one network may do is counted by IPv4 address, or by the 64 bits
// of an IPv6 address that one customer has to himself.
type Limits struct {
	Handshake   time.Duration // time for TCP and TLS to be ready; 5 s
	Pending     int           // handshakes at a time, from everybody; 128. One more ends the oldest
	PendingEach int           // handshakes at a time, from one network; 16. One more ends its oldest
	PerSecond   int           // new connections a second from one network; 32
	Idle        int           // accepted connections that wait to be taken; 64
}

func (l Limits) withDefaults() Limits {
	if l.Handshake <= 0 {
		l.Handshake = 5 * time.Second
	}
	if l.Pending <= 0 {
		l.Pending = 128
	}
	if l.PendingEach <= 0 {
		l.PendingEach = 16
	}
	if l.PerSecond <= 0 {
		l.PerSecond = 32
	}
	if l.Idle <= 0 {
		l.Idle = 64
	}
	return l
}

// networkOf returns whom an address is counted for; the zero Prefix for one that
// is no IP address.
func networkOf(a net.Addr) netip.Prefix {
	full, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.Prefix{}
	}
	ip := full.Addr().Unmap().WithZone("")
	bits := ip.BitLen()
	if ip.Is6() {
		bits = 64
	}
	p, _ := ip.Prefix(bits) // fails for more bits than there are
	return p
}

// places are what may be under way, by network and in all.
type places struct {
	all, each int // at the most

	mu    sync.Mutex
	taken []place // in the order of taking
}

type place struct {
	from netip.Prefix
	conn net.Conn
}

// take takes a place, if one is free.
func (p *places) take(from netip.Prefix, conn net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.longest(from) >= 0 {
		return false
	}
	p.taken = append(p.taken, place{from, conn})
	return true
}

// seize takes a place, and where none is free that which has been taken longest;
// it returns whose that was.
func (p *places) seize(from netip.Prefix, conn net.Conn) (evicted net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := p.longest(from); i >= 0 {
		evicted = p.taken[i].conn
		p.taken = slices.Delete(p.taken, i, i+1)
	}
	p.taken = append(p.taken, place{from, conn})
	return evicted
}

// longest returns which place stands in the way of another for from: the oldest
// of its network, or of all; -1 if none does.
func (p *places) longest(from netip.Prefix) int {
	n, oldest := 0, -1
	for i, t := range slices.Backward(p.taken) {
		if t.from == from {
			n, oldest = n+1, i
		}
	}
	switch {
	case n >= p.each:
		return oldest
	case len(p.taken) >= p.all:
		return 0
	}
	return -1
}

// give gives a place back, unless it was seized.
func (p *places) give(conn net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.taken = slices.DeleteFunc(p.taken, func(t place) bool { return t.conn == conn })
}

// maxNetworks caps how many networks a gate remembers within a second.
const maxNetworks = 4096

// gate counts new connections by network, one second at a time.
type gate struct {
	limit int

	mu     sync.Mutex
	second int64
	count  map[netip.Prefix]int
}

// admit reports whether one more connection from n is welcome at time now.
func (g *gate) admit(n netip.Prefix, now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if s := now.Unix(); s != g.second || g.count == nil {
		g.second, g.count = s, map[netip.Prefix]int{}
	}
	if g.count[n] == 0 && len(g.count) >= maxNetworks {
		return false
	}
	g.count[n]++
	return g.count[n] <= g.limit
}
