package main

import (
	"context"
	"fmt"
	"runtime"
	"time"

	"lockstep/config"
	"lockstep/internal/seed"
	"lockstep/model"
	"lockstep/observe"
	"lockstep/optim"
)

// stepResult is the result of `lockstep bench step`.
type stepResult struct {
	machineInfo
	Model   string  `json:"model"`
	Batch   int     `json:"batch"`
	SeqLen  int     `json:"seq_len"`
	Seconds float64 `json:"seconds"`

	TokensPerSecond float64 `json:"tokens_per_second"`
	// MatMulGFLOPS is the speed of the step's matrix products by themselves,
	// measured between the steps; BoundFraction is the time that all of the
	// step's products take at that speed, as a part of the step's time.
	MatMulGFLOPS  float64 `json:"matmul_gflops"`
	BoundFraction float64 `json:"bound_fraction"`
	PeakRSSBytes  int64   `json:"peak_rss_bytes,omitempty"` // before products were measured by themselves
	AllocsPerStep uint64  `json:"allocs_per_step"`
}

// stepper is one process's training on tokens drawn at random.
type stepper struct {
	net   *model.Model
	arch  model.Config
	state *model.State
	acc   *model.Accumulator
	batch model.Batch
	rate  optim.Config
}

func newStepper(ctx context.Context, c config.Config) (*stepper, error) {
	m, err := loadModel(ctx, c.Protocol.Model, c.Protocol.Seed)
	if err != nil {
		return nil, err
	}
	arch := m.weights.Config
	fill(&c, arch)
	return &stepper{
		net: m.net, arch: arch, state: model.NewState(m.weights), acc: model.NewAccumulator(m.net.Layout),
		batch: randomBatch(c.Protocol.Seed, arch.Vocab, c.Train.Batch, c.Protocol.SeqLen), rate: optim.Default(),
	}, nil
}

// randomBatch draws tokens evenly.
func randomBatch(runSeed uint64, vocab, sequences, t int) model.Batch {
	s := seed.New(runSeed, "bench")
	b := model.Batch{B: sequences, T: t}
	for i := range uint64(sequences * t) {
		b.Inputs = append(b.Inputs, int32(s.Below(2*i, uint64(vocab))))
		b.Targets = append(b.Targets, int32(s.Below(2*i+1, uint64(vocab))))
	}
	return b
}

// step is one training step.
func (t *stepper) step() error {
	t.acc.Reset()
	if err := t.net.Gradient(t.state.Parameters(t.arch), t.batch, t.acc); err != nil {
		return err
	}
	g, err := t.acc.Freeze()
	if err != nil {
		return err
	}
	if err := model.Average(g, t.acc.Tokens); err != nil {
		return err
	}
	_, err = t.state.ApplyAverage(g, t.rate)
	return err
}

func benchStep(ctx context.Context, s benchSettings) (measurement, error) {
	t, err := newStepper(ctx, s.config)
	if err != nil {
		return nil, err
	}
	r := stepResult{machineInfo: s.machine, Model: s.config.Protocol.Model, Batch: t.batch.B, SeqLen: t.batch.T}
	s.status("first steps")
	for range 2 { // which make the buffers
		if err := t.step(); err != nil {
			return nil, err
		}
	}
	if r.AllocsPerStep, err = allocations(t.step); err != nil {
		return nil, err
	}
	r.PeakRSSBytes = s.peakRSS()
	products := stepProducts(t.arch, t.batch.B, t.batch.T)
	var o gemmOperands
	var steps, alone []time.Duration
	for run := range s.runs + 1 {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		s.status("step %d of %d", run, s.runs)
		var failure error
		d := timed(func() { failure = t.step() })
		if failure != nil {
			return nil, failure
		}
		p := products.alone(&o)
		if run > 0 { // the first finds cold memory
			steps, alone = append(steps, d), append(alone, p)
		}
	}
	r.Seconds = median(steps)
	r.TokensPerSecond = float64(t.batch.B*t.batch.T) / r.Seconds
	bound := median(alone)
	r.MatMulGFLOPS = products.flops() / bound / 1e9
	r.BoundFraction = bound / r.Seconds
	return r, nil
}

// allocations counts what f allocates.
func allocations(f func() error) (uint64, error) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	err := f()
	runtime.ReadMemStats(&after)
	return after.Mallocs - before.Mallocs, err
}

// countedShape is a product that a step computes count times.
type countedShape struct {
	gemmShape
	count float64
}

// products are all matrix products of a step. Those of attention, a hundredth
// of the work, have no shape here: they count at the speed of the others.
type products struct {
	shapes    []countedShape
	attention float64 // floating-point operations
}

// stepProducts lists the products of a step of b sequences of t tokens, as the
// model computes them: activations of at most 1,024 tokens at a time, gradients
// of weights sequence by sequence.
func stepProducts(c model.Config, b, t int) products {
	sequences := max(1, min(b, model.MaxTrainingPositions/t))
	rows, times := sequences*t, float64(b)/float64(sequences)
	var p products
	linear := func(in, out int, count float64) {
		p.shapes = append(p.shapes,
			countedShape{gemmShape{Layout: "NN", M: rows, N: out, K: in}, count * times},
			countedShape{gemmShape{Layout: "NT", M: rows, N: in, K: out}, count * times},
			countedShape{gemmShape{Layout: "TN", M: in, N: out, K: t}, count * float64(b)})
	}
	for _, l := range [][2]int{{c.Embd, 3 * c.Embd}, {c.Embd, c.Embd}, {c.Embd, c.Inner}, {c.Inner, c.Embd}} {
		linear(l[0], l[1], float64(c.Layers))
	}
	p.shapes = append(p.shapes,
		countedShape{gemmShape{Layout: "NT", M: rows, N: c.Vocab, K: c.Embd}, times},
		countedShape{gemmShape{Layout: "NN", M: rows, N: c.Embd, K: c.Vocab}, times},
		countedShape{gemmShape{Layout: "TN", M: c.Vocab, N: c.Embd, K: t}, float64(b)})
	// Two products forward and four backward, of which causality needs half.
	p.attention = 6 * float64(c.Layers) * float64(b) * float64(t) * float64(t+1) * float64(c.Embd)
	return p
}

func (p products) flops() float64 {
	sum := p.attention
	for _, s := range p.shapes {
		sum += s.count * s.flops()
	}
	return sum
}

// alone measures each shape once and returns how long all products of a step
// would take like that.
func (p products) alone(o *gemmOperands) time.Duration {
	seconds, flops := 0.0, 0.0
	for _, s := range p.shapes {
		seconds += s.count * o.multiply(s.gemmShape).Seconds()
		flops += s.count * s.flops()
	}
	return time.Duration(seconds * p.flops() / flops * float64(time.Second))
}

func (r stepResult) table() [][]string {
	return [][]string{
		{"step", ""},
		{"model", r.Model},
		{"batch", fmt.Sprintf("%d sequences of %d tokens", r.Batch, r.SeqLen)},
		{"time", fmt.Sprintf("%.3f s", r.Seconds)},
		{"speed", fmt.Sprintf("%s tokens/s", observe.Count(int64(r.TokensPerSecond)))},
		{"matrix products alone", fmt.Sprintf("%.1f GFLOPS", r.MatMulGFLOPS)},
		{"part of that bound", fmt.Sprintf("%.1f %%", 100*r.BoundFraction)},
		{"peak memory", memorySize(r.PeakRSSBytes)},
		{"allocations of a step", fmt.Sprint(r.AllocsPerStep)},
	}
}
