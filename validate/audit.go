package validate

import (
	"context"
	"errors"
	"fmt"

	"lockstep/internal/fault"
	"lockstep/internal/merkle"
	"lockstep/internal/seed"
	"lockstep/reduce/commit"
)

// AuditChunks chooses which chunks of a committed attempt are added up again:
// up to perOwner different ones of each part, ascending by owner. The choice
// depends on the decision, so that it is open until the receipts are signed.
func (n Nonce) AuditChunks(decision merkle.Digest, r commit.Roster, perOwner int) []uint32 {
	var out []uint32
	for _, m := range r.Members {
		order := seed.NewPermutation(uint64(m.Part.Count), n.stream("validate/audit", decision, uint64(m.UID)))
		for i := range min(uint64(max(perOwner, 0)), order.Len()) {
			out = append(out, m.Part.First+uint32(order.At(i)))
		}
	}
	return out
}

// Audited is what came of adding up one chunk again.
type Audited struct {
	Chunk    uint32          `json:"chunk"`
	Owner    uint32          `json:"owner"`    // uid of the member that reduced it
	Equal    bool            `json:"equal"`    // every byte of the average is the sum of the claimed inputs
	Withheld []uint32        `json:"withheld"` // uids whose input could not be had; then nothing is decided
	Evidence commit.Evidence `json:"-"`        // against the owner, where the sum is wrong
}

// Auditor repeats sums (N16) of one attempt. A member that withholds something
// once is not asked again: it would cost a deadline each time.
type Auditor struct {
	Roster commit.Signed[commit.Roster]
	// Average holds the digests of all leaves of the average that the attempt
	// ended in: those that the receipts are over.
	Average []merkle.Digest
	// Inputs returns how the member at a position of the roster shows the
	// gradient that it claimed.
	Inputs func(member int) LeafSource
	// Again returns the gradient that a member claimed where it does not show it:
	// otherwise an owner that adds up wrongly could keep the sum from being
	// checked, by its own silence or an accomplice's. nil: there is no other source.
	Again func(ctx context.Context, member int) (LeafSource, error)

	shown   [][]merkle.Digest // by member: its claimed leaves, once asked for
	refused []error           // by member: why it showed nothing; it is not asked again
	again   []LeafSource      // by member: what Again returned
}

// Chunk adds up chunk c from what the members claimed and compares it with the
// owner's receipt. Errors say that the question is wrong or that ctx ended.
func (a *Auditor) Chunk(ctx context.Context, c uint32, receipt commit.Signed[commit.Receipt]) (Audited, error) {
	roster := a.Roster.Doc()
	shape := roster.Shape()
	owner := roster.Owner(c)
	if owner < 0 || len(a.Average) != shape.Leaves() {
		return Audited{}, fault.Errorf(fault.Unexpected, "audit: chunk %d of %d leaves is not in the roster", c, len(a.Average))
	}
	m, doc := roster.Members[owner], receipt.Doc()
	if receipt.IsZero() || receipt.Signer() != m.Peer || doc.Roster != a.Roster.Digest() {
		return Audited{}, fault.Errorf(fault.Unexpected, "audit: no receipt of uid %d for chunk %d", m.UID, c)
	}
	first, end := shape.PartLeafSpan(m.Part)
	if doc.Inputs == roster.Inputs() && merkle.Root(a.Average[first:end]) != doc.Result {
		return Audited{}, fault.Errorf(fault.Unexpected, "audit: the average is not what uid %d signed", m.UID)
	}
	out := Audited{Chunk: c, Owner: m.UID}
	lo, hi := shape.ChunkLeafSpan(int(c))
	for leaf := lo; leaf < hi; leaf++ {
		e, withheld, err := a.leaf(ctx, leaf, receipt, first, end)
		if err != nil {
			return Audited{}, err
		}
		if len(withheld) > 0 {
			out.Withheld = withheld
			return out, nil
		}
		if doc.Inputs == roster.Inputs() && sumDigest(roster, leaf, e.Inputs) == a.Average[leaf] {
			continue
		}
		if _, err := commit.Judge(e); err != nil {
			return Audited{}, fmt.Errorf("audit: leaf %d of the average is wrong, and yet: %w", leaf, err)
		}
		out.Evidence = e
		return out, nil
	}
	out.Equal = true
	return out, nil
}

// sumDigest adds up the inputs of one leaf (N16) and hashes their mean.
func sumDigest(r commit.Roster, leaf int, inputs [][]byte) merkle.Digest {
	shape := r.Shape()
	lo, hi := shape.LeafSpan(leaf)
	x, data := make([]float32, hi-lo), make([]byte, shape.Bytes(hi-lo))
	sum := commit.NewSum(hi - lo)
	for _, in := range inputs {
		commit.Decode(x, in)
		sum.Add(x)
	}
	sum.Mean(x, r.Tokens())
	commit.Encode(data, x)
	return shape.LeafDigest(merkle.KindAverage, leaf, data)
}

// leaf gathers the case against the owner's sum in one leaf; commit.Judge
// decides it. The owner's part has the leaves [first, end).
func (a *Auditor) leaf(ctx context.Context, leaf int, receipt commit.Signed[commit.Receipt], first, end int) (e commit.Evidence, withheld []uint32, err error) {
	roster := a.Roster.Doc()
	e = commit.Evidence{
		Kind: commit.WrongSum, Roster: a.Roster.Envelope(), First: receipt.Envelope(),
		Leaf: uint32(leaf), LeafDigest: a.Average[leaf],
		Path: merkle.Prove(a.Average[first:end], leaf-first),
	}
	for i, m := range roster.Members {
		data, path, err := a.input(ctx, i, leaf)
		if ctx.Err() != nil {
			return e, nil, ctx.Err()
		}
		if err != nil {
			withheld = append(withheld, m.UID)
			continue
		}
		e.Inputs, e.Paths = append(e.Inputs, data), append(e.Paths, path)
	}
	return e, withheld, nil
}

// input gets a leaf of one member's gradient, checked: from the member, and once
// that has failed from Again.
func (a *Auditor) input(ctx context.Context, member, leaf int) ([]byte, []merkle.Digest, error) {
	if a.shown == nil {
		n := len(a.Roster.Doc().Members)
		a.shown, a.refused, a.again = make([][]merkle.Digest, n), make([]error, n), make([]LeafSource, n)
	}
	if a.refused[member] == nil {
		data, path, err := a.ask(ctx, a.Inputs(member), member, leaf)
		if err == nil || ctx.Err() != nil {
			return data, path, err
		}
		a.refused[member] = err
		if a.Again != nil {
			if a.again[member], err = a.Again(ctx, member); err != nil {
				a.refused[member] = errors.Join(a.refused[member], err)
			}
		}
	}
	if a.again[member] == nil {
		return nil, nil, a.refused[member]
	}
	return a.ask(ctx, a.again[member], member, leaf)
}

// ask is input without a memory for refusals.
func (a *Auditor) ask(ctx context.Context, from LeafSource, member, leaf int) ([]byte, []merkle.Digest, error) {
	roster := a.Roster.Doc()
	shape := roster.Shape()
	if from == nil {
		return nil, nil, fmt.Errorf("it cannot be asked")
	}
	if a.shown[member] == nil {
		digests, err := from.Digests(ctx)
		if err != nil {
			return nil, nil, err
		}
		if len(digests) != shape.Leaves() || merkle.Root(digests) != roster.Members[member].Gradient {
			return nil, nil, fmt.Errorf("its leaf digests are not those of its claim")
		}
		a.shown[member] = digests
	}
	data, err := from.Leaf(ctx, leaf)
	if err != nil {
		return nil, nil, err
	}
	lo, hi := shape.LeafSpan(leaf)
	if len(data) != shape.Bytes(hi-lo) || shape.LeafDigest(merkle.KindGradient, leaf, data) != a.shown[member][leaf] {
		return nil, nil, fmt.Errorf("leaf %d is not that of its claim", leaf)
	}
	return data, merkle.Prove(a.shown[member], leaf), nil
}
