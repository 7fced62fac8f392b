package model

import (
	"math"
	"runtime"
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

// countedCalls is how often allocatesNothing's rounds call a function.
const countedCalls = 50

// runtimeObjects is how many objects a round may make. A goroutine that parks
// on a channel, as threads of package f32 do between two jobs, takes a record
// of 112 bytes (runtime.sudog) from a cache of its processor and gives it back
// to the one on which it wakes; an empty cache makes a new one, at most some
// hundred in a process. Code that allocates in each call makes ten times more.
const runtimeObjects = countedCalls / 10

// allocatesNothing calls f with two threads, and expects that it makes no
// objects once its buffers exist.
func allocatesNothing(t *testing.T, f func()) {
	t.Helper()
	f32.SetThreads(2)
	defer f32.SetThreads(0)
	for range 2 {
		f()
	}
	if n := quietestRound(f); n > runtimeObjects {
		t.Errorf("%d objects in %d calls", n, countedCalls)
	}
}

// quietestRound returns the least number of objects that were made, by whatever
// goroutine, during one of three rounds of calls. Unlike testing.AllocsPerRun it
// leaves GOMAXPROCS as it is, and does not round.
func quietestRound(f func()) uint64 {
	least := uint64(math.MaxUint64)
	for range 3 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range countedCalls {
			f()
		}
		runtime.ReadMemStats(&after)
		least = min(least, after.Mallocs-before.Mallocs)
	}
	return least
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
