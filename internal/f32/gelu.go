package f32

import "math"

// Constants of GELU, whose exponent -2u = x (geluA + geluB x^2) is
// -2 sqrt(2/pi) (x + 0.044715 x^3). Each of the two is split into a leading
// part and the rest; geluA has only 12 bits, which keeps a difference below
// exact. geluD and geluE give 2u' = geluD + geluE x^2.
var (
	geluA    = math.Float32frombits(0xBFCC4000) // -1.5957031
	geluALow = math.Float32frombits(0xB88A67A8) // -6.5996606e-5
	geluB    = math.Float32frombits(0xBD922279) // -0.071354814
	geluBLow = math.Float32frombits(0xB124D8B5) // -2.399e-9
	geluD    = math.Float32frombits(0x3FCC422A) // 1.5957692
	geluE    = math.Float32frombits(0x3E5B33B6) // 0.21406445

	// geluLimit bounds |x|: e^(-2u) is a normal float32 up to there, and
	// beyond it GELU(x) is x or below 2^-122 in magnitude.
	geluLimit = math.Float32frombits(0x41200000) // 10
)

// GELU returns the tanh form of the Gaussian error linear unit,
// 0.5 x (1 + tanh u) = x / (1 + e^(-2u)) with u = sqrt(2/pi) (x + 0.044715 x^3)
// (N12). The quotient has none of the cancellation of the form with tanh: the
// error is below 2.4 ulp for x >= -10. For x < -10 the result is -0.
func GELU(x float32) float32 {
	if x < -geluLimit {
		return negativeZero
	}
	e, _, _ := geluExp(x)
	return x / (1 + e)
}

// GELUGrad returns the derivative of GELU, s (1 + x (1-s) 2u') with
// s = 1 / (1 + e^(-2u)) and 1-s = e^(-2u) s. The error is below 10.1 ulp, or of
// 1/8 near -0.75, where the derivative crosses zero. For x < -10 it is -0.
func GELUGrad(x float32) float32 {
	if x < -geluLimit {
		return negativeZero
	}
	e, c, s2 := geluExp(x)
	s := 1 / (1 + e)
	y := float32(c * FMA(s2, geluE, geluD))
	y = float32(y * float32(e*s))
	return FMA(y, s, s)
}

// geluExp returns c = x clamped to at most geluLimit, its square and
// e^(-2u(c)). The exponent is kept to twice the precision, since its absolute
// error is e's relative one.
func geluExp(x float32) (e, c, square float32) {
	c = x
	if c > geluLimit {
		c = geluLimit
	}
	square = float32(c * c)
	squareLow := FMA(c, c, -square) // exact
	w := FMA(square, geluB, geluA)
	d := geluA - w            // exact
	d = FMA(square, geluB, d) // what w lost
	d = FMA(squareLow, geluB, d)
	d += FMA(square, geluBLow, geluALow)
	z := float32(c * w)
	low := FMA(c, w, -z) // what z lost
	low = FMA(c, d, low)
	return expSum(z, low), c, square
}

// GELUForward sets y[i] = GELU(x[i]). y may be x.
func GELUForward(y, x []float32) {
	if len(y) != len(x) {
		panic("f32: GELUForward: lengths differ")
	}
	geluForward(y, x)
}

func geluForwardGeneric(y, x []float32) {
	for i, v := range x {
		y[i] = GELU(v)
	}
}

// GELUBackward sets dx[i] = dy[i] * GELUGrad(x[i]). dx may be dy or x.
func GELUBackward(dx, dy, x []float32) {
	if len(dx) != len(x) || len(dy) != len(x) {
		panic("f32: GELUBackward: lengths differ")
	}
	geluBackward(dx, dy, x)
}

func geluBackwardGeneric(dx, dy, x []float32) {
	for i, v := range x {
		dx[i] = dy[i] * GELUGrad(v)
	}
}
