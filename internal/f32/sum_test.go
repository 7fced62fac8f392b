package f32

import (
	"math"
	"math/rand/v2"
	"testing"
)

// r16 is a second implementation of N9, written along the lanes rather than
// along the elements. term adds element i to a lane.
func r16(n int, term func(lane float32, i int) float32) float32 {
	var l [16]float32
	for j := range l {
		for i := j; i < n; i += 16 {
			l[j] = term(l[j], i)
		}
	}
	for j := range 8 {
		l[j] = l[j] + l[j+8]
	}
	for j := range 4 {
		l[j] = l[j] + l[j+4]
	}
	l[0], l[1] = l[0]+l[2], l[1]+l[3]
	return l[0] + l[1]
}

// treeSize returns how many of n leaves hang below the node where elements i
// and j first meet in R16's tree of additions.
func treeSize(n, i, j int) int {
	if i%16 == j%16 { // in the chain of one lane
		return max(i, j)/16 + 1
	}
	w := 8 // in the fold: the widest stride that puts both lanes into one class
	for i%w != j%w {
		w /= 2
	}
	size := 0
	for k := range n {
		if k%w == i%w {
			size++
		}
	}
	return size
}

// TestN9_R16Order reveals the order of additions (after FPRev): of ones with
// +2^60 at i and -2^60 at j, those below the node where i and j meet are lost.
func TestN9_R16Order(t *testing.T) {
	const n, big = 53, 1 << 60
	reductions := []struct {
		name string
		sum  func(x, ones []float32) float32
	}{
		{"sum", func(x, _ []float32) float32 { return sum(x) }},
		{"dot", dot},
		{"normalizeSums 1", func(x, ones []float32) float32 { s, _ := normalizeSums(x, ones, ones, 0, 1); return s }},
		{"normalizeSums 2", func(x, ones []float32) float32 { _, s := normalizeSums(x, ones, ones, 0, 1); return s }},
	}
	ones := make([]float32, n)
	for i := range ones {
		ones[i] = 1
	}
	for _, isa := range Available() {
		restore := ForTest(isa)
		for _, reduction := range reductions {
			for i := range n {
				for j := range n {
					if i == j {
						continue
					}
					x := append([]float32(nil), ones...)
					x[i], x[j] = big, -big
					want := float32(n - treeSize(n, i, j))
					if got := reduction.sum(x, ones); got != want {
						t.Fatalf("%s on %s: +big at %d, -big at %d: %v ones survive, want %v", reduction.name, isa, i, j, got, want)
					}
				}
			}
		}
		restore()
	}
}

// TestN9_OrderOfPositiveSums does the same for sums whose terms are never
// negative, so that nothing cancels: beside a term of 2^24 a single one is lost,
// and ones that have met before are not. The lanes written out in r16 say how
// many remain; a tree of another shape must leave another number for some place
// of the huge term.
func TestN9_OrderOfPositiveSums(t *testing.T) {
	const n = 53
	big := float32(16.63554) // e^16.63554 is 2^24 or a little more
	reductions := []struct {
		name       string
		one, large float32 // arguments that give terms of 1 and about 2^24
		sum        func(x []float32) float32
		term       func(lane, x float32) float32
	}{
		{"squaresAbout", 1, 1 << 12, func(x []float32) float32 { return squaresAbout(x, 0) }, func(l, x float32) float32 { return FMA(x, x, l) }},
		{"expTotal", 0, big, func(x []float32) float32 { return expTotal(x, 0) }, func(l, x float32) float32 { return l + Exp(x) }},
		{"expStore", 0, big, func(x []float32) float32 { return expStore(make([]float32, n), x, 0) }, func(l, x float32) float32 { return l + Exp(x) }},
	}
	for _, isa := range Available() {
		restore := ForTest(isa)
		for _, reduction := range reductions {
			x, terms := make([]float32, n), make([]float32, n)
			eight, upwards := false, false // told from sixteen lanes folded from eight apart
			for place := range n {
				for i := range x {
					x[i] = reduction.one
				}
				x[place] = reduction.large
				for i, v := range x {
					terms[i] = reduction.term(0, v)
				}
				want := r16(n, func(l float32, i int) float32 { return reduction.term(l, x[i]) })
				if got := reduction.sum(x); got != want {
					t.Fatalf("%s on %s, huge term at %d: %v, want %v", reduction.name, isa, place, got, want)
				}
				eight = eight || sumOfLanes(terms, 8) != want
				upwards = upwards || sumFoldedUpwards(terms) != want
			}
			if !eight || !upwards {
				t.Errorf("%s: the data cannot tell eight lanes (%t) or another fold (%t)", reduction.name, eight, upwards)
			}
		}
		restore()
	}
}

func TestN9_SumsStartAtPlusZero(t *testing.T) {
	x := []float32{negativeZero, negativeZero}
	for _, isa := range Available() {
		restore := ForTest(isa)
		for n := range 3 {
			if got := math.Float32bits(sum(x[:n])); got != 0 {
				t.Errorf("sum of %d negative zeros on %s: %08x", n, isa, got)
			}
		}
		restore()
	}
}

func TestN9_SumAndDot(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 0))
	for n := range 200 {
		o := newRowCall(r, n, 0, drawOrdinary)
		x, y := o.a, o.b
		if got, want := sum(x), r16(n, func(l float32, i int) float32 { return l + x[i] }); !same32(got, want) {
			t.Fatalf("sum of %d: %x, want %x", n, got, want)
		}
		if got, want := dot(x, y), r16(n, func(l float32, i int) float32 { return FMA(x[i], y[i], l) }); !same32(got, want) {
			t.Fatalf("dot of %d: %x, want %x", n, got, want)
		}
	}
}

func TestN13_SumSquaresLanes(t *testing.T) {
	r := rand.New(rand.NewPCG(13, 0))
	for n := range 100 {
		x := newRowCall(r, n, 0, drawCancelling).a
		var l [16]float64
		for j := range l {
			for i := j; i < n; i += 16 {
				square := float64(x[i]) * float64(x[i]) // exact
				l[j] = l[j] + square
			}
		}
		for w := 8; w > 0; w /= 2 {
			for j := range w {
				l[j] = l[j] + l[j+w]
			}
		}
		for _, isa := range Available() {
			restore := ForTest(isa)
			if got := SumSquares(x); !same64(got, l[0]) {
				t.Fatalf("SumSquares of %d on %s: %x, want %x", n, isa, got, l[0])
			}
			restore()
		}
	}
}
