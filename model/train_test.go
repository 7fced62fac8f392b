package model

import (
	"math"
	"testing"

	"lockstep/optim"
)

// TestTraining trains nano for 50 steps on a repeating stream: the loss falls,
// and stays with that of the float64 oracle, trained alike.
func TestTraining(t *testing.T) {
	c, _ := Builtin("nano")
	m := newModel(t, c)
	s := NewState(Initialise(c, 1))
	o := newOracle(s.Parameters(c))
	optimizer := newOracleAdamW(o, testOptimizer())
	acc := NewAccumulator(m.Layout)
	var first, last float64
	for step := range 50 {
		batch := syntheticBatch(c, 3, c.Positions, 3*c.Positions*step)
		acc.Reset()
		if err := m.Gradient(s.Parameters(c), batch, acc); err != nil {
			t.Fatal(err)
		}
		g, err := acc.Freeze()
		if err != nil {
			t.Fatal(err)
		}
		if err := Average(g, acc.Tokens); err != nil {
			t.Fatal(err)
		}
		if _, err := s.ApplyAverage(g, testOptimizer()); err != nil {
			t.Fatal(err)
		}
		last = acc.Mean()
		if step == 0 {
			first = last
		}
		want := optimizer.step(batch)
		if math.Abs(last-want) > 1e-4*want {
			t.Fatalf("step %d: loss %v, oracle %v", step+1, last, want)
		}
	}
	if last > 0.5*first {
		t.Errorf("the loss went from %v to %v only", first, last)
	}
}

// oracleAdamW is AdamW with clipping in float64, over the oracle's parameters.
type oracleAdamW struct {
	o    *oracle
	c    optim.Config
	t    int
	m, v map[string][]float64
}

func newOracleAdamW(o *oracle, c optim.Config) *oracleAdamW {
	a := &oracleAdamW{o: o, c: c, m: map[string][]float64{}, v: map[string][]float64{}}
	for _, t := range o.layout.Tensors {
		a.m[t.Name], a.v[t.Name] = make([]float64, t.Size), make([]float64, t.Size)
	}
	return a
}

// step trains on a batch and returns its mean loss before the step.
func (a *oracleAdamW) step(batch Batch) float64 {
	a.t++
	for _, g := range a.o.g {
		g.Zero()
	}
	tokens := float64(batch.Tokens())
	loss := a.o.run(batch) / tokens
	norm := 0.0
	for _, t := range a.o.layout.Tensors {
		for _, g := range a.o.gradient()[t.Name] {
			norm += g / tokens * g / tokens
		}
	}
	clip := min(1, a.c.ClipNorm/(math.Sqrt(norm)+1e-6))
	rate := a.c.LearningRate * min(1, float64(a.t)/float64(a.c.WarmupSteps))
	if n := float64(a.c.DecaySteps); a.c.DecaySteps > 0 && a.t > int(a.c.WarmupSteps) {
		rate -= (a.c.LearningRate - a.c.MinRate) * (float64(a.t) - float64(a.c.WarmupSteps)) / (n - float64(a.c.WarmupSteps))
	}
	for _, t := range a.o.layout.Tensors {
		theta, g := a.o.p[t.Name].RawMatrix().Data, a.o.gradient()[t.Name]
		m, v := a.m[t.Name], a.v[t.Name]
		for i := range theta {
			d := g[i] / tokens * clip
			m[i] = a.c.Beta1*m[i] + (1-a.c.Beta1)*d
			v[i] = a.c.Beta2*v[i] + (1-a.c.Beta2)*d*d
			if t.Decay {
				theta[i] -= rate * a.c.WeightDecay * theta[i]
			}
			mhat := m[i] / (1 - math.Pow(a.c.Beta1, float64(a.t)))
			vhat := v[i] / (1 - math.Pow(a.c.Beta2, float64(a.t)))
			theta[i] -= rate * mhat / (math.Sqrt(vhat) + a.c.Epsilon)
		}
	}
	return loss
}
