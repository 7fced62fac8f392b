package swarm

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"lockstep/internal/fault"
	"lockstep/internal/merkle"
	"lockstep/internal/signed"
	"lockstep/model"
	"lockstep/reduce/commit"
	"lockstep/swarm/control"
)

// fetcher takes vectors from other nodes, chunk by chunk, and believes nothing
// that is not under the root it was given.
type fetcher struct {
	client *control.Client
	warn   func(format string, args ...any)
}

// fetchers is how many chunks are asked for at once.
const fetchers = 4

// wanted is a vector by its root, and the path below which nodes serve it as
// "/leaves" and "/chunk/{i}".
type wanted struct {
	grid   merkle.Grid
	size   int // leaves of a chunk
	root   merkle.Digest
	path   string
	have   []merkle.Digest // digests of what dst holds already; nil if nothing
	others bool            // an honest node may serve another vector here: that of a failed attempt
}

func (w wanted) chunks() int { return (w.grid.Leaves() + w.size - 1) / w.size }

// leaves returns the leaves [a, b) of chunk c, span its elements.
func (w wanted) leaves(c int) (a, b int) { return c * w.size, min((c+1)*w.size, w.grid.Leaves()) }

func (w wanted) span(c int) (lo, hi int) {
	a, b := w.leaves(c)
	lo, _ = w.grid.LeafSpan(a)
	_, hi = w.grid.LeafSpan(b - 1)
	return lo, hi
}

// vector fills dst with the wanted vector from a pool of sources. The error is
// fault.Network when none is left.
func (f *fetcher) vector(ctx context.Context, w wanted, p *pool, dst []float32) error {
	leaves, err := f.leaves(ctx, w, p)
	if err != nil {
		return err
	}
	var next atomic.Int64
	g, ctx := errgroup.WithContext(ctx)
	for range min(fetchers, w.chunks()) {
		g.Go(func() error {
			for c := int(next.Add(1)) - 1; c < w.chunks(); c = int(next.Add(1)) - 1 {
				if err := f.chunk(ctx, w, p, leaves, c, dst); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}

// leaves gets the digests of all leaves.
func (f *fetcher) leaves(ctx context.Context, w wanted, p *pool) ([]merkle.Digest, error) {
	if w.have != nil && merkle.Root(w.have) == w.root {
		return w.have, nil // only bytes that we have are wanted
	}
	var out []merkle.Digest
	err := p.try(ctx, 0, func(peer signed.PeerID) error {
		raw, err := f.client.Raw(ctx, peer, w.path+"/leaves", len(merkle.Digest{})*w.grid.Leaves())
		if err != nil {
			return err
		}
		out = splitDigests(raw)
		if merkle.Root(out) != w.root {
			if w.others {
				return control.Refuse(control.Absent, "%s has another vector as %s", peer.Short(), w.path)
			}
			return fault.Errorf(fault.Damaged, "%s serves leaf digests of %s that are not those of %s", peer.Short(), w.path, w.root.Short())
		}
		return nil
	}, f.warn)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", w.path, err)
	}
	return out, nil
}

// chunk gets chunk c, unless dst has it already.
func (f *fetcher) chunk(ctx context.Context, w wanted, p *pool, leaves []merkle.Digest, c int, dst []float32) error {
	lo, hi := w.span(c)
	a, b := w.leaves(c)
	if w.have != nil && slices.Equal(w.have[a:b], leaves[a:b]) {
		return nil
	}
	err := p.try(ctx, c, func(peer signed.PeerID) error {
		raw, err := f.client.Raw(ctx, peer, fmt.Sprintf("%s/chunk/%d", w.path, c), 4*(hi-lo))
		if err != nil {
			return err
		}
		if !leavesFit(w.grid, leaves, a, b, raw) {
			return fault.Errorf(fault.Damaged, "%s serves wrong bytes as %s/chunk/%d", peer.Short(), w.path, c)
		}
		merkle.DecodeFloat32(dst[lo:hi], raw)
		return nil
	}, f.warn)
	if err != nil {
		return fmt.Errorf("%s/chunk/%d: %w", w.path, c, err)
	}
	return nil
}

// leavesFit reports whether raw are the encoded bytes of the leaves [a, b).
func leavesFit(g merkle.Grid, leaves []merkle.Digest, a, b int, raw []byte) bool {
	for i := a; i < b; i++ {
		lo, hi := g.LeafSpan(i)
		n := 4 * (hi - lo)
		if len(raw) < n || g.LeafDigest(i, raw[:n]) != leaves[i] {
			return false
		}
		raw = raw[n:]
	}
	return len(raw) == 0
}

// splitDigests cuts bytes, a multiple of 32, into digests.
func splitDigests(raw []byte) []merkle.Digest {
	out := make([]merkle.Digest, len(raw)/len(merkle.Digest{}))
	for i := range out {
		copy(out[i][:], raw[i*len(out[i]):])
	}
	return out
}

// joinDigests is the inverse of splitDigests.
func joinDigests(d []merkle.Digest) []byte {
	out := make([]byte, 0, len(d)*len(merkle.Digest{}))
	for i := range d {
		out = append(out, d[i][:]...)
	}
	return out
}

// state takes the state that is certified as want into s, which holds a sound
// state whose digests are have (nil if it holds none): only chunks that differ
// are asked for. After an error s holds neither.
func (f *fetcher) state(ctx context.Context, want control.State, from sources, s *model.State, have *digests) error {
	p := newPool(from)
	roots, memory := rootsOf(want), vectorsOf(s)
	for i, v := range vectors {
		w := wanted{
			grid: s.Layout.Grid(v.kind), size: merkle.ChunkLeaves, root: roots[i],
			path: fmt.Sprintf("/v1/state/%d/%s", want.Epoch, v.name),
		}
		if have != nil {
			w.have = have.leaves[i]
		}
		if err := f.vector(ctx, w, p, memory[i]); err != nil {
			return err
		}
	}
	s.Epoch, s.Step = want.Epoch, want.Step
	return nil
}

// average takes the average of an epoch by its root. Averages have the chunks of
// the run's rounds.
func (f *fetcher) average(ctx context.Context, epoch uint64, root merkle.Digest, shape commit.Shape, from sources) ([]float32, error) {
	out := make([]float32, shape.Elements)
	err := f.vector(ctx, wanted{
		grid: merkle.Grid{Kind: merkle.KindAverage, Codec: merkle.CodecF32, Elements: shape.Elements}, size: shape.ChunkLeaves,
		root: root, path: fmt.Sprintf("/v1/average/%d", epoch), others: true,
	}, newPool(from), out)
	return out, err
}
