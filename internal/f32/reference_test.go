package f32

import (
	"math"
	"math/big"
	"testing"
)

// The errors of N12's functions are measured against package math in float64,
// which itself errs, and on each architecture in a way of its own. By how much
// is measured here, against arithmetic of 320 bits.

const bigPrecision = 320

func newBig(x float64) *big.Float { return new(big.Float).SetPrec(bigPrecision).SetFloat64(x) }

func bigAdd(x, y *big.Float) *big.Float { return newBig(0).Add(x, y) }
func bigSub(x, y *big.Float) *big.Float { return newBig(0).Sub(x, y) }
func bigMul(x, y *big.Float) *big.Float { return newBig(0).Mul(x, y) }
func bigDiv(x, y *big.Float) *big.Float { return newBig(0).Quo(x, y) }

// bigExp is e^x for |x| < 256: the series at x / 2^20, squared 20 times.
func bigExp(x *big.Float) *big.Float {
	const halvings, terms = 20, 28
	r := newBig(0).SetMantExp(x, -halvings)
	sum := newBig(1)
	for n := terms; n > 0; n-- {
		sum = bigAdd(newBig(1), bigMul(sum, bigDiv(r, newBig(float64(n)))))
	}
	for range halvings {
		sum = bigMul(sum, sum)
	}
	return sum
}

// bigLog is log(x) by one step of Halley's method, which takes float64's 50
// good bits to 150.
func bigLog(x *big.Float) *big.Float {
	near, _ := x.Float64()
	y := newBig(math.Log(near))
	e := bigExp(y)
	return bigAdd(y, bigMul(newBig(2), bigDiv(bigSub(x, e), bigAdd(x, e))))
}

func bigTanh(x *big.Float) *big.Float {
	e := bigExp(bigAdd(x, x))
	return bigDiv(bigSub(e, newBig(1)), bigAdd(e, newBig(1)))
}

// bigCubic returns 2 sqrt(2/pi) and 0.044715, decimals as GPT-2 has them.
func bigCubic() (root, cubic *big.Float) {
	pi, _ := newBig(0).SetString("3.14159265358979323846264338327950288419716939937510582097494459230781640628620899862803482534")
	cubic, _ = newBig(0).SetString("0.044715")
	return bigMul(newBig(2), newBig(0).Sqrt(bigDiv(newBig(2), pi))), cubic
}

// bigSigmoid is s = 1 / (1 + E), with E of N12.
func bigSigmoid(x *big.Float) (s, e *big.Float) {
	root, cubic := bigCubic()
	u := bigMul(root, bigAdd(x, bigMul(cubic, bigMul(x, bigMul(x, x)))))
	e = bigExp(newBig(0).Neg(u))
	return bigDiv(newBig(1), bigAdd(newBig(1), e)), e
}

func bigGELU(x *big.Float) *big.Float {
	s, _ := bigSigmoid(x)
	return bigMul(x, s)
}

func bigGELUGrad(x *big.Float) *big.Float {
	root, cubic := bigCubic()
	s, e := bigSigmoid(x)
	slope := bigMul(root, bigAdd(newBig(1), bigMul(newBig(3), bigMul(cubic, bigMul(x, x)))))
	return bigAdd(s, bigMul(bigMul(s, x), bigMul(bigMul(e, s), slope)))
}

func TestN12_ReferenceError(t *testing.T) {
	// In ulp of float32; 2^-29 is one of float64.
	references := map[string]struct {
		exact func(*big.Float) *big.Float
		bound float64
	}{
		"exp": {bigExp, 0x1p-28}, "log": {bigLog, 0x1p-28}, "tanh": {bigTanh, 0x1p-27},
		"gelu": {bigGELU, 0x1p-20}, "gelu-gradient": {bigGELUGrad, 0x1p-20},
	}
	step := uint64(1 << 20)
	if testing.Short() {
		step <<= 3
	}
	for _, f := range functions {
		reference := references[f.name]
		e := f.referenceError(reference.exact, step)
		t.Logf("%s: 2^%.1f ulp at most of %d, at %v", f.name, math.Log2(e.worst), e.measured, e.at)
		if e.measured < 100 || !(e.worst < reference.bound) {
			t.Errorf("%s: package math errs by %g ulp at %v, of %d arguments; stated %g", f.name, e.worst, e.at, e.measured, reference.bound)
		}
	}
	coarse := functions[0]
	coarse.exact = func(x float64) float64 { return math.Exp(x) * (1 + 0x1p-50) }
	if e := coarse.referenceError(bigExp, step); e.worst < references["exp"].bound {
		t.Errorf("an error of 2^-50 of the result measures %g ulp", e.worst)
	}
}

// A referenceError is the largest error of a function's reference, in ulp of
// float32, among the arguments measured.
type referenceError struct {
	worst    float64
	at       float32
	measured int
}

// referenceError compares f's reference with exact at every step-th bit pattern
// for which the result is a normal number.
func (f *function) referenceError(exact func(*big.Float) *big.Float, step uint64) (e referenceError) {
	for bits := step / 3; bits < 1<<32; bits += step {
		x := math.Float32frombits(uint32(bits))
		if !f.varies(x) {
			continue
		}
		y := exact(newBig(float64(x)))
		near, _ := y.Float64()
		if math.Abs(near) < 0x1p-126 || math.Abs(near) > math.MaxFloat32 {
			continue
		}
		off, _ := bigSub(newBig(f.exact(float64(x))), y).Float64()
		if f.scale != nil {
			near = f.scale(float64(x), near)
		}
		e.measured++
		if off = math.Abs(off) / ulp(near); off > e.worst {
			e.worst, e.at = off, x
		}
	}
	return e
}

// varies reports whether x lies where f is neither constant nor x itself.
func (f *function) varies(x float32) bool {
	switch f.name {
	case "log":
		return x > 0 && isFinite(x)
	case "exp", "tanh":
		return x > -100 && x < 100
	default:
		return x >= -10 && x <= 10
	}
}
