package validate

import (
	"context"
	"errors"
	"strings"
	"testing"

	"lockstep/internal/fault"
	"lockstep/internal/merkle"
	"lockstep/internal/signed"
	"lockstep/reduce/commit"
)

func TestHonestClaimIsExact(t *testing.T) {
	w := newWorld(t)
	for uid := range uint32(4) {
		claim, gradient := w.compute(t, uid)
		shown := &leaves{gradient: gradient}
		j := w.judge(t, w.query(claim), shown)
		if v := j.Verdict; v.Outcome != Exact || v.Stage != 0 || v.Kind() != "" || v.Outcome.False() {
			t.Errorf("uid %d: %s %s: %s", uid, v.Outcome, v.Stage, v.Text)
		}
		if shown.asked > 0 {
			t.Error("an exact claim cost a request")
		}
		if want := uint64(w.run.QuotaOf(uid)) * 32; claim.Tokens != want {
			t.Errorf("uid %d: %d tokens, want %d", uid, claim.Tokens, want)
		}
	}
}

// TestMicroBatchChangesNothing computes a claim sequence by sequence and all at
// once.
func TestMicroBatchChangesNothing(t *testing.T) {
	w := newWorld(t)
	want, _ := w.compute(t, 0)
	for _, micro := range []int{1, 4, 100} {
		w.computer.model.MicroBatch = micro
		var calls int
		w.computer.Progress = func(done, total int) { calls++ }
		got, _ := w.compute(t, 0)
		if got.Gradient != want.Gradient || got.LossBits != want.LossBits {
			t.Errorf("micro-batch %d: another gradient or loss", micro)
		}
		if calls == 0 {
			t.Error("no progress")
		}
	}
}

// TestOneUlpInAnyLeaf changes one bit of one element in each leaf of a claimed
// gradient, at both ends and in the middle, and wants it named.
func TestOneUlpInAnyLeaf(t *testing.T) {
	w := newWorld(t)
	claim, gradient := w.compute(t, 1)
	grid := w.computer.Layout().Grid(merkle.KindGradient)
	for leaf := range grid.Leaves() {
		lo, hi := grid.LeafSpan(leaf)
		for _, element := range []int{lo, (lo + hi) / 2, hi - 1} {
			wrong := flip(gradient, element)
			claim.Gradient = rootOf(wrong)
			j := w.judge(t, w.query(claim), &leaves{gradient: wrong})
			v := j.Verdict
			if v.Outcome != Mismatch || v.Stage != StageGradient || v.Kind() != "random" {
				t.Fatalf("element %d: %s %s %s", element, v.Outcome, v.Stage, v.Text)
			}
			tensor, index := w.computer.Layout().Place(element)
			d := v.Differs
			if d.Leaf != uint32(leaf) || d.Element != uint64(element) || d.Tensor != tensor.Name || d.Index != uint64(index) {
				t.Errorf("element %d of leaf %d: found %+v", element, leaf, d)
			}
			if ulp, ok := d.ULP(); !ok || ulp != 1 {
				t.Errorf("element %d: %d ulp", element, ulp)
			}
			if !strings.Contains(v.Text, tensor.Name) || !strings.Contains(v.Text, "1 ulp") {
				t.Errorf("text %q", v.Text)
			}
			if j.Leaf == nil || !j.Leaf.under(claim.Gradient, grid) {
				t.Error("the opened leaf does not prove itself")
			}
		}
	}
}

// TestFalseFacts changes each fact of an honest claim.
func TestFalseFacts(t *testing.T) {
	w := newWorld(t)
	honest, gradient := w.compute(t, 0)
	tests := map[string]struct {
		spoil func(*commit.Claim)
		stage Stage
		kind  string
	}{
		"other segment":       {func(c *commit.Claim) { c.Segments = []uint64{c.Segments[0] + 1, c.Segments[1]} }, StageSegments, "text"},
		"segments swapped":    {func(c *commit.Claim) { c.Segments = []uint64{c.Segments[1], c.Segments[0]} }, StageSegments, "text"},
		"segment missing":     {func(c *commit.Claim) { c.Segments = c.Segments[:1] }, StageSegments, "text"},
		"more sequences":      {func(c *commit.Claim) { c.Sequences *= 2; c.Tokens *= 2 }, StageCount, "tokens"},
		"fewer sequences":     {func(c *commit.Claim) { c.Sequences--; c.Tokens -= 32 }, StageCount, "tokens"},
		"more tokens":         {func(c *commit.Claim) { c.Tokens++ }, StageCount, "tokens"},
		"rows":                {func(c *commit.Claim) { c.Rows[0]++ }, StageRows, "text"},
		"token ids":           {func(c *commit.Claim) { c.TokenIDs[31]++ }, StageTokens, "text"},
		"loss":                {func(c *commit.Claim) { c.LossBits++ }, StageLoss, "loss"},
		"gradient":            {func(c *commit.Claim) { c.Gradient = rootOf(flip(gradient, 5)) }, StageGradient, "random"},
		"loss and gradient":   {func(c *commit.Claim) { c.LossBits++; c.Gradient = rootOf(flip(gradient, 5)) }, StageLoss, "random"},
		"tokens and the rest": {func(c *commit.Claim) { c.Tokens++; c.LossBits++; c.Rows[0]++; c.Gradient[0]++ }, StageCount, "tokens"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			claim := honest
			tt.spoil(&claim)
			shown := &leaves{gradient: gradient}
			if claim.Gradient != honest.Gradient {
				shown.gradient = flip(gradient, 5)
			}
			v := w.judge(t, w.query(claim), shown).Verdict
			if v.Outcome != Mismatch || v.Stage != tt.stage || v.Kind() != tt.kind || !v.Outcome.False() {
				t.Errorf("%s %s %q: %s", v.Outcome, v.Stage, v.Kind(), v.Text)
			}
			if v.Text == "" {
				t.Error("no reason given")
			}
		})
	}
}

// TestCheapLiesAreCheap: a claim that is false before the model costs no
// gradient.
func TestCheapLiesAreCheap(t *testing.T) {
	w := newWorld(t)
	claim, _ := w.compute(t, 0)
	claim.Tokens++
	w.computer.Progress = func(int, int) { t.Error("a gradient was computed") }
	w.judge(t, w.query(claim), nil)
}

func TestWithheld(t *testing.T) {
	w := newWorld(t)
	claim, gradient := w.compute(t, 0)
	random := flip(gradient, 20000)
	claim.Gradient = rootOf(random)
	refused := errors.New("no\nway \xff")
	tests := map[string]LeafSource{
		"nobody to ask":     nil,
		"digests refused":   &leaves{gradient: random, digestsErr: refused},
		"leaf refused":      &leaves{gradient: random, leafErr: refused},
		"honest digests":    &leaves{gradient: gradient},
		"too few digests":   &leaves{gradient: random, spoil: func(d []merkle.Digest) []merkle.Digest { return d[1:] }},
		"false digest":      &leaves{gradient: random, spoil: func(d []merkle.Digest) []merkle.Digest { d[0][0]++; return d }},
		"other bytes":       &leaves{gradient: random, spoilLeaf: func(b []byte) []byte { b[7]++; return b }},
		"fewer bytes":       &leaves{gradient: random, spoilLeaf: func(b []byte) []byte { return b[4:] }},
		"bytes without end": &leaves{gradient: random, spoilLeaf: func(b []byte) []byte { return make([]byte, MaxLeafBytes+1) }},
	}
	for name, source := range tests {
		t.Run(name, func(t *testing.T) {
			j := w.judge(t, w.query(claim), source)
			v := j.Verdict
			if v.Outcome != Withheld || v.Kind() != "withheld" || j.Leaf != nil || !v.Outcome.False() {
				t.Errorf("%s %s: %s", v.Outcome, v.Stage, v.Text)
			}
			if _, _, err := OpenVerdict(w.seal(t, j, nil).Signed()); err != nil {
				t.Errorf("the verdict cannot be read back: %v", err)
			}
		})
	}
}

// TestOddLeaf: a miner may have hashed something that is no leaf at all.
func TestOddLeaf(t *testing.T) {
	w := newWorld(t)
	claim, gradient := w.compute(t, 0)
	shown := &leaves{gradient: gradient}
	odd := []byte("not a multiple of four")
	shown.spoil = func(d []merkle.Digest) []merkle.Digest {
		d[1] = shown.grid().LeafDigest(1, odd)
		return d
	}
	shown.spoilLeaf = func([]byte) []byte { return odd }
	digests, _ := shown.Digests(t.Context())
	claim.Gradient = merkle.Root(digests)
	j := w.judge(t, w.query(claim), shown)
	if v := j.Verdict; v.Outcome != Mismatch || v.Kind() != "random" || !strings.Contains(v.Text, "22 bytes") {
		t.Errorf("%s: %s", v.Outcome, v.Text)
	}
	if _, err := w.verifier().Verify(t.Context(), w.seal(t, j, nil)); fault.KindOf(err) != fault.False {
		t.Errorf("verification: %v", err)
	}
}

func TestUnusableClaims(t *testing.T) {
	w := newWorld(t)
	honest, _ := w.compute(t, 2)
	sealed := func(spoil func(*commit.Claim)) signed.Envelope {
		c := honest
		spoil(&c)
		return commit.Seal(c, key(2)).Envelope()
	}
	good := sealed(func(*commit.Claim) {})
	forged := append(signed.Envelope(nil), good...)
	forged[len(forged)-1] ^= 1
	tests := map[string]struct {
		q    Query
		want Outcome
	}{
		"absent":            {Query{}, Absent},
		"garbage":           {Query{Claim: []byte("garbage")}, Malformed},
		"forged signature":  {Query{Claim: forged}, Malformed},
		"another's claim":   {Query{Claim: commit.Seal(honest, key(1)).Envelope()}, Malformed},
		"another spec":      {Query{Claim: sealed(func(c *commit.Claim) { c.Fingerprint[0]++ })}, Malformed},
		"another run":       {Query{Claim: sealed(func(c *commit.Claim) { c.RunID[0]++ })}, Malformed},
		"another epoch":     {Query{Claim: sealed(func(c *commit.Claim) { c.Epoch++ })}, Malformed},
		"another seat":      {Query{Claim: sealed(func(c *commit.Claim) { c.UID = 1 })}, Malformed},
		"another size":      {Query{Claim: sealed(func(c *commit.Claim) { c.Elements++ })}, Malformed},
		"another state":     {Query{Claim: sealed(func(c *commit.Claim) { c.Base[0]++ })}, WrongBase},
		"not even a number": {Query{Claim: sealed(func(c *commit.Claim) { c.LossBits = 0x7ff8 << 48 })}, Malformed},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			q := tt.q
			q.RunID, q.Epoch, q.UID, q.Miner, q.Base = testRunID, 1, 2, peer(2), w.base.Header()
			j := w.judge(t, q, nil)
			if v := j.Verdict; v.Outcome != tt.want || v.Outcome.False() || v.Text == "" {
				t.Errorf("%s: %s", v.Outcome, v.Text)
			}
			if _, _, err := OpenVerdict(w.seal(t, j, nil).Signed()); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestEndedContextIsNoVerdict: what ends on our side is no fault of the miner.
func TestEndedContextIsNoVerdict(t *testing.T) {
	w := newWorld(t)
	claim, gradient := w.compute(t, 0)
	claim.Gradient = rootOf(flip(gradient, 0))
	ctx, cancel := context.WithCancel(t.Context())
	shown := &leaves{gradient: gradient, digestsErr: errors.New("connection closed"), spoil: func(d []merkle.Digest) []merkle.Digest { cancel(); return d }}
	if j, err := w.computer.Judge(ctx, w.query(claim), w.parameters(), shown); !errors.Is(err, context.Canceled) {
		t.Errorf("judgement %+v, error %v", j, err)
	}
}

func TestComputerRefusesOtherText(t *testing.T) {
	w := newWorld(t)
	run := *w.run
	run.Data.Identity[0]++
	if _, err := NewComputer(&run, w.computer.source, 0); fault.KindOf(err) != fault.Config {
		t.Errorf("other text: %v", err)
	}
	run = *w.run
	run.Tokenizer.Digest[0]++
	if _, err := NewComputer(&run, w.computer.source, 0); fault.KindOf(err) != fault.Config {
		t.Errorf("other tokenizer: %v", err)
	}
}

func TestULP(t *testing.T) {
	for _, tt := range []struct {
		a, b uint32
		ulp  uint64
		ok   bool
	}{
		{0x3f800000, 0x3f800001, 1, true},
		{0x00000000, 0x80000000, 0, true},
		{0x00000001, 0x80000001, 2, true},
		{0x3f800000, 0xbf800000, 2 * 0x3f800000, true},
		{0x7f800000, 0x7f7fffff, 1, true},
		{0x7fc00000, 0x3f800000, 0, false},
		{0x3f800000, 0xffc00000, 0, false},
	} {
		if ulp, ok := (Difference{Claimed: tt.a, Computed: tt.b}).ULP(); ulp != tt.ulp || ok != tt.ok {
			t.Errorf("%#x, %#x: %d, %v", tt.a, tt.b, ulp, ok)
		}
	}
	d := Difference{Tensor: "transformer.wte.weight", Index: 17, Claimed: 0x3f800001, Computed: 0x3f800000}
	if got := d.String(); got != "transformer.wte.weight[17]: claimed 0x3f800001 (1.0000001), computed 0x3f800000 (1), 1 ulp apart" {
		t.Error(got)
	}
}

// BenchmarkJudge recomputes one honest claim of 24 sequences of 32 tokens.
func BenchmarkJudge(b *testing.B) {
	w := newWorld(b)
	claim, _ := w.compute(b, 0)
	q := w.query(claim)
	for b.Loop() {
		w.judge(b, q, nil)
	}
}
