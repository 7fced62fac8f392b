package validate

import (
	"testing"

	"lockstep/internal/merkle"
	"lockstep/internal/signed"
	"lockstep/reduce/commit"
)

// group is an averaging attempt among seats 0, 1 and 2 of a world.
type group struct {
	claims    []commit.Signed[commit.Claim]
	gradients [][]float32
	roster    commit.Signed[commit.Roster]
}

func (w *world) group(t testing.TB, shape commit.Shape) *group {
	t.Helper()
	g := new(group)
	r := commit.Roster{
		Fingerprint: w.run.Fingerprint(), RunID: testRunID, Epoch: w.base.Epoch + 1, Attempt: 1, Base: w.base.Root(),
		Codec: shape.Codec, Elements: uint64(shape.Elements), LeafElements: uint32(shape.LeafElements),
		ChunkLeaves: uint32(shape.ChunkLeaves), Deadline: 1000, MinGroup: 1, Seed: 5,
	}
	parts := commit.Parts(shape.Chunks(), 3, r.Seed)
	for uid := range uint32(3) {
		claim, gradient := w.compute(t, uid)
		claim.Gradient = merkle.Root(shape.Digests(merkle.KindGradient, gradient))
		s := commit.Seal(claim, key(byte(uid)))
		g.claims, g.gradients = append(g.claims, s), append(g.gradients, gradient)
		r.Members = append(r.Members, commit.Member{
			UID: uid, Peer: peer(byte(uid)), Address: "127.0.0.1:1", Claim: s.Digest(),
			Gradient: claim.Gradient, Tokens: claim.Tokens, Part: parts[uid],
		})
	}
	g.roster = commit.Seal(r, key(validatorKey))
	if _, err := commit.Open[commit.Roster](g.roster.Envelope()); err != nil {
		t.Fatal(err)
	}
	return g
}

// convict judges the claim of a seat, convicts it by evidence and seals that.
func (w *world) convict(t testing.TB, g *group, uid uint32, round commit.Evidence) *Evidence {
	t.Helper()
	j := w.judge(t, w.query(g.claims[uid].Doc()), nil)
	if j.Verdict.Outcome != Exact {
		t.Fatalf("uid %d: %s", uid, j.Verdict.Text)
	}
	f, err := commit.Judge(round)
	if err != nil {
		t.Fatal(err)
	}
	if f.UID != uid {
		t.Fatalf("the evidence convicts uid %d", f.UID)
	}
	j.Convict(f)
	return w.seal(t, j, &round)
}

// switched is the evidence against seat 2, which scattered a leaf that it had
// not claimed.
func (w *world) switched(t testing.TB) *Evidence {
	t.Helper()
	shape := commit.StandardShape(w.computer.Layout().Elements)
	g := w.group(t, shape)
	claimed := shape.Digests(merkle.KindGradient, g.gradients[2])
	sent := shape.Digests(merkle.KindGradient, flip(g.gradients[2], 0))
	header := commit.Seal(commit.Header{
		Roster: g.roster.Digest(), UID: 2, Stream: commit.Scatter, Leaves: sent[:min(len(sent), shape.ChunkLeaves)],
	}, key(2))
	return w.convict(t, g, 2, commit.Evidence{
		Kind: commit.Switch, Roster: g.roster.Envelope(), First: header.Envelope(),
		LeafDigest: claimed[0], Path: merkle.Prove(claimed, 0),
	})
}

// recommitted is the evidence against seat 1, which opened another root than
// it had claimed.
func (w *world) recommitted(t testing.TB) *Evidence {
	t.Helper()
	g := w.group(t, commit.StandardShape(w.computer.Layout().Elements))
	opening := commit.Seal(commit.Opening{
		Roster: g.roster.Digest(), UID: 1, Claim: g.claims[1].Digest(), Root: merkle.Digest{1},
	}, key(1))
	return w.convict(t, g, 1, commit.Evidence{Kind: commit.Recommit, Roster: g.roster.Envelope(), First: opening.Envelope()})
}

// smallShape cuts the nano model into many chunks.
func (w *world) smallShape() commit.Shape {
	return commit.Shape{Codec: merkle.CodecF32, Elements: w.computer.Layout().Elements, LeafElements: 1024, ChunkLeaves: 4}
}

// average is the attempt's average, as honest owners compute it.
func (g *group) average() []float32 {
	sum := commit.NewSum(len(g.gradients[0]))
	for _, x := range g.gradients {
		sum.Add(x)
	}
	out := make([]float32, len(g.gradients[0]))
	sum.Mean(out, g.roster.Doc().Tokens())
	return out
}

// receipts are what the owners sign over an average.
func (g *group) receipts(average []merkle.Digest) []commit.Signed[commit.Receipt] {
	r := g.roster.Doc()
	var out []commit.Signed[commit.Receipt]
	for i, m := range r.Members {
		lo, hi := r.Shape().PartLeafSpan(m.Part)
		out = append(out, commit.Seal(commit.Receipt{
			Roster: g.roster.Digest(), UID: m.UID, Inputs: r.Inputs(), Result: merkle.Root(average[lo:hi]),
		}, key(byte(i))))
	}
	return out
}

func (g *group) votes(result merkle.Digest) []commit.Signed[commit.Vote] {
	r := g.roster.Doc()
	var out []commit.Signed[commit.Vote]
	for i, m := range r.Members {
		out = append(out, commit.Seal(commit.Vote{
			Roster: g.roster.Digest(), Epoch: r.Epoch, Attempt: r.Attempt, UID: m.UID, OK: true, Result: result, Reduced: true,
		}, key(byte(i))))
	}
	return out
}

// opened are the commitments of all members, and what opens them. lie may change
// an opening before it is signed.
func (g *group) opened(lie func(*commit.Opening)) (c []commit.Signed[commit.Commitment], o []commit.Signed[commit.Opening]) {
	id := g.roster.Digest()
	for i, m := range g.roster.Doc().Members {
		x := commit.Opening{Roster: id, UID: m.UID, Claim: m.Claim, Root: m.Gradient, Salt: [32]byte{1, byte(i)}}
		c = append(c, commit.Seal(commit.Commitment{
			Roster: id, UID: m.UID, Claim: m.Claim, Tokens: m.Tokens, Hash: commit.Hash(id, m.Peer, x.Salt, x.Root),
		}, key(byte(i))))
		if lie != nil {
			lie(&x)
		}
		o = append(o, commit.Seal(x, key(byte(i))))
	}
	return c, o
}

// set fixes the group.
func (g *group) set(commitments []commit.Signed[commit.Commitment]) commit.Signed[commit.Set] {
	s := commit.Set{Roster: g.roster.Digest()}
	for _, c := range commitments {
		s.Commitments = append(s.Commitments, c.Digest())
	}
	return commit.Seal(s, key(validatorKey))
}

// decide certifies a decision over the attempt.
func (g *group) decide(t testing.TB, d commit.Decision) commit.Certified {
	t.Helper()
	r := g.roster.Doc()
	d.Fingerprint, d.RunID, d.Epoch, d.Attempt, d.Roster, d.Tokens = r.Fingerprint, r.RunID, r.Epoch, r.Attempt, g.roster.Digest(), r.Tokens()
	s := commit.Seal(d, key(validatorKey))
	c, err := commit.Solo(peer(validatorKey)).Decision(commit.Certificate{Signatures: []signed.Envelope{s.Envelope()}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// attempt is a committed attempt in which everybody signed what is due.
func (w *world) attempt(t testing.TB) (*group, Attempt) {
	t.Helper()
	g := w.group(t, w.smallShape())
	average := w.smallShape().Digests(merkle.KindAverage, g.average())
	result := merkle.Root(average)
	commitments, openings := g.opened(nil)
	return g, Attempt{
		Roster: g.roster, Commitments: commitments, Set: g.set(commitments), Openings: openings,
		Decision: g.decide(t, commit.Decision{Verdict: commit.Commit, Result: result, Members: []uint32{0, 1, 2}}),
		Receipts: g.receipts(average),
		Votes:    g.votes(result),
	}
}
