package f32

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"flag"
	"math"
	"os"
	"strings"
	"testing"
)

var (
	exhaustive = flag.Bool("exhaustive", false, "evaluate Exp, Log, Tanh, GELU and GELUGrad on all 2^32 inputs (half an hour; see .ci/exhaustive)")
	recordSums = flag.Bool("record", false, "print the lines of testdata/functions.txt instead of comparing with them: other bits are another numerics contract")
)

// A function is one of the functions of N12, with what its error is measured
// against.
type function struct {
	name  string
	slice func(y, x []float32)
	exact func(x float64) float64
	// maxULP bounds |error| / ulp(scale), where scale is the exact result
	// unless the function has one of its own.
	maxULP float64
	scale  func(x, exact float64) float64
	scalar bool // has no vector form, so that all ISAs run the same code
}

var functions = []function{
	{name: "exp", slice: ExpSlice, exact: math.Exp, maxULP: 0.9},
	{name: "log", slice: each(Log), exact: math.Log, maxULP: 0.95, scalar: true},
	{name: "tanh", slice: each(Tanh), exact: math.Tanh, maxULP: 1.4, scalar: true},
	{name: "gelu", slice: GELUForward, exact: exactGELU, maxULP: 2.4},
	{name: "gelu-gradient", slice: geluGradSlice, exact: exactGELUGrad, maxULP: 10.1, scale: func(x, exact float64) float64 {
		if x > -1 && x < -0.5 { // the derivative crosses zero
			return max(math.Abs(exact), 0.125)
		}
		return exact
	}},
}

func each(f func(float32) float32) func(y, x []float32) {
	return func(y, x []float32) {
		for i, v := range x {
			y[i] = f(v)
		}
	}
}

func geluGradSlice(y, x []float32) {
	for i := range y {
		y[i] = 1
	}
	GELUBackward(y, y, x)
}

// exactGELU and exactGELUGrad are -0 below -10, as N12 says.
func exactGELU(x float64) float64 {
	if x < -10 {
		return math.Copysign(0, -1)
	}
	return x / (1 + geluExponential(x))
}

func exactGELUGrad(x float64) float64 {
	if x < -10 {
		return math.Copysign(0, -1)
	}
	x = min(x, 10) // and 1 to the last bit above 10
	e := geluExponential(x)
	s := 1 / (1 + e)
	return s + float64(s*x)*float64(e*s)*2*math.Sqrt(2/math.Pi)*(1+float64(3*0.044715*x*x))
}

func geluExponential(x float64) float64 {
	x = min(x, 10)
	return math.Exp(-2 * math.Sqrt(2/math.Pi) * (x + float64(0.044715*x*x*x)))
}

// A sweep evaluates a function on the inputs 0, stride, 2*stride, ... below
// 2^32, as bit patterns. It hashes the results, little-endian, NaNs as
// 0x7FC00000, and finds the largest error.
type sweep struct {
	sum   string
	worst float64 // in ulp
	at    float32 // where
}

func (f *function) sweep(stride uint64, measure bool) sweep {
	const block = 1 << 16
	x, y := make([]float32, 0, block), make([]float32, block)
	encoded := make([]byte, 0, 4*block)
	h := sha256.New()
	var s sweep
	for next := uint64(0); next < 1<<32; {
		x = x[:0]
		for ; len(x) < block && next < 1<<32; next += stride {
			x = append(x, math.Float32frombits(uint32(next)))
		}
		f.slice(y[:len(x)], x)
		encoded = encoded[:0]
		for _, v := range y[:len(x)] {
			encoded = binary.LittleEndian.AppendUint32(encoded, canonical(v))
		}
		h.Write(encoded)
		if measure {
			f.measure(&s, x, y)
		}
	}
	s.sum = hex.EncodeToString(h.Sum(nil))
	return s
}

func canonical(x float32) uint32 {
	if x != x {
		return quietNaN
	}
	return math.Float32bits(x)
}

// measure updates the largest error.
func (f *function) measure(s *sweep, x, y []float32) {
	for i, v := range x {
		exact := f.exact(float64(v))
		e := f.error(v, y[i], exact)
		if e > s.worst || e != e {
			s.worst, s.at = e, v
		}
	}
}

// error returns the error of y = f(x) in ulp. NaN, infinities and zeros must be
// met exactly, and results in the subnormal range to within 2^-126.
func (f *function) error(x, y float32, exact float64) float64 {
	right := func(ok bool) float64 {
		if ok {
			return 0
		}
		return math.Inf(1)
	}
	switch rounded := float32(exact); {
	case exact != exact:
		return right(y != y)
	case exact == 0 || math.IsInf(float64(rounded), 0):
		return right(y == rounded)
	case math.Abs(exact) < 0x1p-126:
		return right(math.Abs(float64(y)-exact) < 0x1p-126)
	}
	scale := exact
	if f.scale != nil {
		scale = f.scale(float64(x), exact)
	}
	return math.Abs(float64(y)-exact) / ulp(scale)
}

// ulp returns the distance of neighbouring float32 values around x, which is in
// the normal range.
func ulp(x float64) float64 {
	_, exponent := math.Frexp(x)
	return math.Ldexp(1, exponent-24)
}

const functionSums = "testdata/functions.txt"

// readSums reads "function sweep hash" lines.
func readSums(t *testing.T) map[string]string {
	t.Helper()
	file, err := os.Open(functionSums)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	sums := map[string]string{}
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if f := strings.Fields(lines.Text()); len(f) == 3 {
			sums[f[0]+" "+f[1]] = f[2]
		}
	}
	return sums
}

// checkSweeps compares the sweeps of all functions on all ISAs with the
// recorded sums, and the errors with the stated bounds. Each has a name of its
// own, such as exp/avx512, so that -run can pick it.
func checkSweeps(t *testing.T, name string, stride uint64) {
	recorded := readSums(t)
	for _, f := range functions {
		for _, isa := range f.isas() {
			t.Run(f.name+"/"+isa.String(), func(t *testing.T) {
				defer ForTest(isa)()
				s := f.sweep(stride, isa == Portable)
				if isa == Portable {
					f.checkError(t, s)
				}
				if isa == Portable && *recordSums {
					t.Logf("line of %s: %s %s %s", functionSums, f.name, name, s.sum)
					return
				}
				if want := recorded[f.name+" "+name]; s.sum != want {
					t.Errorf("SHA-256 of the %s sweep is %s, recorded %q", name, s.sum, want)
				}
			})
		}
	}
}

func (f *function) checkError(t *testing.T, s sweep) {
	t.Helper()
	t.Logf("%.4f ulp at most, at %x", s.worst, s.at)
	if !(s.worst <= f.maxULP) {
		t.Errorf("error of %.4f ulp at %x (%v), stated %.2f", s.worst, s.at, s.at, f.maxULP)
	}
}

// isas lists the ISAs that evaluate f in their own way, Portable first.
func (f *function) isas() []ISA {
	if f.scalar {
		return []ISA{Portable}
	}
	return Available()
}

// TestN12_SampledFunctions evaluates each function on every 4,099th bit pattern.
func TestN12_SampledFunctions(t *testing.T) { checkSweeps(t, "sampled", 4099) }

// TestN12_Exhaustive evaluates each function on every bit pattern.
func TestN12_Exhaustive(t *testing.T) {
	if !*exhaustive {
		t.Skip("takes half an hour; .ci/exhaustive runs it")
	}
	checkSweeps(t, "exhaustive", 1)
}
