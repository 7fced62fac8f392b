package swarm

import (
	"context"
	"slices"
	"sync"
	"time"

	"lockstep/internal/fault"
	"lockstep/internal/signed"
	"lockstep/swarm/control"
)

// sources says who may have something now, in the order of preference.
type sources func() []signed.PeerID

// pool is the sources of one transfer. One that is silent is set aside, and one
// that does not have what is wanted, or serves wrong bytes, is never asked
// again. When all are set aside the pool is filled again, a few times, with
// whoever is there by then. It is safe for concurrent use.
type pool struct {
	from sources

	mu    sync.Mutex
	peers []signed.PeerID
	never map[signed.PeerID]bool
	fills int // that are left
}

const (
	poolFills = 3                      // beyond the first
	fillPause = 500 * time.Millisecond // before each of them
)

func newPool(from sources) *pool {
	return &pool{from: from, peers: from(), never: map[signed.PeerID]bool{}, fills: poolFills}
}

// try asks one source after the other, beginning with a different one for each
// turn, until one serves. The error is fault.Network when none is left, and
// names the last failure.
func (p *pool) try(ctx context.Context, turn int, ask func(signed.PeerID) error, warn func(string, ...any)) error {
	last := error(fault.Errorf(fault.Network, "no node is left that serves it"))
	for {
		peer, ok := p.pick(ctx, turn)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if !ok {
			return last
		}
		err := ask(peer)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		wrong := fault.KindOf(err) == fault.Damaged
		if wrong {
			warn("%v", err)
		}
		last = fault.Wrap(fault.Network, err)
		p.drop(peer, wrong || control.IsRefusal(err) && !control.IsRefusal(err, control.Later, control.Busy))
	}
}

// pick returns a source, filling the pool where none is left.
func (p *pool) pick(ctx context.Context, turn int) (signed.PeerID, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.peers) == 0 {
		if p.fills == 0 || len(p.worth()) == 0 {
			return signed.PeerID{}, false
		}
		p.fills--
		if sleep(ctx, fillPause) != nil { // the others of the transfer wait as well
			return signed.PeerID{}, false
		}
		p.peers = p.worth()
	}
	return p.peers[turn%len(p.peers)], true
}

// worth lists who is there and not ruled out. p.mu is held.
func (p *pool) worth() []signed.PeerID {
	return slices.DeleteFunc(p.from(), func(q signed.PeerID) bool { return p.never[q] })
}

// drop sets a source aside, for ever or until the pool is filled again.
func (p *pool) drop(peer signed.PeerID, ever bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if ever {
		p.never[peer] = true
	}
	p.peers = slices.DeleteFunc(p.peers, func(q signed.PeerID) bool { return q == peer })
}
