package f32

import (
	"math"
	"math/rand/v2"
	"testing"
)

func TestN8_SumRowsOrder(t *testing.T) {
	const rows, n, ld = 5, tile + 19, tile + 23
	d := make([]float32, rows*ld)
	for i := range rows { // (((2^60 + 1) - 2^60) + 1) + 1 = 2: ascending order only
		for j := range ld {
			d[i*ld+j] = []float32{1 << 60, 1, -1 << 60, 1, 1}[i]
		}
	}
	for _, isa := range Available() {
		restore := ForTest(isa)
		out := make([]float32, n)
		for j := range out {
			out[j] = 1 << 60 // the sequence's sum is added last, as a whole
		}
		SumRows(out[:n-1], d, rows, n-1, ld)
		for j := range n - 1 {
			if out[j] != 1<<60 {
				t.Errorf("%s: out[%d] = %v", isa, j, out[j])
			}
		}
		clear(out)
		SumRows(out, d, rows, n, ld)
		for j := range out {
			if out[j] != 2 {
				t.Errorf("%s: out[%d] = %v, want 2", isa, j, out[j])
			}
		}
		restore()
	}
}

func TestAddBias(t *testing.T) {
	const rows, n, ld = 3, 5, 7
	out, bias := make([]float32, rows*ld), []float32{1, 2, 3, 4, 5}
	AddBias(out, ld, bias, rows, n)
	for i, v := range out {
		want := float32(0)
		if j := i % ld; j < n {
			want = bias[j]
		}
		if v != want {
			t.Errorf("out[%d] = %v, want %v", i, v, want)
		}
	}
}

func TestN21_FiniteFindsTheFirst(t *testing.T) {
	r := rand.New(rand.NewPCG(21, 0))
	for _, isa := range Available() {
		restore := ForTest(isa)
		for n := range 100 {
			x := newRowCall(r, n, 1, drawFinite).a
			if got := Finite(x); got != -1 {
				t.Fatalf("%s: Finite of %d finite values = %d", isa, n, got)
			}
			for bad := range n {
				y := append([]float32(nil), x...)
				y[bad] = []float32{infinity, -infinity, float32(math.NaN()), math.Float32frombits(0xFF800001)}[bad%4]
				for later := bad; later < n; later += 13 {
					y[later] = y[bad]
				}
				if got := Finite(y); got != bad {
					t.Fatalf("%s: Finite of %d values, %d not finite: %d", isa, n, bad, got)
				}
			}
		}
		restore()
	}
}

// TestN16_PeerSum: float64 accumulator from +0, one division, one rounding.
func TestN16_PeerSum(t *testing.T) {
	r := rand.New(rand.NewPCG(16, 0))
	const n, peers, tokens = 77, 5, 12_345
	acc, out := make([]float64, n), make([]float32, n)
	want := make([]float64, n)
	for range peers {
		x := newRowCall(r, n, 0, drawFinite).a
		AddFloat64(acc, x)
		for i, v := range x {
			want[i] = want[i] + float64(v)
		}
	}
	DivideRound(out, acc, tokens)
	for i := range out {
		if !same32(out[i], float32(want[i]/tokens)) {
			t.Errorf("out[%d] = %x, want %x", i, out[i], float32(want[i]/tokens))
		}
	}
}

// A quotient that is a tie goes to the even neighbour on every ISA.
func TestN16_TiesOfTheAverage(t *testing.T) {
	const n = 77
	sum, out := make([]float64, n), make([]float32, n)
	averageTies(sum)
	for _, isa := range Available() {
		restore := ForTest(isa)
		DivideRound(out, sum, tieCount)
		for i, got := range out {
			if want := 2 - float32(i+i%2)*0x1p-23; got != want {
				t.Errorf("%s: out[%d] = %x, want %x", isa, i, got, want)
			}
		}
		restore()
	}
}

func TestScaleAddExamples(t *testing.T) {
	x, y := []float32{1, 2, 3}, []float32{10, 20, 30}
	sum := make([]float32, 3)
	Add(sum, x, y)
	AddTo(sum, x)
	Scale(sum, 2)
	for i, want := range []float32{24, 48, 72} {
		if sum[i] != want {
			t.Errorf("element %d = %v, want %v", i, sum[i], want)
		}
	}
}

// TestRowsAllocateNothing: these run once per sequence and tensor, and must not
// make garbage.
func TestRowsAllocateNothing(t *testing.T) {
	const rows, d = 20, 1100 // more than two tiles
	x := make([]float32, rows*d)
	row, tokens := make([]float32, rows*d), make([]int32, rows)
	calls := map[string]func(){
		"SumRows":         func() { SumRows(row[:d], x, rows, d, d) },
		"LayerNormParams": func() { LayerNormParams(row[:d], row[d:][:d], x, x, x, x, rows, d, d) },
		"EmbeddingGrad":   func() { EmbeddingGrad(row, x, tokens, d) },
		"AdamWStep":       func() { AdamWStep(row, row, row, x, AdamW{}) },
		"CrossEntropy":    func() { CrossEntropy(row, x, 3) },
	}
	for name, call := range calls {
		if n := testing.AllocsPerRun(5, call); n != 0 {
			t.Errorf("%s allocates %v times", name, n)
		}
	}
}

// TestRowsPanicOnWrongLengths calls every kernel that takes several slices with
// one that does not fit.
func TestRowsPanicOnWrongLengths(t *testing.T) {
	a, b := make([]float32, 4), make([]float32, 3)
	tests := map[string]func(){
		"ExpSlice":          func() { ExpSlice(a, b) },
		"GELUForward":       func() { GELUForward(a, b) },
		"GELUBackward":      func() { GELUBackward(a, a, b) },
		"Softmax":           func() { Softmax(a, b) },
		"SoftmaxBackward":   func() { SoftmaxBackward(a, a, b, 1) },
		"CrossEntropy":      func() { CrossEntropy(a, b, 0) },
		"target":            func() { CrossEntropy(a, a, 4) },
		"LayerNorm":         func() { LayerNorm(a, a, b, a, 1) },
		"LayerNormBackward": func() { LayerNormBackward(a, a, b, a, 0, 1) },
		"LayerNormParams":   func() { LayerNormParams(a, b, a, a, a, a, 1, 4, 4) },
		"Add":               func() { Add(a, a, b) },
		"AddTo":             func() { AddTo(a, b) },
		"AddBias":           func() { AddBias(a, 4, b, 1, 4) },
		"AddBias rows":      func() { AddBias(a, 4, a, 2, 4) },
		"SumRows":           func() { SumRows(b, a, 1, 4, 4) },
		"SumRows stride":    func() { SumRows(b, a, 1, 3, 2) },
		"EmbeddingGrad":     func() { EmbeddingGrad(a, b, []int32{0}, 4) },
		"token":             func() { EmbeddingGrad(a, a, []int32{-1}, 4) },
		"AdamWStep":         func() { AdamWStep(a, a, b, a, AdamW{}) },
		"AddFloat64":        func() { AddFloat64(make([]float64, 4), b) },
		"DivideRound":       func() { DivideRound(a, make([]float64, 3), 1) },
	}
	for name, call := range tests {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s accepts slices of unfitting lengths", name)
				}
			}()
			call()
		}()
	}
}
