package f32

import (
	"math"
	"math/rand/v2"
	"testing"
)

// The order of a sum shows in what a huge term swallows (Xie et al., "FPRev").
// With +M at one k, -M at another and ones elsewhere, a one survives only if
// it is added after both have cancelled. So the sum counts those terms, and
// the counts for all pairs fix the tree of additions.
func TestN6_OrderRevealed(t *testing.T) {
	const k, huge = 2500, 1 << 60
	plus := []int{0, 1, 7, 511, 512, 1022, 1023, 1024, 1025, 1500, 2046, 2047, 2048, 2499}
	minus := []int{0, 1, 2, 8, 510, 600, 1021, 1023, 1024, 1026, 1535, 1536, 2000, 2047, 2048, 2049, 2490, 2499}
	ones := func() float32 { return 1 }
	eachISA(t, func(t *testing.T) {
		for layout := range Layout(3) {
			c := matrixCase{layout: layout, m: len(plus), n: len(minus), k: k}
			o := c.operands(ones)
			for i, at := range plus {
				*c.at(o, i, at) = huge
			}
			for j, at := range minus {
				*c.bt(o, at, j) = -huge
			}
			got := c.multiply(t, o)
			for i, p := range plus {
				for j, m := range minus {
					if p == m {
						continue // one term of -M*M: nothing cancels
					}
					if want := float32(survivors(p, m, k)); got[i*c.n+j] != want {
						t.Errorf("%v: with +M at %d and -M at %d, %g terms survive, want %g", c, p, m, got[i*c.n+j], want)
					}
				}
			}
		}
	})
}

// survivors counts the terms that N6 adds after +M and -M have cancelled.
func survivors(plus, minus, k int) int {
	first, last := min(plus, minus), max(plus, minus)
	end := min((last/1024+1)*1024, k) // of the block that ends the swallowing
	if first/1024 != last/1024 {
		return k - end // it cancels when the second block's sum is added
	}
	before := last / 1024 * 1024 // blocks that were complete before
	return before + (end - 1 - last) + (k - end)
}

// 2^24 + 1 is a tie and rounds back to 2^24. So blocks of sum 1 leave 2^24 as
// it is if they are added to it one by one, but not if they are added to each
// other first.
func TestN7_EveryBlockIsAddedToOut(t *testing.T) {
	eachISA(t, func(t *testing.T) {
		for layout := range Layout(3) {
			c := matrixCase{layout: layout, m: 3, n: 35, k: 3 * blockK, accumulate: true}
			o := c.operands(func() float32 { return 0 })
			for e := range c.m * c.n {
				o.out[e] = 1 << 24
			}
			for k := 0; k < c.k; k += blockK {
				for i := range c.m {
					*c.at(o, i, k) = 1
				}
				for j := range c.n {
					*c.bt(o, k, j) = 1
				}
			}
			for e, x := range c.multiply(t, o) {
				if x != 1<<24 {
					t.Fatalf("%v: out[%d,%d] = %g, want %g", c, e/c.n, e%c.n, x, float32(1<<24))
				}
			}
		}
	})
}

// Cases where rounding twice, or not fusing, gives another result. Each is a
// chain of two steps: t = t0, then fma32(x, y, t).
var hardSteps = []struct {
	name               string
	t0, x, y           float32
	want, twice, loose uint32 // rounded once; via float64; product rounded first
}{
	{"just above a tie, even below", 1, 1397419, 6147 * 0x1p-57, 0x3F80_0001, 0x3F80_0000, 0x3F80_0000},
	{"just below a tie, odd below", 1 + 0x1p-23, 0x1p-12 + 0x1p-32, 0x1p-12 - 0x1p-32, 0x3F80_0001, 0x3F80_0002, 0x3F80_0002},
	{"negative, just above a tie", -1, 1397419, -6147 * 0x1p-57, 0xBF80_0001, 0xBF80_0000, 0xBF80_0000},
	{"subnormal, just below a tie", 0x400001p-149, 0x1p-75 + 0x1p-95, 0x1p-75 - 0x1p-95, 0x0040_0001, 0x0040_0002, 0x0040_0001},
	{"subnormal, just above a tie", 0x400000p-149, 1397419 * 0x1p-80, 6147 * 0x1p-103, 0x0040_0001, 0x0040_0000, 0x0040_0001},
	{"cancels to the product's error", -1, 1 + 0x1p-13, 1 - 0x1p-13, 0xB280_0000, 0xB280_0000, 0x0000_0000},
}

func TestN3_MatMulHardSteps(t *testing.T) {
	eachISA(t, func(t *testing.T) {
		for _, h := range hardSteps {
			for layout := range Layout(3) {
				c := matrixCase{layout: layout, m: 13, n: 33, k: 2}
				o := c.operands(func() float32 { return 1 })
				for i := range c.m {
					*c.at(o, i, 0), *c.at(o, i, 1) = h.t0, h.x
				}
				for j := range c.n {
					*c.bt(o, 1, j) = h.y
				}
				for e, x := range c.multiply(t, o) {
					if math.Float32bits(x) != h.want {
						t.Fatalf("%s, %v: out[%d,%d] = %08x, want %08x", h.name, c, e/c.n, e%c.n, math.Float32bits(x), h.want)
					}
				}
			}
		}
	})
}

// Every wrong way to compute a product must be told from the right one by the
// data of these tests; each mutant is one departure from N6 or N7.
func TestN6_MutantsAreCaught(t *testing.T) {
	r := rand.New(rand.NewPCG(6, 7))
	// One more row, and eight more columns, than the largest tile.
	long := matrixCase{layout: NN, m: 13, n: 40, k: 1100, accumulate: true}
	longData := long.operands(normal(r))
	short := matrixCase{layout: NN, m: 1, n: 1, k: 2}
	tie := operands{a: []float32{1, 1397419}, lda: 2, b: []float32{1, 6147 * 0x1p-57}, ldb: 1, out: []float32{0}, ldc: 1}
	tiny := operands{a: []float32{-0x1p-100, -0x1p-100}, lda: 2, b: []float32{0x1p-100, 0x1p-100}, ldb: 1, out: []float32{0}, ldc: 1}
	mutants := []struct {
		name string
		c    matrixCase
		o    operands
		step func(x, y, t float32) float32
		sum  func(terms int, step func(t float32, k int) float32, out float32) float32
	}{
		{"product rounded before the sum", long, longData, func(x, y, t float32) float32 { return float32(x*y) + t }, sumN6},
		{"rounded to float64 first", short, tie, naiveFMA, sumN6},
		{"k descending", long, longData, FMA, func(terms int, step func(float32, int) float32, out float32) float32 {
			return sumN6(terms, func(t float32, k int) float32 { return step(t, terms-1-k) }, out)
		}},
		{"two neighbours swapped", long, longData, FMA, func(terms int, step func(float32, int) float32, out float32) float32 {
			return sumN6(terms, func(t float32, k int) float32 { return step(t, []int{1, 0}[k%2]+k/2*2) }, out)
		}},
		{"k split in two chains", long, longData, FMA, func(terms int, step func(float32, int) float32, out float32) float32 {
			var even, odd float32
			for k := 0; k < terms; k += 2 {
				even, odd = step(even, k), step(odd, k+1)
			}
			return out + (even + odd)
		}},
		{"blocks of 512", long, longData, FMA, sumBlocks(512)},
		{"one chain", long, longData, FMA, sumBlocks(1 << 20)},
		{"a term dropped", long, longData, FMA, func(terms int, step func(float32, int) float32, out float32) float32 {
			return sumN6(terms-1, step, out)
		}},
		{"chain started from out", long, longData, FMA, func(terms int, step func(float32, int) float32, out float32) float32 {
			for k := range terms {
				out = step(out, k)
			}
			return out
		}},
		{"one ulp in one element", long, longData, FMA, sumN6WithUlp(7*long.n + 35)},
		{"first block not added to +0", short, tiny, FMA, func(terms int, step func(float32, int) float32, _ float32) float32 {
			var t float32
			for k := range terms {
				t = step(t, k)
			}
			return t
		}},
	}
	for _, m := range mutants {
		t.Run(m.name, func(t *testing.T) {
			wrong := m.c.sums(m.o, m.step, m.sum)
			right := m.c.sums(m.o, FMA, sumN6)
			if firstDifference(wrong, right) < 0 {
				t.Error("the data cannot tell the mutant from N6")
			}
			eachISA(t, func(t *testing.T) {
				mustEqual(t, m.name, m.c.n, m.c.multiply(t, m.o), right)
			})
		})
	}
}

// sums computes each output by a sum over k that the caller chooses.
func (c matrixCase) sums(o operands, fma func(x, y, t float32) float32, sum func(int, func(float32, int) float32, float32) float32) []float32 {
	var all []float32
	for e := range c.m * c.n {
		i, j := e/c.n, e%c.n
		out := float32(0)
		if c.accumulate {
			out = o.out[i*o.ldc+j]
		}
		step := func(t float32, k int) float32 { return fma(*c.at(o, i, k), *c.bt(o, k, j), t) }
		all = append(all, sum(c.k, step, out))
	}
	return all
}

// sumN6 is N6's sum: blocks of 1024, each a chain from +0, added in turn.
var sumN6 = sumBlocks(1024)

func sumBlocks(block int) func(int, func(float32, int) float32, float32) float32 {
	return func(terms int, step func(t float32, k int) float32, out float32) float32 {
		for k0 := 0; k0 < terms; k0 += block {
			var t float32
			for k := k0; k < min(k0+block, terms); k++ {
				t = step(t, k)
			}
			out += t
		}
		return out
	}
}

// sumN6WithUlp is sumN6, but the sum of its call number e, from 0, has another
// least bit.
func sumN6WithUlp(e int) func(int, func(float32, int) float32, float32) float32 {
	calls := 0
	return func(terms int, step func(t float32, k int) float32, out float32) float32 {
		sum := sumN6(terms, step, out)
		if calls++; calls == e+1 {
			sum = math.Float32frombits(math.Float32bits(sum) ^ 1)
		}
		return sum
	}
}

// The hard steps are hard: the two wrong forms differ where the table says so.
func TestN3_HardStepsAreHard(t *testing.T) {
	for _, h := range hardSteps {
		for _, form := range []struct {
			name string
			got  float32
			want uint32
		}{
			{"once", FMA(h.x, h.y, h.t0), h.want},
			{"twice", naiveFMA(h.x, h.y, h.t0), h.twice},
			{"product first", float32(h.x*h.y) + h.t0, h.loose},
		} {
			if math.Float32bits(form.got) != form.want {
				t.Errorf("%s, rounded %s: %08x, want %08x", h.name, form.name, math.Float32bits(form.got), form.want)
			}
		}
	}
}
