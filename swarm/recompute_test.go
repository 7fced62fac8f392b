package swarm

import (
	"context"
	"testing"

	"lockstep/internal/merkle"
	"lockstep/reduce/commit"
	"lockstep/validate"
)

// TestAuditWithoutItsMembers: where no member shows its gradient, the validator
// computes them again, on the initial weights and on a saved state, and every sum
// is checked all the same.
func TestAuditWithoutItsMembers(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, 2, 0, 2)
	id := n.identity("validator")
	node, err := openNode(t.Context(), n.node("validator"), commit.Solo(id.Peer))
	if err != nil {
		t.Fatal(err)
	}
	defer node.close()
	v := &validator{node: node}
	if err := v.beginRun(); err != nil {
		t.Fatal(err)
	}
	for epoch := uint64(1); epoch <= 2; epoch++ {
		r := n.averaged(t, v, epoch)
		audited, err := v.audit(t.Context(), validate.Nonce{1}, r)
		if err != nil || len(audited) != len(n.seats) {
			t.Fatalf("epoch %d: %d sums are checked, %v", epoch, len(audited), err)
		}
		for _, a := range audited {
			if !a.Equal || len(a.Withheld) > 0 {
				t.Errorf("epoch %d: %+v", epoch, a)
			}
		}
		if _, err := v.step(r.average); err != nil {
			t.Fatal(err)
		}
		if err := v.save(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
	}
}

// averaged is an epoch that all miners took part in, and of which only their
// signatures are left.
func (n *network) averaged(t *testing.T, v *validator, epoch uint64) result {
	t.Helper()
	roster := commit.Roster{
		Fingerprint: v.fingerprint, RunID: v.runID(), Epoch: epoch, Attempt: 1, Base: v.digests.root, Codec: v.shape.Codec,
		Elements: uint64(v.shape.Elements), LeafElements: uint32(v.shape.LeafElements), ChunkLeaves: uint32(v.shape.ChunkLeaves),
		Deadline: 1000, MinGroup: 1, Seed: 5,
	}
	parts := commit.Parts(v.shape.Chunks(), len(n.seats), roster.Seed)
	sum := commit.NewSum(v.shape.Elements)
	for i, s := range n.seats {
		w, err := v.computer.Compute(context.Background(), v.state.Parameters(v.config), epoch, s.UID)
		if err != nil {
			t.Fatal(err)
		}
		sum.Add(w.Gradient)
		roster.Members = append(roster.Members, commit.Member{
			UID: s.UID, Peer: s.Peer, Address: "127.0.0.1:1", Claim: merkle.Digest{1}, Gradient: w.Facts.Gradient, Tokens: w.Facts.Tokens, Part: parts[i],
		})
	}
	r := result{average: make([]float32, v.shape.Elements)}
	sum.Mean(r.average, roster.Tokens())
	r.leaves = v.shape.Digests(merkle.KindAverage, r.average)
	a := &validate.Attempt{Roster: commit.Seal(roster, v.id.Key)}
	r.decision = commit.Decision{
		Fingerprint: v.fingerprint, RunID: v.runID(), Epoch: epoch, Attempt: 1, Roster: a.Roster.Digest(), Verdict: commit.Commit,
		Result: merkle.Root(r.leaves), Members: []uint32{0, 1}, Tokens: roster.Tokens(),
	}
	for i, s := range n.seats {
		lo, hi := v.shape.PartLeafSpan(parts[i])
		a.Receipts = append(a.Receipts, commit.Seal(commit.Receipt{
			Roster: a.Roster.Digest(), UID: s.UID, Inputs: roster.Inputs(), Result: merkle.Root(r.leaves[lo:hi]),
		}, n.identity(name(int(s.UID))).Key))
	}
	var err error
	a.Decision, err = v.trusted.Certify([]commit.Signed[commit.Decision]{commit.Seal(r.decision, v.id.Key)})
	if err != nil {
		t.Fatal(err)
	}
	r.attempt = a
	return r
}

// TestBaseOfALostEpoch: without the state before it, nothing can be computed again.
func TestBaseOfALostEpoch(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, 1, 0, 1)
	node, err := openNode(t.Context(), n.node("validator"), commit.Solo(n.identity("validator").Peer))
	if err != nil {
		t.Fatal(err)
	}
	defer node.close()
	v := &validator{node: node}
	if s, err := v.computeAgain(t.Context(), 3, 0, nil); err == nil || s != nil {
		t.Errorf("%v, %v", s, err)
	}
}
