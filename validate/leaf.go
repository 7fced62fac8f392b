package validate

import (
	"context"
	"fmt"

	"lockstep/internal/merkle"
	"lockstep/model"
)

// LeafSource is how a miner shows the gradient behind its claim. An error is a
// refusal; implementations bound time and size themselves.
type LeafSource interface {
	// Digests returns the digests of all leaves.
	Digests(ctx context.Context) ([]merkle.Digest, error)
	// Leaf returns the encoded bytes of leaf i, at most MaxLeafBytes.
	Leaf(ctx context.Context, i int) ([]byte, error)
}

// MaxLeafBytes is the size of a whole leaf in float32.
const MaxLeafBytes = 4 * merkle.LeafElements

// Leaf is one leaf of a claimed gradient with its proof under the claim's root.
type Leaf struct {
	Index uint32          `cbor:"1,keyasint"`
	Data  []byte          `cbor:"2,keyasint"`
	Path  []merkle.Digest `cbor:"3,keyasint"`
}

// under reports whether the leaf is part of a gradient with that root.
func (l *Leaf) under(root merkle.Digest, g merkle.Grid) bool {
	i := int(l.Index)
	return i < g.Leaves() && merkle.VerifyProof(root, g.Leaves(), i, g.LeafDigest(i, l.Data), l.Path)
}

// difference compares the leaf with the computed gradient and says in words
// what is wrong with it. The text is empty where the leaf is right.
func (l *Leaf) difference(layout *model.Layout, gradient []float32) (Difference, string) {
	lo, hi := layout.Grid(merkle.KindGradient).LeafSpan(int(l.Index))
	if len(l.Data) != 4*(hi-lo) {
		return Difference{}, fmt.Sprintf("leaf %d is claimed with %d bytes; %d elements have %d", l.Index, len(l.Data), hi-lo, 4*(hi-lo))
	}
	d, differs := differenceIn(layout, int(l.Index), l.Data, gradient)
	if !differs {
		return Difference{}, ""
	}
	return d, d.String()
}

// openLeaf has the miner show the first leaf in which its claimed gradient
// differs from the computed leaves. Where it does not, why says so and leaf is
// nil. An error means that ctx ended, which says nothing about the miner.
func openLeaf(ctx context.Context, root merkle.Digest, g merkle.Grid, computed []merkle.Digest, from LeafSource) (leaf *Leaf, why string, err error) {
	if from == nil {
		return nil, "it cannot be asked for its leaves", nil
	}
	digests, err := from.Digests(ctx)
	switch {
	case ctx.Err() != nil:
		return nil, "", ctx.Err()
	case err != nil:
		return nil, "it does not show its leaf digests: " + line(err.Error()), nil
	case len(digests) != g.Leaves():
		return nil, fmt.Sprintf("it shows %d leaf digests; its gradient has %d", len(digests), g.Leaves()), nil
	case merkle.Root(digests) != root:
		return nil, "the leaf digests it shows are not those of its claim", nil
	}
	i := merkle.FirstDifference(digests, computed)
	data, err := from.Leaf(ctx, i)
	switch {
	case ctx.Err() != nil:
		return nil, "", ctx.Err()
	case err != nil:
		return nil, fmt.Sprintf("it does not show leaf %d: %s", i, line(err.Error())), nil
	case len(data) > MaxLeafBytes || g.LeafDigest(i, data) != digests[i]:
		return nil, fmt.Sprintf("the bytes it shows as leaf %d are not those of its claim", i), nil
	}
	return &Leaf{Index: uint32(i), Data: data, Path: merkle.Prove(digests, i)}, "", nil
}
