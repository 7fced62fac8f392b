package validate

import (
	"context"
	"errors"
	"slices"
	"testing"

	"lockstep/internal/fault"
	"lockstep/internal/merkle"
	"lockstep/reduce/commit"
)

// frozen is a member that shows its gradient on the attempt's grid.
type frozen struct {
	shape    commit.Shape
	gradient []float32
	refuse   bool
	spoil    bool
	asked    int
}

func (f *frozen) Digests(context.Context) ([]merkle.Digest, error) {
	f.asked++
	if f.refuse {
		return nil, errors.New("no")
	}
	return f.shape.Digests(merkle.KindGradient, f.gradient), nil
}

func (f *frozen) Leaf(_ context.Context, i int) ([]byte, error) {
	f.asked++
	lo, hi := f.shape.LeafSpan(i)
	data := merkle.AppendFloat32(nil, f.gradient[lo:hi])
	if f.spoil {
		data[0]++
	}
	return data, nil
}

// audit is a group whose owners signed an average.
type audit struct {
	*group
	members  []*frozen
	receipts []commit.Signed[commit.Receipt]
	Auditor
}

func (w *world) audit(t testing.TB, average func(g *group) []float32) *audit {
	t.Helper()
	shape := w.smallShape()
	a := &audit{group: w.group(t, shape)}
	for _, x := range a.gradients {
		a.members = append(a.members, &frozen{shape: shape, gradient: x})
	}
	digests := shape.Digests(merkle.KindAverage, average(a.group))
	a.receipts = a.group.receipts(digests)
	a.Auditor = Auditor{Roster: a.roster, Average: digests, Inputs: func(i int) LeafSource { return a.members[i] }}
	return a
}

// chunk audits one chunk with its owner's receipt.
func (a *audit) chunk(t testing.TB, c uint32) Audited {
	t.Helper()
	got, err := a.Chunk(t.Context(), c, a.receipts[a.roster.Doc().Owner(c)])
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestAuditOfHonestSums(t *testing.T) {
	w := newWorld(t)
	a := w.audit(t, (*group).average)
	for c := range uint32(w.smallShape().Chunks()) {
		if got := a.chunk(t, c); !got.Equal || len(got.Withheld) > 0 || !got.Evidence.IsZero() {
			t.Fatalf("chunk %d: %+v", c, got)
		}
	}
}

// TestAuditFindsOneUlp changes one bit of one element of the average, in every
// chunk in turn: its owner is convicted, and only there.
func TestAuditFindsOneUlp(t *testing.T) {
	w := newWorld(t)
	shape := w.smallShape()
	chunks := uint32(shape.Chunks())
	if testing.Short() {
		chunks = 3
	}
	for c := range chunks {
		lo, hi := shape.ChunkSpan(int(c))
		a := w.audit(t, func(g *group) []float32 { return flip(g.average(), (lo+hi)/2) })
		got := a.chunk(t, c)
		f, err := commit.Judge(got.Evidence)
		owner := a.roster.Doc().Members[a.roster.Doc().Owner(c)]
		if got.Equal || err != nil || f.Kind != commit.WrongSum || f.Accused != owner.Peer || got.Owner != owner.UID {
			t.Fatalf("chunk %d: %+v, %v", c, f, err)
		}
		if other := a.chunk(t, (c+1)%uint32(shape.Chunks())); !other.Equal {
			t.Errorf("chunk %d is found wrong beside chunk %d", (c+1)%uint32(shape.Chunks()), c)
		}
	}
}

// TestWrongSumsOfOtherKinds: a member dropped, and a sum in another order.
func TestWrongSumsOfOtherKinds(t *testing.T) {
	w := newWorld(t)
	tests := map[string]func(g *group) []float32{
		"one dropped": func(g *group) []float32 {
			rest := &group{gradients: g.gradients[1:], roster: g.roster}
			return rest.average()
		},
		"in float32": func(g *group) []float32 {
			out := slices.Clone(g.gradients[0])
			for i := range out {
				out[i] += g.gradients[1][i]
				out[i] += g.gradients[2][i]
				out[i] /= float32(g.roster.Doc().Tokens())
			}
			return out
		},
	}
	for name, average := range tests {
		a := w.audit(t, average)
		if got := a.chunk(t, 0); got.Equal || got.Evidence.IsZero() {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// TestAuditEvidenceIsVerified takes a wrong sum through the evidence folder.
func TestAuditEvidenceIsVerified(t *testing.T) {
	w := newWorld(t)
	a := w.audit(t, func(g *group) []float32 { return flip(g.average(), 7) })
	got := a.chunk(t, 0)
	uid := got.Owner
	q := w.query(a.claims[uid].Doc())
	j := &Judgement{Claim: a.claims[uid], Verdict: Verdict{
		Fingerprint: w.run.Fingerprint(), RunID: testRunID, Epoch: 1, UID: uid, Miner: q.Miner, Base: q.Base, Claim: a.claims[uid].Digest(), Outcome: Exact,
	}}
	f, err := commit.Judge(got.Evidence)
	if err != nil {
		t.Fatal(err)
	}
	j.Convict(f)
	r, err := w.verify(t, w.seal(t, j, &got.Evidence))
	if fault.KindOf(err) != fault.False || r.Kind != "wrong-sum" || !r.Miners {
		t.Errorf("%v, %+v", err, r)
	}
}

// TestReceiptOverOtherInputs convicts by itself.
func TestReceiptOverOtherInputs(t *testing.T) {
	w := newWorld(t)
	a := w.audit(t, (*group).average)
	owner := a.roster.Doc().Owner(0)
	doc := a.receipts[owner].Doc()
	doc.Inputs[0]++
	a.receipts[owner] = commit.Seal(doc, key(byte(owner)))
	if got := a.chunk(t, 0); got.Equal || got.Evidence.IsZero() {
		t.Errorf("%+v", got)
	}
}

func TestAuditWithoutInputs(t *testing.T) {
	w := newWorld(t)
	for name, spoil := range map[string]func(*frozen){
		"refused":      func(f *frozen) { f.refuse = true },
		"other bytes":  func(f *frozen) { f.spoil = true },
		"other leaves": func(f *frozen) { f.gradient = flip(f.gradient, 0) },
	} {
		a := w.audit(t, (*group).average)
		spoil(a.members[1])
		if got := a.chunk(t, 0); got.Equal || !got.Evidence.IsZero() || !slices.Equal(got.Withheld, []uint32{1}) {
			t.Errorf("%s: %+v", name, got)
		}
		asked := a.members[1].asked
		if got := a.chunk(t, 1); !slices.Equal(got.Withheld, []uint32{1}) || a.members[1].asked != asked {
			t.Errorf("%s: asked %d times for a second chunk; %+v", name, a.members[1].asked-asked, got)
		}
	}
}

// TestAuditNeedsNobodysHelp: whoever is silent, the sum is checked, against the
// same owner.
func TestAuditNeedsNobodysHelp(t *testing.T) {
	w := newWorld(t)
	for name, average := range map[string]func(*group) []float32{
		"right": (*group).average,
		"wrong": func(g *group) []float32 { return flip(g.average(), 7) },
	} {
		a := w.audit(t, average)
		asked := 0
		for _, m := range a.members {
			m.refuse = true
		}
		a.Again = func(_ context.Context, i int) (LeafSource, error) {
			asked++
			return &frozen{shape: w.smallShape(), gradient: a.gradients[i]}, nil
		}
		got := a.chunk(t, 0)
		if len(got.Withheld) > 0 || got.Equal != (name == "right") || got.Evidence.IsZero() != got.Equal || asked != 3 {
			t.Errorf("%s: %+v, computed %d times", name, got, asked)
		}
		a = w.audit(t, average)
		a.members[1].refuse = true
		a.Again = func(context.Context, int) (LeafSource, error) {
			return &frozen{shape: w.smallShape(), gradient: flip(a.gradients[1], 0)}, nil
		}
		if got := a.chunk(t, 0); !slices.Equal(got.Withheld, []uint32{1}) {
			t.Errorf("%s: another gradient than the claimed one is added up: %+v", name, got)
		}
	}
}

func TestAuditRefusesStrangeQuestions(t *testing.T) {
	w := newWorld(t)
	a := w.audit(t, (*group).average)
	owner := a.roster.Doc().Owner(0)
	if _, err := a.Chunk(t.Context(), 0, a.receipts[(owner+1)%3]); err == nil {
		t.Error("the receipt of another owner was taken")
	}
	if _, err := a.Chunk(t.Context(), uint32(w.smallShape().Chunks()), a.receipts[owner]); err == nil {
		t.Error("a chunk beyond the last was audited")
	}
	a.Average = w.smallShape().Digests(merkle.KindAverage, flip(a.average(), 0))
	if _, err := a.Chunk(t.Context(), 0, a.receipts[owner]); err == nil {
		t.Error("an average that is not under the receipt was audited")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	b := w.audit(t, (*group).average)
	if _, err := b.Chunk(ctx, 0, b.receipts[owner]); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end: %v", err)
	}
}

func TestAuditChunks(t *testing.T) {
	w := newWorld(t)
	r := w.group(t, w.smallShape()).roster.Doc()
	all := Nonce{1}.AuditChunks(merkle.Digest{1}, r, 1<<20)
	slices.Sort(all)
	if len(all) != w.smallShape().Chunks() || len(slices.Compact(all)) != len(all) {
		t.Errorf("all chunks: %v", all)
	}
	some := Nonce{1}.AuditChunks(merkle.Digest{1}, r, 2)
	for i, c := range some {
		if owner := r.Owner(c); owner != i/2 {
			t.Errorf("chunk %d of owner %d stands at %d", c, owner, i)
		}
	}
	if slices.Equal(some, Nonce{2}.AuditChunks(merkle.Digest{1}, r, 2)) && slices.Equal(some, Nonce{3}.AuditChunks(merkle.Digest{1}, r, 2)) {
		t.Error("the choice does not depend on the nonce")
	}
}
