package model

import (
	"testing"

	"lockstep/internal/f32"
	"lockstep/optim"
)

// testOptimizer has every feature on.
func testOptimizer() optim.Config {
	return optim.Config{
		LearningRate: 0.01, MinRate: 0.001, WarmupSteps: 2, DecaySteps: 100,
		Beta1: 0.9, Beta2: 0.99, Epsilon: 1e-8, WeightDecay: 0.1, ClipNorm: 1,
	}
}

// small is a configuration with an odd number of heads of odd width and an MLP
// that is not four times as wide.
func small() Config {
	return Config{
		Layers: 2, Heads: 3, Embd: 15, Inner: 22, Positions: 12, Vocab: 40,
		LayerNormEpsilon: 1e-5, EndOfText: 39,
	}
}

func newModel(t testing.TB, c Config) *Model {
	t.Helper()
	m, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// gradientOf returns loss and gradient of a batch.
func gradientOf(t testing.TB, m *Model, p *Parameters, batch Batch) (Tally, []float32) {
	t.Helper()
	acc := NewAccumulator(m.Layout)
	if err := m.Gradient(p, batch, acc); err != nil {
		t.Fatal(err)
	}
	g, err := acc.Freeze()
	if err != nil {
		t.Fatal(err)
	}
	return acc.Tally, g
}

// eachISA runs f once per instruction set that this machine has.
func eachISA(t *testing.T, f func(t *testing.T)) {
	for _, isa := range f32.Available() {
		t.Run(isa.String(), func(t *testing.T) {
			defer f32.ForTest(isa)()
			f(t)
		})
	}
}
