package transport

import (
	"net"
	"sync"
	"time"
)

// Limits bounds what strangers can make a node do. A zero field takes its
// default.
type Limits struct {
	Handshake time.Duration // time for TCP and TLS to be ready; 5 s
	Pending   int           // handshakes at a time, from everybody; 64
	PerSecond int           // new connections a second from one IP address; 32
	Idle      int           // accepted connections that wait to be taken; 64
}

func (l Limits) withDefaults() Limits {
	if l.Handshake <= 0 {
		l.Handshake = 5 * time.Second
	}
	if l.Pending <= 0 {
		l.Pending = 64
	}
	if l.PerSecond <= 0 {
		l.PerSecond = 32
	}
	if l.Idle <= 0 {
		l.Idle = 64
	}
	return l
}

// maxAddresses caps how many IP addresses a gate remembers within a second.
const maxAddresses = 4096

// gate counts new connections by IP address, one second at a time.
type gate struct {
	limit int

	mu     sync.Mutex
	second int64
	count  map[string]int
}

// admit reports whether one more connection from addr is welcome at time now.
func (g *gate) admit(addr net.Addr, now time.Time) bool {
	host, _, err := net.SplitHostPort(addr.String())
	if err != nil {
		host = addr.String()
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if s := now.Unix(); s != g.second || g.count == nil {
		g.second, g.count = s, map[string]int{}
	}
	if g.count[host] == 0 && len(g.count) >= maxAddresses {
		return false
	}
	g.count[host]++
	return g.count[host] <= g.limit
}
