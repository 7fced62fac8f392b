package f32

import "math"

// Constants of the exponential (N5: bit patterns). log2E, ln2High and ln2Low
// are 1/ln 2 and ln 2 in two parts; expC2..expC6 are a minimax fit of
// (e^r - 1 - r)/r^2 on |r| <= ln(2)/2 with relative error 2^-28.2 of e^r.
var (
	log2E   = math.Float32frombits(0x3FB8AA3B) // 1.442695
	ln2High = math.Float32frombits(0x3F317218) // 0.693147182
	ln2Low  = math.Float32frombits(0xB102E308) // -1.9046542e-9
	expC2   = math.Float32frombits(0x3EFFFFFE) // 0.49999994
	expC3   = math.Float32frombits(0x3E2AAA46) // 0.16666517
	expC4   = math.Float32frombits(0x3D2AAC2C) // 0.041668102
	expC5   = math.Float32frombits(0x3C091EF0) // 0.0083691925
	expC6   = math.Float32frombits(0x3AB5639F) // 0.0013838894

	// roundMagic is 1.5 * 2^23: adding it to |t| < 2^22 rounds t to an
	// integer, ties to even, and leaves that integer in the low bits.
	roundMagic = math.Float32frombits(0x4B400000)

	expMax = math.Float32frombits(0x42B17217) // 88.72283, the largest x with e^x finite
	expMin = math.Float32frombits(0xC2AEAC4F) // -87.33654, the smallest x with e^x >= 2^-126

	infinity     = math.Float32frombits(0x7F800000)
	negativeZero = math.Float32frombits(0x80000000)
)

// Exp returns e^x with an error below 0.9 ulp (N12). A result below 2^-126 is
// +0, one above the largest float32 is +Inf.
func Exp(x float32) float32 {
	if !(x <= expMax) {
		return x + infinity // +Inf, or NaN
	}
	if x < expMin {
		return 0
	}
	t := FMA(x, log2E, roundMagic)
	n := t - roundMagic
	r := FMA(-n, ln2High, x) // exact
	r = FMA(-n, ln2Low, r)
	return expReduced(r, t)
}

// expSum returns e^(x + low) where low is a correction below an ulp of x and
// e^x neither overflows nor falls below 2^-126.
func expSum(x, low float32) float32 {
	t := FMA(x, log2E, roundMagic)
	n := t - roundMagic
	r := FMA(-n, ln2High, x) // exact
	r += FMA(-n, ln2Low, low)
	return expReduced(r, t)
}

// expReduced returns 2^n e^r for |r| <= ln(2)/2, where the low bits of t hold
// the integer n. The power of two enters as an integer added to the exponent.
func expReduced(r, t float32) float32 {
	p := FMA(expC6, r, expC5)
	p = FMA(p, r, expC4)
	p = FMA(p, r, expC3)
	p = FMA(p, r, expC2)
	p = FMA(p, r, 1)
	p = FMA(p, r, 1)
	return math.Float32frombits(math.Float32bits(p) + math.Float32bits(t)<<23)
}

// ExpSlice sets y[i] = Exp(x[i]). y may be x.
func ExpSlice(y, x []float32) {
	if len(y) != len(x) {
		panic("f32: ExpSlice: lengths differ")
	}
	expSlice(y, x)
}

func expSliceGeneric(y, x []float32) {
	for i, v := range x {
		y[i] = Exp(v)
	}
}
