package validate

import (
	"context"
	"errors"
	"strings"
	"testing"

	"lockstep/internal/fault"
	"lockstep/internal/merkle"
	"lockstep/internal/signed"
	"lockstep/internal/spec"
	"lockstep/model"
	"lockstep/optim"
	"lockstep/reduce/commit"
	"lockstep/stream"
)

// verify writes, reads and verifies evidence, as a third party would.
func (w *world) verify(t *testing.T, e *Evidence) (*Report, error) {
	t.Helper()
	read, err := ReadEvidence(written(t, e))
	if err != nil {
		return nil, err
	}
	return w.verifier().Verify(t.Context(), read)
}

// step moves the world one epoch on, by an average made of nothing but ones.
func (w *world) step(t *testing.T) {
	t.Helper()
	average := make([]float32, len(w.base.Theta))
	for i := range average {
		average[i] = 1
	}
	if _, err := w.base.ApplyAverage(average, optim.Default()); err != nil {
		t.Fatal(err)
	}
}

func TestVerifyHonest(t *testing.T) {
	w := newWorld(t)
	for range 2 {
		r, err := w.verify(t, w.honest(t))
		if err != nil {
			t.Fatal(err)
		}
		var steps []string
		for _, l := range r.Lines {
			if l.Mark == Differs {
				t.Errorf("%s differs: %s", l.Step, l.Text)
			}
			steps = append(steps, l.Step)
		}
		if got := strings.Join(steps, " "); got != "verdict claim base segments count rows tokens loss gradient verdict" {
			t.Errorf("steps %s", got)
		}
		w.step(t) // and once more from epoch 2
	}
}

// cheats are claims that are false at each stage.
func (w *world) cheats(t *testing.T) map[string]*Evidence {
	honest, gradient := w.compute(t, 2)
	out := map[string]*Evidence{}
	for kind, spoil := range map[string]func(*commit.Claim){
		"tokens": func(c *commit.Claim) { c.Tokens *= 3 },
		"text":   func(c *commit.Claim) { c.Rows[3]++ },
		"loss":   func(c *commit.Claim) { c.LossBits++ },
		"random": func(c *commit.Claim) { c.Gradient = rootOf(flip(gradient, 0)) },
	} {
		claim := honest
		spoil(&claim)
		out[kind] = w.seal(t, w.judge(t, w.query(claim), &leaves{gradient: flip(gradient, 0)}), nil)
	}
	return out
}

func TestVerifyCheats(t *testing.T) {
	w := newWorld(t)
	cheats := w.cheats(t)
	cheats["switch"] = w.switched(t)
	cheats["recommit"] = w.recommitted(t)
	for kind, e := range cheats {
		r, err := w.verify(t, e)
		var false_ *FalseError
		if fault.KindOf(err) != fault.False || !errors.As(err, &false_) || !strings.HasPrefix(false_.Who, "miner ") {
			t.Errorf("%s: %v", kind, err)
			continue
		}
		if r.Kind != kind || e.Verdict.Kind() != kind || !r.Miners || r.Verdicts {
			t.Errorf("%s: found %q, verdict %q, report %+v", kind, r.Kind, e.Verdict.Kind(), r)
		}
	}
}

func TestVerifyWithheld(t *testing.T) {
	w := newWorld(t)
	claim, gradient := w.compute(t, 0)
	claim.Gradient = rootOf(flip(gradient, 1))
	r, err := w.verify(t, w.seal(t, w.judge(t, w.query(claim), nil), nil))
	if fault.KindOf(err) != fault.False || !r.Miners || r.Verdicts {
		t.Errorf("%v, %+v", err, r)
	}
}

// TestLyingValidator lets a validator sign what it did not find.
func TestLyingValidator(t *testing.T) {
	w := newWorld(t)
	honest, gradient := w.compute(t, 1)
	wrong := flip(gradient, 100)
	cheat := honest
	cheat.Gradient = rootOf(wrong)
	judge := func(c commit.Claim) *Judgement { return w.judge(t, w.query(c), &leaves{gradient: wrong}) }
	convicted := w.switched(t).Round

	tests := map[string]struct {
		claim commit.Claim
		lie   func(*Judgement)
		round *commit.Evidence
		miner bool // the miner lies too
	}{
		"acquits a cheat": {claim: cheat, miner: true, lie: func(j *Judgement) {
			j.Verdict.Outcome, j.Verdict.Stage, j.Verdict.Differs, j.Leaf = Exact, 0, Difference{}, nil
			j.Verdict.Found.Gradient = cheat.Gradient
		}},
		"accuses an honest miner": {claim: honest, lie: func(j *Judgement) {
			j.Verdict.Outcome, j.Verdict.Stage = Mismatch, StageGradient
			j.Verdict.Found.Gradient[0]++
		}},
		"invents a difference": {claim: honest, lie: func(j *Judgement) {
			other := judge(cheat)
			j.Verdict.Outcome, j.Verdict.Stage, j.Verdict.Differs, j.Leaf = Mismatch, StageGradient, other.Verdict.Differs, other.Leaf
		}},
		"calls a shown gradient withheld": {claim: honest, lie: func(j *Judgement) { j.Verdict.Outcome = Withheld }},
		"names another stage": {claim: cheat, miner: true, lie: func(j *Judgement) {
			j.Verdict.Stage, j.Verdict.Differs, j.Leaf = StageLoss, Difference{}, nil
		}},
		"names another value": {claim: cheat, miner: true, lie: func(j *Judgement) { j.Verdict.Differs.Computed ^= 1 << 20 }},
		"opens another leaf": {claim: cheat, miner: true, lie: func(j *Judgement) {
			l := &leaves{gradient: wrong}
			d, _ := l.Digests(context.Background())
			data, _ := l.Leaf(context.Background(), 1)
			j.Leaf = &Leaf{Index: 1, Data: data, Path: merkle.Prove(d, 1)}
		}},
		"opens a leaf of nothing": {claim: cheat, miner: true, lie: func(j *Judgement) { j.Leaf.Path[0][0]++ }},
		"states another loss":     {claim: honest, lie: func(j *Judgement) { j.Verdict.Found.LossBits++ }},
		"reads other rows": {claim: honest, lie: func(j *Judgement) {
			j.Rows[1].Digest[0]++
			j.Verdict.Found.Rows = stream.RowsDigest(j.Rows)
		}},
		"convicts without proof": {claim: honest, round: &commit.Evidence{Kind: commit.Switch}, lie: func(j *Judgement) {
			j.Convict(commit.Finding{Kind: commit.Switch, Text: "it switched"})
		}},
		"convicts another of it": {claim: honest, round: convicted, lie: func(j *Judgement) {
			j.Convict(commit.Finding{Kind: commit.Switch, Text: "it switched"})
		}},
		"bends the first state": {claim: honest, lie: func(j *Judgement) { j.Verdict.Base.M[0]++ }},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			j := judge(tt.claim)
			tt.lie(j)
			r, err := w.verify(t, w.seal(t, j, tt.round))
			if name == "bends the first state" {
				// The claim names the true state, so the verdict contradicts it.
				if fault.KindOf(err) != fault.False || !r.Verdicts {
					t.Errorf("%v, %+v", err, r)
				}
				return
			}
			if fault.KindOf(err) != fault.False || r == nil || !r.Verdicts || r.Miners != tt.miner {
				t.Errorf("%v, %+v", err, r)
			}
		})
	}
}

// TestBentFirstState: a claim and a verdict that agree on a first state with
// momentum out of nowhere.
func TestBentFirstState(t *testing.T) {
	w := newWorld(t)
	w.base.M[0] = 1
	r, err := w.verify(t, w.honest(t))
	if fault.KindOf(err) != fault.False || !r.Verdicts || r.Miners {
		t.Errorf("%v, %+v", err, r)
	}
}

func TestUndecided(t *testing.T) {
	w := newWorld(t)
	claim, _ := w.compute(t, 0)
	honest := w.honest(t)
	tests := map[string]func() (*Evidence, *Verifier){
		"absent": func() (*Evidence, *Verifier) {
			return w.seal(t, w.judge(t, Query{RunID: testRunID, Epoch: 1, UID: 3, Miner: peer(3), Base: w.base.Header()}, nil), nil), w.verifier()
		},
		"another state": func() (*Evidence, *Verifier) {
			c := claim
			c.Base[0]++
			return w.seal(t, w.judge(t, w.query(c), nil), nil), w.verifier()
		},
		"signed by another": func() (*Evidence, *Verifier) {
			q := w.query(claim)
			q.Claim = commit.Seal(claim, key(9)).Envelope()
			return w.seal(t, w.judge(t, q, nil), nil), w.verifier()
		},
		"badly signed claim": func() (*Evidence, *Verifier) {
			j := w.judge(t, w.query(claim), nil)
			e := w.seal(t, j, nil)
			bad := append(signed.Envelope(nil), e.Claim...)
			bad[len(bad)-1] ^= 1
			e.Claim = bad
			return e, w.verifier()
		},
		"other parameters": func() (*Evidence, *Verifier) {
			v := w.verifier()
			v.Parameters = func(_ context.Context, run *spec.Run, _ uint64) (*model.Parameters, error) {
				p, err := SeedParameters(run)
				p.Data[0]++
				return p, err
			}
			return honest, v
		},
		"parameters of another model": func() (*Evidence, *Verifier) {
			v := w.verifier()
			v.Parameters = func(context.Context, *spec.Run, uint64) (*model.Parameters, error) {
				config, _ := model.Builtin("nano")
				config.Layers++
				return model.Initialise(config, 1), nil
			}
			return honest, v
		},
		"other text": func() (*Evidence, *Verifier) {
			v := w.verifier()
			v.Source = func(ctx context.Context, _ *spec.Run) (stream.Source, error) {
				s, err := stream.Open(ctx, "builtin")
				return renamed{s}, err
			}
			return honest, v
		},
	}
	for name, make := range tests {
		t.Run(name, func(t *testing.T) {
			e, v := make()
			if _, err := v.Verify(t.Context(), e); fault.KindOf(err) != fault.Undecided {
				t.Errorf("%v", err)
			}
		})
	}
}

// TestOtherCopyOfTheText: where miner and validator agree on every row, a
// verifier whose copy of one row differs learns which, and accuses nobody.
func TestOtherCopyOfTheText(t *testing.T) {
	w := newWorld(t)
	honest := w.honest(t)
	v := w.verifier()
	v.Source = func(ctx context.Context, _ *spec.Run) (stream.Source, error) {
		s, err := stream.Open(ctx, "builtin")
		return edited{s, honest.Rows[1].Row}, err
	}
	r, err := v.Verify(t.Context(), honest)
	if fault.KindOf(err) != fault.Undecided || !strings.Contains(err.Error(), "number 1 is source row") || r.Miners || r.Verdicts {
		t.Errorf("%v, %+v", err, r)
	}
}

// edited is a source with another text in one row.
type edited struct {
	stream.Source
	row uint64
}

func (e edited) Text(ctx context.Context, row uint64) (stream.Row, error) {
	r, err := e.Source.Text(ctx, row)
	if row == e.row {
		r.Text += "!"
		r.Digest = stream.RowDigest(r.Text)
	}
	return r, err
}

// renamed is a source that says it holds something else.
type renamed struct{ stream.Source }

func (renamed) Identity() merkle.Digest { return merkle.Digest{1} }

// TestProvidersKeepTheirFaults: a damaged file on the verifier's side is that,
// not a verdict.
func TestProvidersKeepTheirFaults(t *testing.T) {
	w := newWorld(t)
	damaged := fault.Errorf(fault.Damaged, "page 3 is cut short")
	v := w.verifier()
	v.Source = func(context.Context, *spec.Run) (stream.Source, error) { return nil, damaged }
	if _, err := v.Verify(t.Context(), w.honest(t)); fault.KindOf(err) != fault.Damaged {
		t.Error(err)
	}
}
