package f32

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// rowKernels lists every row kernel that has assembly, called through the
// dispatcher, so that the forced ISA selects the implementation.
var rowKernels = []struct {
	name string
	run  func(o *rowCall)
}{
	{"expSlice", func(o *rowCall) { expSlice(o.a, o.b) }},
	{"expSlice in place", func(o *rowCall) { expSlice(o.a, o.a) }},
	{"geluForward", func(o *rowCall) { geluForward(o.a, o.b) }},
	{"geluForward in place", func(o *rowCall) { geluForward(o.a, o.a) }},
	{"geluBackward", func(o *rowCall) { geluBackward(o.a, o.b, o.c) }},
	{"geluBackward in place", func(o *rowCall) { geluBackward(o.a, o.a, o.b) }},
	{"sum", func(o *rowCall) { o.give(sum(o.a)) }},
	{"dot", func(o *rowCall) { o.give(dot(o.a, o.b)) }},
	{"sumSquares", func(o *rowCall) { o.results = append(o.results, sumSquares(o.a)) }},
	{"maximum", func(o *rowCall) { o.give(maximum(o.a)) }},
	{"expStore", func(o *rowCall) { o.give(expStore(o.a, o.b, o.s[0])) }},
	{"expStore in place", func(o *rowCall) { o.give(expStore(o.a, o.a, maximum(o.a))) }},
	{"expTotal", func(o *rowCall) { o.give(expTotal(o.a, o.s[0])) }},
	{"softmaxGrad", func(o *rowCall) { softmaxGrad(o.a, o.b, o.c, o.s[0], o.s[1]) }},
	{"softmaxGrad in place", func(o *rowCall) { softmaxGrad(o.a, o.b, o.a, o.s[0], o.s[1]) }},
	{"softmaxGrad over p", func(o *rowCall) { softmaxGrad(o.a, o.a, o.b, o.s[0], o.s[1]) }},
	{"squaresAbout", func(o *rowCall) { o.give(squaresAbout(o.a, o.s[0])) }},
	{"normalize", func(o *rowCall) { normalize(o.a, o.b, o.c, o.d, o.s[0], o.s[1]) }},
	{"normalize in place", func(o *rowCall) { normalize(o.a, o.a, o.c, o.d, o.s[0], o.s[1]) }},
	{"normalizeSums", func(o *rowCall) { o.give(normalizeSums(o.a, o.b, o.c, o.s[0], o.s[1])) }},
	{"normalizeGrad", func(o *rowCall) { normalizeGrad(o.a, o.b, o.c, o.d, o.s[0], o.s[1], o.s[2], o.s[3]) }},
	{"normalizeParams", func(o *rowCall) { normalizeParams(o.a, o.b, o.c, o.s[0], o.s[1]) }},
	{"add", func(o *rowCall) { add(o.a, o.b, o.c) }},
	{"add in place", func(o *rowCall) { add(o.a, o.a, o.b) }},
	{"scale", func(o *rowCall) { scale(o.a, o.b, o.s[0]) }},
	{"scale in place", func(o *rowCall) { scale(o.a, o.a, o.s[0]) }},
	{"adamW", func(o *rowCall) {
		s := &o.s
		adamW(o.a, o.b, o.c, o.d, &AdamW{s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7], s[8], s[9]})
	}},
	{"finiteBlocks", func(o *rowCall) { o.results = append(o.results, float64(finiteBlocks(o.a))) }},
	{"addFloat64", func(o *rowCall) { addFloat64(o.p, o.a) }},
	{"divideRound", func(o *rowCall) { divideRound(o.a, o.p, float64(o.s[0])) }},
}

// rowCall holds the arguments of one kernel call: views of one length into
// guarded memory, scalars, and the scalar results.
type rowCall struct {
	a, b, c, d []float32
	p          []float64
	s          [10]float32
	results    []float64

	memory  [4][]float32
	memory8 []float64
}

// guard elements surround every view, so that a write outside it is seen.
const guard = 17

// newRowCall draws operands whose views have length n and start offset
// elements and a guard into their memory.
func newRowCall(r *rand.Rand, n, offset int, draw func(*rand.Rand) float32) *rowCall {
	o := new(rowCall)
	size := offset + n + 2*guard
	for v := range o.memory {
		o.memory[v] = make([]float32, size)
		for i := range o.memory[v] {
			o.memory[v][i] = draw(r)
		}
	}
	o.memory8 = make([]float64, size)
	for i := range o.memory8 {
		o.memory8[i] = float64(draw(r)) * (1 + r.Float64())
	}
	for i := range o.s {
		o.s[i] = draw(r)
	}
	o.view(n, offset)
	return o
}

func (o *rowCall) view(n, offset int) {
	lo, hi := offset+guard, offset+guard+n
	o.a, o.b, o.c, o.d = o.memory[0][lo:hi], o.memory[1][lo:hi], o.memory[2][lo:hi], o.memory[3][lo:hi]
	o.p = o.memory8[lo:hi]
}

// clone copies the operands, guards included.
func (o *rowCall) clone() *rowCall {
	c := &rowCall{s: o.s}
	for v, m := range o.memory {
		c.memory[v] = append([]float32(nil), m...)
	}
	c.memory8 = append([]float64(nil), o.memory8...)
	n := len(o.a)
	c.view(n, len(o.memory8)-n-2*guard)
	return c
}

func (o *rowCall) give(results ...float32) {
	for _, r := range results {
		o.results = append(o.results, float64(r)) // exact
	}
}

// difference compares all memory of two operand sets and their results, and
// describes the first difference, or returns "". NaNs equal each other.
func (o *rowCall) difference(want *rowCall) string {
	first := len(o.memory8) - len(o.a) - guard
	for v := range o.memory {
		for i, x := range o.memory[v] {
			if y := want.memory[v][i]; !same32(x, y) {
				return fmt.Sprintf("vector %d, element %d: %08x, want %08x", v, i-first,
					math.Float32bits(x), math.Float32bits(y))
			}
		}
	}
	for i, x := range o.memory8 {
		if y := want.memory8[i]; !same64(x, y) {
			return fmt.Sprintf("float64 vector, element %d: %x, want %x", i-first, x, y)
		}
	}
	for i, y := range want.results {
		if !same64(o.results[i], y) {
			return fmt.Sprintf("result %d: %x, want %x", i, o.results[i], y)
		}
	}
	return ""
}

func same32(x, y float32) bool {
	return math.Float32bits(x) == math.Float32bits(y) || x != x && y != y
}

func same64(x, y float64) bool {
	return math.Float64bits(x) == math.Float64bits(y) || x != x && y != y
}

// drawOrdinary draws the magnitudes of training: mostly around one.
func drawOrdinary(r *rand.Rand) float32 {
	return float32(r.NormFloat64() * math.Pow(2, float64(r.IntN(12)-6)))
}

// drawHard draws any bit pattern, with zeros of both signs, subnormals, huge
// values, infinities and NaNs far more often than chance.
func drawHard(r *rand.Rand) float32 {
	special := [...]uint32{
		0, 1 << 31, 1, 1<<31 | 1, 0x007FFFFF, 0x00800000, 0x80800000, 0x7F7FFFFF, 0xFF7FFFFF,
		0x7F800000, 0xFF800000, 0x7FC00000, 0xFFC00001, 0x7F800001, // infinities, quiet and signalling NaN
		0x42B17217, 0x42B17218, 0xC2AEAC4F, 0xC2AEAC50, // borders of Exp
		0x41200000, 0xC1200000, 0xC1200001, // borders of GELU
	}
	switch r.IntN(4) {
	case 0:
		return math.Float32frombits(special[r.IntN(len(special))])
	case 1:
		return math.Float32frombits(r.Uint32() & 0x80FFFFFF) // subnormal or barely normal
	case 2:
		return math.Float32frombits(r.Uint32())
	default:
		return drawOrdinary(r)
	}
}

// drawFinite is drawHard without infinities and NaNs, which would soon cover
// every sum.
func drawFinite(r *rand.Rand) float32 {
	for {
		if x := drawHard(r); isFinite(x) {
			return x
		}
	}
}

// drawCancelling draws few, widely spread magnitudes: an order of addition that
// is not the defined one shows at once.
func drawCancelling(r *rand.Rand) float32 {
	x := float32(math.Ldexp(1, 12*r.IntN(6)-30))
	if r.IntN(2) == 0 {
		return -x
	}
	return x
}

var draws = []struct {
	name string
	draw func(*rand.Rand) float32
}{{"ordinary", drawOrdinary}, {"hard", drawHard}, {"finite", drawFinite}, {"cancelling", drawCancelling}}

// onISA runs a kernel under a forced ISA.
func onISA(isa ISA, run func(o *rowCall), o *rowCall) {
	defer ForTest(isa)()
	run(o)
}

// eachVectorISA runs f for every ISA of this machine but Portable.
func eachVectorISA(t *testing.T, f func(t *testing.T, isa ISA)) {
	t.Helper()
	if len(Available()) == 1 {
		t.Skip("this machine has no ISA beyond the portable definition")
	}
	for _, isa := range Available()[1:] {
		t.Run(isa.String(), func(t *testing.T) { f(t, isa) })
	}
}

func TestN24_RowKernelsEqualTheirDefinitions(t *testing.T) {
	lengths := []int{127, 128, 129, 768, 1000}
	for n := range 71 {
		lengths = append(lengths, n)
	}
	eachVectorISA(t, func(t *testing.T, isa ISA) {
		r := rand.New(rand.NewPCG(24, uint64(isa)))
		for _, kernel := range rowKernels {
			for _, d := range draws {
				for i, n := range lengths {
					o := newRowCall(r, n, i%16, d.draw)
					want, got := o.clone(), o.clone()
					onISA(Portable, kernel.run, want)
					onISA(isa, kernel.run, got)
					if diff := got.difference(want); diff != "" {
						t.Fatalf("%s, %s values, length %d: %s", kernel.name, d.name, n, diff)
					}
				}
			}
		}
	})
}
