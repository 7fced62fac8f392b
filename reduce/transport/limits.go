package transport

import (
	"net"
	"net/netip"
	"sync"
	"time"
)

// Limits bounds what strangers can make a node do. A zero field takes its
// default. What one network may do is counted by IPv4 address, or by the 64 bits
// of an IPv6 address that one customer has to himself.
type Limits struct {
	Handshake   time.Duration // time for TCP and TLS to be ready; 5 s
	Pending     int           // handshakes at a time, from everybody; 128
	PendingEach int           // handshakes at a time, from one network; 16
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

// places counts what is under way, by network and in all.
type places struct {
	all, each int // at the most

	mu    sync.Mutex
	taken int
	of    map[netip.Prefix]int
}

// take takes a place, if one is free.
func (p *places) take(n netip.Prefix) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.taken >= p.all || p.of[n] >= p.each {
		return false
	}
	if p.of == nil {
		p.of = map[netip.Prefix]int{}
	}
	p.taken++
	p.of[n]++
	return true
}

// give gives a place back.
func (p *places) give(n netip.Prefix) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.taken--
	if p.of[n]--; p.of[n] == 0 {
		delete(p.of, n)
	}
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
