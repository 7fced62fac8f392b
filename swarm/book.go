package swarm

import (
	"context"
	"sync"
	"time"

	"lockstep/internal/signed"
	"lockstep/swarm/control"
)

// book is the registry as a node knows it, and where the validators are that it
// was told of. It is safe for concurrent use.
type book struct {
	mu    sync.Mutex
	fixed []Address // validators that are known without a registry
	// fetch asks a validator for the registry; nil at a validator, whose own
	// book is the truth.
	fetch    func(ctx context.Context) (control.Registry, error)
	registry control.Registry
	asked    time.Time // when fetch was last called
}

// refreshEvery bounds how often strangers can make us ask for the registry.
const refreshEvery = 250 * time.Millisecond

// follow tells the book which validators there are without a registry, and how
// to ask one for it. Until then nobody has a seat: the port is open already.
func (b *book) follow(fetch func(ctx context.Context) (control.Registry, error), validators ...Address) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fixed, b.fetch = validators, fetch
}

// validators returns those that are known without a registry.
func (b *book) validators() []Address {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.fixed
}

// set replaces the registry by a newer one.
func (b *book) set(r control.Registry) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if r.Version >= b.registry.Version {
		b.registry = r
	}
}

// get returns the registry.
func (b *book) get() control.Registry {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.registry
}

// seat returns where a key sits. A key that is unknown may have joined since we
// looked, so the validator is asked once more.
func (b *book) seat(p signed.PeerID) (control.Seat, bool) {
	if s, ok := b.lookup(p); ok {
		return s, ok
	}
	if b.refresh() {
		return b.lookup(p)
	}
	return control.Seat{}, false
}

func (b *book) lookup(p signed.PeerID) (control.Seat, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if s, ok := b.registry.SeatOf(p); ok {
		return s, true
	}
	for _, v := range b.fixed {
		if v.Peer == p {
			return control.Seat{Peer: p, Role: control.Validator, Address: v.HostPort}, true
		}
	}
	return control.Seat{}, false
}

// refresh asks for the registry, not too often, and reports whether it did.
func (b *book) refresh() bool {
	b.mu.Lock()
	now := time.Now()
	if b.fetch == nil || now.Sub(b.asked) < refreshEvery {
		b.mu.Unlock()
		return false
	}
	b.asked = now
	fetch := b.fetch
	b.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	r, err := fetch(ctx)
	if err != nil {
		return false // the validator is away: nobody new can have joined
	}
	b.set(r)
	return true
}

// address returns where a peer listens.
func (b *book) address(p signed.PeerID) (string, bool) {
	s, ok := b.lookup(p)
	return s.Address, ok && s.Address != ""
}
