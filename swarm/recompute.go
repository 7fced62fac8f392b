package swarm

import (
	"context"
	"slices"

	"lockstep/internal/fault"
	"lockstep/internal/merkle"
	"lockstep/model"
	"lockstep/validate"
)

// ownLeaves are leaves of a gradient that this node computed.
type ownLeaves struct {
	digests []merkle.Digest
	leaves  map[int][]byte // encoded; those that were asked for
}

// Digests implements validate.LeafSource.
func (o *ownLeaves) Digests(context.Context) ([]merkle.Digest, error) { return o.digests, nil }

// Leaf implements validate.LeafSource.
func (o *ownLeaves) Leaf(_ context.Context, i int) ([]byte, error) {
	data, ok := o.leaves[i]
	if !ok {
		return nil, fault.Errorf(fault.Unexpected, "leaf %d was not kept", i)
	}
	return data, nil
}

// computeAgain computes the gradient of a seat in an epoch that is averaged
// already, and keeps what some chunks need of it.
func (v *validator) computeAgain(ctx context.Context, epoch uint64, uid uint32, chunks []uint32) (validate.LeafSource, error) {
	base, err := v.baseOf(ctx, epoch)
	if err != nil {
		return nil, err
	}
	w, err := v.computer.Compute(ctx, base, epoch, uid)
	if err != nil {
		return nil, err
	}
	o := &ownLeaves{slices.Clone(w.Leaves), map[int][]byte{}}
	for _, c := range chunks {
		first, end := v.shape.ChunkLeafSpan(int(c))
		for i := first; i < end; i++ {
			lo, hi := v.shape.LeafSpan(i)
			o.leaves[i] = merkle.AppendFloat32(nil, w.Gradient[lo:hi])
		}
	}
	return o, nil
}

// baseOf returns the parameters that an epoch started from: the initial ones, or
// those of the state saved before it.
func (v *validator) baseOf(ctx context.Context, epoch uint64) (*model.Parameters, error) {
	if epoch == 1 {
		return v.Initial()
	}
	p := model.NewParameters(v.config)
	return p, v.archive.weights(ctx, epoch-1, p.Data)
}
