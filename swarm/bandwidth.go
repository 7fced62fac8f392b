package swarm

import (
	"context"
	"fmt"
	"slices"
	"time"

	"lockstep/internal/fault"
	"lockstep/internal/merkle"
	"lockstep/internal/signed"
	"lockstep/model"
	"lockstep/swarm/control"
	"lockstep/validate"
)

// probe times how fast one miner serves chunks of a state that the prober has.
type probe struct {
	client *control.Client
	layout *model.Layout
	state  *digests
	limit  time.Duration // of the whole probe
	warn   func(format string, args ...any)
}

// probeTime is the limit of a bandwidth query.
const probeTime = 5 * time.Second

// measure asks a miner for chunks, one after the other, and returns how many
// verified bytes came, and the time from the first request to the last byte. A
// miner that does not serve all of them, in time and right, is taken to have
// used the whole limit: so it cannot gain by refusing what is slow to serve.
func (p *probe) measure(ctx context.Context, miner signed.PeerID, refs []validate.ChunkRef) (bytes, nanos uint64) {
	ctx, cancel := context.WithTimeout(ctx, p.limit)
	defer cancel()
	began, all := time.Now(), true
	for _, ref := range refs {
		n, err := p.chunk(ctx, miner, ref)
		if ctx.Err() != nil {
			all = false // what came with the limit came too late
			break
		}
		bytes += uint64(n)
		all = all && err == nil
		if fault.KindOf(err) == fault.Damaged {
			p.warn("%v", err)
		}
	}
	took := time.Since(began)
	if !all {
		took = p.limit
	}
	return bytes, uint64(took.Nanoseconds())
}

// chunk asks for one chunk and returns its size in bytes, 0 unless it is right.
func (p *probe) chunk(ctx context.Context, miner signed.PeerID, ref validate.ChunkRef) (int, error) {
	i := slices.IndexFunc(vectors[:], func(x vector) bool { return x.kind == ref.Vector })
	g := p.layout.Grid(ref.Vector)
	lo, hi := g.ChunkSpan(int(ref.Chunk))
	path := fmt.Sprintf("/v1/state/%d/%s/chunk/%d", p.state.Epoch, vectors[i].name, ref.Chunk)
	raw, err := p.client.Raw(ctx, miner, path, 4*(hi-lo))
	if err != nil {
		return 0, err
	}
	a := int(ref.Chunk) * merkle.ChunkLeaves
	if !leavesFit(g, p.state.leaves[i], a, min(a+merkle.ChunkLeaves, g.Leaves()), raw) {
		return 0, fault.Errorf(fault.Damaged, "%s serves wrong bytes as %s", miner.Short(), path)
	}
	return len(raw), nil
}
