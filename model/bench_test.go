package model

import (
	"math"
	"testing"
)

// syntheticBatch is a repeating stream of tokens that a model can learn.
func syntheticBatch(c Config, b, t, first int) Batch {
	batch := Batch{B: b, T: t}
	for i := range b {
		for j := range t {
			at := first + i*t + j
			batch.Inputs = append(batch.Inputs, synthetic(at, c.Vocab))
			batch.Targets = append(batch.Targets, synthetic(at+1, c.Vocab))
		}
	}
	return batch
}

// synthetic is token i of a sequence of period 60 in which each token follows
// from the two before it, but not from one alone.
func synthetic(i, vocab int) int32 {
	return int32((i%4*7 + i%5*3 + i%3) % vocab)
}

func benchmarkStep(b *testing.B, name string, sequences, positions int) {
	c, _ := Builtin(name)
	m, err := New(c)
	if err != nil {
		b.Fatal(err)
	}
	state := NewState(Initialise(c, 1))
	p, acc := state.Parameters(c), NewAccumulator(m.Layout)
	batch := syntheticBatch(c, sequences, positions, 0)
	run := func() {
		if err := trainingStep(m, state, p, batch, acc); err != nil {
			b.Fatal(err)
		}
	}
	run() // makes the buffers
	b.ReportAllocs()
	for b.Loop() {
		run()
	}
	b.ReportMetric(float64(b.N*sequences*positions)/b.Elapsed().Seconds(), "tokens/s")
}

// TestStepAllocatesNothing: once its buffers exist, a step makes no work for
// the garbage collector.
func TestStepAllocatesNothing(t *testing.T) {
	c, _ := Builtin("nano")
	m, s := newModel(t, c), NewState(Initialise(c, 1))
	p := s.Parameters(c)
	acc, batch := NewAccumulator(m.Layout), syntheticBatch(c, 3, 32, 0)
	step := func() {
		if err := trainingStep(m, s, p, batch, acc); err != nil {
			t.Fatal(err)
		}
	}
	allocatesNothing(t, step)
}

// trainingStep is a whole step of one process.
func trainingStep(m *Model, s *State, p *Parameters, batch Batch, acc *Accumulator) error {
	acc.Reset()
	if err := m.Gradient(p, batch, acc); err != nil {
		return err
	}
	g, err := acc.Freeze()
	if err != nil {
		return err
	}
	if err := Average(g, acc.Tokens); err != nil {
		return err
	}
	_, err = s.ApplyAverage(g, testOptimizer())
	return err
}

func BenchmarkNano(b *testing.B)       { benchmarkStep(b, "nano", 4, 32) }
func BenchmarkTiny(b *testing.B)       { benchmarkStep(b, "tiny", 4, 256) }
func BenchmarkDistilGPT2(b *testing.B) { benchmarkStep(b, "distilgpt2", 4, 256) }

// BenchmarkDecode is one token of distilgpt2 after a text of 128.
func BenchmarkDecode(b *testing.B) {
	c, _ := Builtin("distilgpt2")
	m, err := New(c)
	if err != nil {
		b.Fatal(err)
	}
	context := m.NewContext(Initialise(c, 1), c.Positions)
	extend := func(tokens []int32) {
		if _, err := context.Extend(tokens); err != nil {
			b.Fatal(err)
		}
	}
	text := syntheticBatch(c, 1, 128, 0).Inputs
	extend(text)
	b.SetBytes(int64(4 * (m.Layout.Elements - c.Positions*c.Embd)))
	b.ReportAllocs()
	for b.Loop() {
		if context.Len() == c.Positions {
			context.Reset()
			extend(text)
		}
		extend(text[:1])
	}
}

// BenchmarkSample draws a token of 50,257 whose probabilities fall as those of
// words do.
func BenchmarkSample(b *testing.B) {
	logits := make([]float32, 50257)
	for i := range logits {
		logits[i] = float32(-1.5 * math.Log(1+float64(hash32(uint32(i))%50257)))
	}
	s := newSampler(GenerateOptions{Temperature: 0.8}, len(logits))
	for b.Loop() {
		s.next(logits)
	}
}

// BenchmarkOptimizer is one AdamW step of distilgpt2.
func BenchmarkOptimizer(b *testing.B) {
	c, _ := Builtin("distilgpt2")
	s := NewState(Initialise(c, 1))
	g := make([]float32, s.Layout.Elements)
	for i := range g {
		g[i] = float32(i%7-3) * 1e-3
	}
	b.SetBytes(int64(4 * 7 * len(g)))
	for b.Loop() {
		if _, err := s.ApplyAverage(g, testOptimizer()); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkInitialise(b *testing.B) {
	c, _ := Builtin("distilgpt2")
	for b.Loop() {
		Initialise(c, 1)
	}
}
