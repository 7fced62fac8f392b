package autograd

import (
	"fmt"
	"math"
	"testing"
)

// An operation is checked against its own definition in float64: want computes
// y from inputs and parameters, and central differences of Σ c y give the
// gradients. Tensors and parameters are one list of flat vectors, tensors first.
type finiteCase struct {
	name string
	x    []*Tensor
	p    []*Parameter
	run  func(t *Tape, x []*Tensor, p []*Parameter) *Tensor
	want func(v [][]float64) []float64
}

func finiteCases() []finiteCase {
	const b, t, c = 2, 5, 6
	tokens := []int32{3, 1, 3, 0, 2, 2, 2, 2, 1, 0}
	return []finiteCase{
		{
			"Embedding", nil, []*Parameter{parameter(4, c, 1), parameter(t+2, c, 2)},
			func(tape *Tape, _ []*Tensor, p []*Parameter) *Tensor { return tape.Embedding(tokens, b, t, p[0], p[1]) },
			func(v [][]float64) []float64 { return embedding64(tokens, t, c, v[0], v[1]) },
		}, {
			"Linear", []*Tensor{input(b, t, c, 3)}, []*Parameter{parameter(c, 7, 4), parameter(1, 7, 5)},
			func(tape *Tape, x []*Tensor, p []*Parameter) *Tensor { return tape.Linear(x[0], p[0], p[1]) },
			func(v [][]float64) []float64 { return linear64(v[0], v[1], v[2], c, 7) },
		}, {
			"Linear without bias", []*Tensor{input(b, t, c, 3)}, []*Parameter{parameter(c, 7, 4)},
			func(tape *Tape, x []*Tensor, p []*Parameter) *Tensor { return tape.Linear(x[0], p[0], nil) },
			func(v [][]float64) []float64 { return linear64(v[0], v[1], make([]float64, 7), c, 7) },
		}, {
			"LayerNorm", []*Tensor{input(b, t, c, 6)}, []*Parameter{parameter(1, c, 7), parameter(1, c, 8)},
			func(tape *Tape, x []*Tensor, p []*Parameter) *Tensor { return tape.LayerNorm(x[0], p[0], p[1], 1e-3) },
			func(v [][]float64) []float64 { return layerNorm64(v[0], v[1], v[2], 1e-3) },
		}, {
			"GELU", []*Tensor{input(b, t, c, 9)}, nil,
			func(tape *Tape, x []*Tensor, _ []*Parameter) *Tensor { return tape.GELU(x[0]) },
			func(v [][]float64) []float64 { return gelu64(v[0]) },
		}, {
			"Attention", []*Tensor{input(b, t, 3*c, 10)}, nil,
			func(tape *Tape, x []*Tensor, _ []*Parameter) *Tensor { return tape.Attention(x[0], 3) },
			func(v [][]float64) []float64 { return attention64(v[0], b, t, c, 3) },
		}, {
			"Add", []*Tensor{input(b, t, c, 11), input(b, t, c, 12)}, nil,
			func(tape *Tape, x []*Tensor, _ []*Parameter) *Tensor { return tape.Add(x[0], x[1]) },
			func(v [][]float64) []float64 { return add64(v[0], v[1]) },
		}, {
			"Add of one tensor twice", []*Tensor{input(b, t, c, 11)}, nil,
			func(tape *Tape, x []*Tensor, _ []*Parameter) *Tensor { return tape.Add(x[0], x[0]) },
			func(v [][]float64) []float64 { return add64(v[0], v[0]) },
		}, {
			"Head", []*Tensor{input(b, t, c, 13)}, []*Parameter{parameter(9, c, 14)},
			func(tape *Tape, x []*Tensor, p []*Parameter) *Tensor { return tape.Head(x[0], p[0]) },
			func(v [][]float64) []float64 { return head64(v[0], v[1], c) },
		}, {
			"two consumers", []*Tensor{input(b, t, c, 15)}, []*Parameter{parameter(c, c, 16)},
			func(tape *Tape, x []*Tensor, p []*Parameter) *Tensor {
				return tape.Add(tape.GELU(x[0]), tape.Linear(x[0], p[0], nil))
			},
			func(v [][]float64) []float64 {
				return add64(gelu64(v[0]), linear64(v[0], v[1], make([]float64, c), c, c))
			},
		},
	}
}

// TestFiniteDifferences compares value and gradients of every operation with
// float64. The differences are good to 1e-9; the rest is float32's rounding:
// some ten operations of 2^-24 each, of the largest element.
func TestFiniteDifferences(t *testing.T) {
	for _, k := range finiteCases() {
		t.Run(k.name, func(t *testing.T) { k.check(t) })
	}
}

func (k *finiteCase) check(t *testing.T) {
	var tape Tape
	y := k.run(&tape, k.x, k.p)
	v := k.vectors()
	nearAll(t, "y", y.Data, k.want(v))
	dy := seedGradient(y, 99)
	tape.Backward(Mark{})
	objective := func() (sum float64) {
		for i, yi := range k.want(v) {
			sum += float64(dy[i]) * yi
		}
		return sum
	}
	for i, g := range k.gradients() {
		nearAll(t, fmt.Sprintf("gradient %d", i), g, differences(v[i], objective))
	}
}

func (k *finiteCase) vectors() (v [][]float64) {
	for _, x := range k.x {
		v = append(v, float64s(x.Data))
	}
	for _, p := range k.p {
		v = append(v, float64s(p.Value))
	}
	return v
}

func (k *finiteCase) gradients() (g [][]float32) {
	for _, x := range k.x {
		g = append(g, x.gradient)
	}
	for _, p := range k.p {
		g = append(g, p.Gradient)
	}
	return g
}

// differences returns the derivative of f by each element of x.
func differences(x []float64, f func() float64) []float64 {
	const h = 1e-5
	d := make([]float64, len(x))
	for i, at := range x {
		x[i] = at + h
		up := f()
		x[i] = at - h
		d[i] = (up - f()) / (2 * h)
		x[i] = at
	}
	return d
}

// TestFiniteDifferencesOfLoss does the same for CrossEntropy, whose gradient
// begins the backward pass.
func TestFiniteDifferencesOfLoss(t *testing.T) {
	x := input(2, 4, 7, 20)
	for i := range x.Data {
		x.Data[i] *= 4
	}
	targets := []int32{3, 0, -1, 6, -100, 2, 2, 1}
	v := float64s(x.Data)
	var tape Tape
	losses := append([]float32(nil), tape.CrossEntropy(x, targets)...)
	tape.Backward(Mark{})
	want := crossEntropy64(v, targets, 7)
	nearAll(t, "losses", losses, want)
	nearAll(t, "gradient", x.gradient, differences(v, func() (sum float64) {
		for _, l := range crossEntropy64(v, targets, 7) {
			sum += l
		}
		return sum
	}))
}

// TestComparisonCatches gives the comparison values that are slightly wrong.
func TestComparisonCatches(t *testing.T) {
	if worst([]float32{1, 2}, []float64{1, 2.00001}) < tolerance {
		t.Error("an error of 5e-6 passes")
	}
	if worst([]float32{float32(math.NaN())}, []float64{1}) < tolerance {
		t.Error("NaN passes")
	}
}

const tolerance = 1e-6

func nearAll(t *testing.T, what string, got []float32, want []float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s has %d elements, want %d", what, len(got), len(want))
	}
	if e := worst(got, want); !(e < tolerance) {
		t.Errorf("%s: off by %g of the largest element", what, e)
	}
}

// worst returns the largest error in units of the largest element.
func worst(got []float32, want []float64) float64 {
	scale, e := 1e-30, 0.0
	for i, w := range want {
		scale = max(scale, math.Abs(w))
		e = max(e, math.Abs(float64(got[i])-w))
	}
	return e / scale
}
