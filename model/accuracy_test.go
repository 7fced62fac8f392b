package model

import (
	"flag"
	"math"
	"testing"
)

var large = flag.Bool("large", false, "compare distilgpt2's gradient with float64, too: 3 GB and about a minute")

// TestGradientAccuracy compares gradients with float64 and expects the error
// that NUMERICS.md predicts. A matrix product is off by at most 10 units of
// 2^-24 of its scale (root mean square), other operators by less, and the
// errors of operators are independent, so that they add up as squares. Every
// operator counts twice, forward and backward.
func TestGradientAccuracy(t *testing.T) {
	for _, tt := range []struct {
		name         string
		b, positions int
		skip         bool
	}{{"nano", 3, 32, false}, {"tiny", 2, 48, testing.Short()}, {"distilgpt2", 1, 64, !*large}} {
		if tt.skip {
			continue
		}
		c, _ := Builtin(tt.name)
		m, p := newModel(t, c), Initialise(c, 14)
		batch := syntheticBatch(c, tt.b, tt.positions, 0)
		for i := range batch.Inputs {
			batch.Inputs[i] = int32(hash32(uint32(i)) % uint32(c.Vocab))
		}
		tally, g := gradientOf(t, m, p, batch)
		o := newOracle(p)
		near(t, tt.name+": loss", tally.Loss, o.run(batch), 8)
		limit := predictedError(c.Layers)
		worst, where := 0.0, ""
		for tensor, ours := range m.Layout.Split(g) {
			if e := relativeError(ours, o.gradient()[tensor.Name]); e > worst {
				worst, where = e, tensor.Name
			}
		}
		t.Logf("%s: the largest error of a tensor is %.1f units of 2^-24 of its scale (%s); predicted %.1f", tt.name, worst, where, limit)
		if !(worst <= limit) {
			t.Errorf("%s: error of %s above the prediction", tt.name, where)
		}
	}
}

// predictedError is in units of 2^-24. A block has nine operators that round
// more than once: two LayerNorms, four products with bias, two in attention with
// its softmax, GELU; and around the blocks there are three.
func predictedError(layers int) float64 {
	const product = 10
	return product * math.Sqrt(float64(2*(9*layers+3)))
}

// relativeError is the root mean square of the error over that of the values,
// in units of 2^-24.
func relativeError(got []float32, want []float64) float64 {
	errors, squares := 0.0, 0.0
	for i, w := range want {
		d := float64(got[i]) - w
		errors += d * d
		squares += w * w
	}
	return math.Sqrt(errors/squares) / unit
}

// TestAccuracyCatches feeds the comparison a gradient in which one element in a
// hundred was rounded to bfloat16.
func TestAccuracyCatches(t *testing.T) {
	want, got := make([]float64, 1000), make([]float32, 1000)
	for i := range want {
		want[i] = math.Sin(float64(i))
		got[i] = float32(want[i])
	}
	if e := relativeError(got, want); e > 1 {
		t.Errorf("rounding to float32 is an error of %.2f units", e)
	}
	for i := 0; i < len(got); i += 100 {
		got[i] = math.Float32frombits(math.Float32bits(got[i]) &^ 0xFFFF)
	}
	if e := relativeError(got, want); e < predictedError(6) {
		t.Errorf("rounding to bfloat16 passes as an error of %.1f units", e)
	}
}
