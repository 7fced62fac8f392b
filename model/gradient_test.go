package model

import (
	"errors"
	"math"
	"strings"
	"testing"

	"lockstep/internal/f32"
	"lockstep/internal/fault"
	"lockstep/optim"
)

// oracleConfigs are architectures that differ in every field.
func oracleConfigs() map[string]Config {
	nano, _ := Builtin("nano")
	one := small()
	one.Layers, one.Heads, one.Embd, one.Inner = 1, 1, 7, 1
	five := small()
	five.Layers, five.Heads, five.Embd, five.Positions = 3, 5, 10, 70
	return map[string]Config{"nano": nano, "small": small(), "one head": one, "five heads": five}
}

// testBatch has ignored targets in it, and one sequence of nothing else.
func testBatch(c Config, b, t int) Batch {
	batch := syntheticBatch(c, b, t, 0)
	for i := range batch.Inputs {
		batch.Inputs[i] = int32(hash32(uint32(i)) % uint32(c.Vocab))
		if i%5 == 3 {
			batch.Targets[i] = -1
		}
		if b > 1 && i/t == 1 {
			batch.Targets[i] = -100
		}
	}
	return batch
}

// TestOracle compares loss and gradient with the float64 oracle, for sequences
// as long as the model takes, and shorter.
func TestOracle(t *testing.T) {
	for name, c := range oracleConfigs() {
		for _, positions := range []int{1, c.Positions / 2, c.Positions} {
			m, p := newModel(t, c), hashedParameters(c)
			batch := testBatch(c, 3, positions)
			tally, g := gradientOf(t, m, p, batch)
			o := newOracle(p)
			near(t, name+": loss", tally.Loss, o.run(batch), 8)
			compare(t, m.Layout, name+": gradient", g, o.gradient(), 60)
		}
	}
}

// TestLongSequences: beyond 1024 positions there is a loss, with attention over
// two blocks of N6, but no gradient.
func TestLongSequences(t *testing.T) {
	c := Config{Layers: 1, Heads: 2, Embd: 8, Inner: 8, Positions: 1100, Vocab: 33, LayerNormEpsilon: 1e-5, EndOfText: 32}
	m, p := newModel(t, c), hashedParameters(c)
	batch := testBatch(c, 1, c.Positions)
	tally, err := m.Loss(p, batch)
	if err != nil {
		t.Fatal(err)
	}
	near(t, "loss of 1100 positions", tally.Loss, newOracle(p).run(batch), 8)
	if err := m.Gradient(p, batch, NewAccumulator(m.Layout)); fault.KindOf(err) != fault.Config || !strings.Contains(err.Error(), "1024") {
		t.Errorf("gradient of 1100 positions: %v", err)
	}
}

// TestOracleFiniteDifferences checks the oracle itself, and with it the whole
// model, by central differences of its loss: some elements of every tensor.
func TestOracleFiniteDifferences(t *testing.T) {
	c := small()
	p := hashedParameters(c)
	batch := testBatch(c, 3, 9)
	_, g := gradientOf(t, newModel(t, c), p, batch)
	o := newOracle(p)
	o.run(batch)
	want := o.gradient()
	for tensor, ours := range p.Layout.Split(g) {
		x := o.p[tensor.Name].RawMatrix().Data
		for k := range 4 {
			i := k * (tensor.Size - 1) / 3
			at := x[i]
			const h = 1e-5
			x[i] = at + h
			up := newLoss(o, batch)
			x[i] = at - h
			d := (up - newLoss(o, batch)) / (2 * h)
			x[i] = at
			if math.Abs(d-want[tensor.Name][i]) > 1e-7 || math.Abs(d-float64(ours[i])) > 1e-5 {
				t.Errorf("%s[%d]: difference %v, oracle %v, model %v", tensor.Name, i, d, want[tensor.Name][i], ours[i])
			}
		}
	}
}

// newLoss is the oracle's loss with a gradient thrown away.
func newLoss(o *oracle, batch Batch) float64 {
	scratch := &oracle{c: o.c, layout: o.layout, p: o.p, g: newOracle(NewParameters(o.c)).g}
	return scratch.run(batch)
}

// TestComparisonCatches feeds the comparison with the oracle faults of a kind
// that GPT-2 implementations have.
func TestComparisonCatches(t *testing.T) {
	c := small()
	p := hashedParameters(c)
	batch := testBatch(c, 3, 9)
	m := newModel(t, c)
	_, g := gradientOf(t, m, p, batch)
	o := newOracle(p)
	o.run(batch)
	want := o.gradient()
	if err := difference(m.Layout, g, want, 60); err != nil {
		t.Fatal(err)
	}
	for tensor, data := range m.Layout.Split(g) {
		scale := 0.0
		for _, v := range data {
			scale = max(scale, math.Abs(float64(v)))
		}
		last := len(data) - 1
		old := data[last]
		data[last] += float32(1e-5*scale + 1e-7)
		if err := difference(m.Layout, g, want, 60); err == nil || !strings.Contains(err.Error(), tensor.Name) {
			t.Errorf("an error in %s is not caught: %v", tensor.Name, err)
		}
		data[last] = old
	}
	delete(want, "transformer.wpe.weight")
	if difference(m.Layout, g, want, 60) == nil {
		t.Error("a missing tensor is not caught")
	}
}

// TestN26_SameBits: loss and gradient have the same bits on every instruction
// set, for any number of threads and any micro-batch.
func TestN26_SameBits(t *testing.T) {
	defer f32.SetThreads(0)
	nano, _ := Builtin("nano")
	for _, c := range []Config{nano, small()} {
		p, batch := hashedParameters(c), testBatch(c, 5, c.Positions)
		want, gradient := gradientOf(t, newModel(t, c), p, batch)
		eachISA(t, func(t *testing.T) {
			for _, run := range sameBitsRuns() {
				f32.SetThreads(run.threads)
				m := newModel(t, c)
				m.MicroBatch = run.micro
				tally, g := gradientOf(t, m, p, batch)
				if tally != want {
					t.Fatalf("%+v: %+v, want %+v", run, tally, want)
				}
				equalBits(t, m.Layout, g, gradient)
			}
		})
	}
}

// threadsAndMicro is one way to run a batch.
type threadsAndMicro struct{ threads, micro int }

func sameBitsRuns() []threadsAndMicro {
	if testing.Short() {
		return []threadsAndMicro{{7, 2}}
	}
	return []threadsAndMicro{{1, 0}, {2, 1}, {3, 2}, {7, 4}, {7, 3}, {1, 5}}
}

func equalBits(t *testing.T, l *Layout, got, want []float32) {
	t.Helper()
	for i := range want {
		if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
			tensor, at := l.Place(i)
			t.Fatalf("%s[%d] = %v, want %v", tensor.Name, at, got[i], want[i])
		}
	}
}

// TestN8_FoldOfSequences adds up gradients of single sequences by hand, output
// head and embedding apart (N14), and expects the bits of the batch, however
// it is cut into calls.
func TestN8_FoldOfSequences(t *testing.T) {
	c := small()
	m, p, batch := newModel(t, c), hashedParameters(c), testBatch(c, 5, 12)
	head, lookup := make([]float32, m.Layout.Elements), make([]float32, c.Vocab*c.Embd)
	sum := 0.0
	for s := range batch.B {
		acc := NewAccumulator(m.Layout)
		if err := m.Gradient(p, batch.sequences(s, s+1), acc); err != nil {
			t.Fatal(err)
		}
		for i, v := range acc.gradient {
			head[i] += v
		}
		for i, v := range acc.embedding {
			lookup[i] += v
		}
		sum += acc.Loss // exact: few float32 values in a float64
	}
	for i, v := range lookup {
		head[i] += v
	}
	acc := NewAccumulator(m.Layout)
	for _, cut := range [][2]int{{0, 2}, {2, 3}, {3, 5}} {
		if err := m.Gradient(p, batch.sequences(cut[0], cut[1]), acc); err != nil {
			t.Fatal(err)
		}
	}
	g, err := acc.Freeze()
	if err != nil {
		t.Fatal(err)
	}
	equalBits(t, m.Layout, g, head)
	if acc.Loss != sum || acc.Tokens != batch.Tokens() || acc.Sequences != 5 {
		t.Errorf("%+v, want loss %v, %d tokens", acc.Tally, sum, batch.Tokens())
	}
}

// TestN15_SumsOverTokens: a gradient is a sum, not a mean, and ignored targets
// add nothing to it.
func TestN15_SumsOverTokens(t *testing.T) {
	c := small()
	m, p := newModel(t, c), hashedParameters(c)
	batch := syntheticBatch(c, 1, 8, 0)
	tally, once := gradientOf(t, m, p, batch)
	double := Batch{append(batch.Inputs, batch.Inputs...), append(batch.Targets, batch.Targets...), 2, 8}
	twice, g := gradientOf(t, m, p, double)
	if twice.Loss != 2*tally.Loss || twice.Tokens != 2*tally.Tokens {
		t.Errorf("%+v is not twice %+v", twice, tally)
	}
	for i := range g {
		if g[i] != 2*once[i] && i >= c.Vocab*c.Embd { // wte is rounded once more, by Freeze
			t.Fatalf("element %d: %v is not twice %v", i, g[i], once[i])
		}
	}
	for i := range double.Targets[8:] {
		double.Targets[8+i] = -1
	}
	ignored, g := gradientOf(t, m, p, double)
	if ignored.Loss != tally.Loss || ignored.Tokens != tally.Tokens {
		t.Errorf("ignored targets count: %+v, want %+v", ignored, tally)
	}
	equalBits(t, m.Layout, g, once)
}

// TestLossEqualsGradient: the forward-only path gives the same loss bits.
func TestLossEqualsGradient(t *testing.T) {
	c := small()
	m, p, batch := newModel(t, c), hashedParameters(c), testBatch(c, 5, 12)
	for _, micro := range []int{0, 1, 2} {
		m.MicroBatch = micro
		want, _ := gradientOf(t, m, p, batch)
		got, err := m.Loss(p, batch)
		if err != nil || got != want {
			t.Errorf("micro-batch %d: %+v, %v; want %+v", micro, got, err, want)
		}
	}
}

// TestHeadSlices: the head's slices change no bit. Sequences are so long that a
// micro-batch needs several.
func TestHeadSlices(t *testing.T) {
	c := small()
	c.Layers, c.Positions = 1, 600
	p, batch := hashedParameters(c), testBatch(c, 3, 600)
	whole, sliced := newModel(t, c), newModel(t, c)
	whole.MicroBatch, sliced.MicroBatch = 1, 3
	want, gradient := gradientOf(t, whole, p, batch)
	got, g := gradientOf(t, sliced, p, batch)
	if got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	equalBits(t, sliced.Layout, g, gradient)
}

func TestBadBatches(t *testing.T) {
	c := small()
	m, p := newModel(t, c), hashedParameters(c)
	good := func() Batch { return syntheticBatch(c, 2, 6, 0) }
	tests := []struct {
		name   string
		change func(b *Batch)
		kind   fault.Kind
		says   string
	}{
		{"no sequences", func(b *Batch) { b.B = 0 }, fault.Damaged, "12 inputs"},
		{"short inputs", func(b *Batch) { b.Inputs = b.Inputs[1:] }, fault.Damaged, "11 inputs"},
		{"short targets", func(b *Batch) { b.Targets = b.Targets[1:] }, fault.Damaged, "11 targets"},
		{"too long", func(b *Batch) { *b = syntheticBatch(c, 1, 13, 0) }, fault.Config, "n_positions 12"},
		{"input", func(b *Batch) { b.Inputs[7] = 40 }, fault.Damaged, "sequence 1, position 1: input 40"},
		{"negative input", func(b *Batch) { b.Inputs[7] = -1 }, fault.Damaged, "input -1"},
		{"target", func(b *Batch) { b.Targets[11] = 40 }, fault.Damaged, "sequence 1, position 5: target 40"},
	}
	for _, tt := range tests {
		b := good()
		tt.change(&b)
		err := m.Gradient(p, b, NewAccumulator(m.Layout))
		if fault.KindOf(err) != tt.kind || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	long := small()
	long.Positions = 2000
	err := newModel(t, long).Gradient(hashedParameters(long), syntheticBatch(long, 1, 1025, 0), NewAccumulator(NewLayout(long)))
	if fault.KindOf(err) != fault.Config || !strings.Contains(err.Error(), "at most 1024") {
		t.Errorf("1025 positions: %v", err)
	}
}

// TestN21_NonFiniteLoss and the next two: a NaN is reported with its place.
func TestN21_NonFiniteLoss(t *testing.T) {
	c := small()
	m, p := newModel(t, c), hashedParameters(c)
	batch := syntheticBatch(c, 3, 6, 0)
	wpe, _ := p.Layout.Find("transformer.wpe.weight")
	p.Data[wpe.Offset+4*c.Embd] = float32(math.NaN()) // position 4
	err := m.Gradient(p, batch, NewAccumulator(m.Layout))
	var where *optim.NonFiniteError
	if !errors.As(err, &where) || where.What != "loss" || where.Index > 4 {
		t.Fatalf("%v", err) // masked positions are multiplied by 0, so the NaN reaches earlier ones too
	}
	if _, err := m.Loss(p, batch); !errors.As(err, &where) {
		t.Errorf("loss: %v", err)
	}
	if _, err := m.Logits(p, batch.Inputs[:6], 5); !errors.As(err, &where) || where.What != "logits" {
		t.Errorf("logits: %v", err)
	}
	p.Data[wpe.Offset+4*c.Embd] = 0
	tally, _ := gradientOf(t, m, p, batch) // the model itself is not spoilt
	again, _ := gradientOf(t, newModel(t, c), p, batch)
	if tally != again {
		t.Errorf("after an error: %+v, want %+v", tally, again)
	}
}

func TestN21_NonFiniteGradient(t *testing.T) {
	c := small()
	m, p := newModel(t, c), hashedParameters(c)
	acc := NewAccumulator(m.Layout)
	if err := m.Gradient(p, syntheticBatch(c, 1, 6, 0), acc); err != nil {
		t.Fatal(err)
	}
	bias, _ := m.Layout.Find("transformer.h.1.mlp.c_fc.bias")
	acc.gradient[bias.Offset+2] = float32(math.Inf(-1))
	_, err := acc.Freeze()
	var where *optim.NonFiniteError
	if !errors.As(err, &where) || where.What != "gradient" || where.Tensor != bias.Name || where.Index != 2 {
		t.Errorf("%v", err)
	}
}
