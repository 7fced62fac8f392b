package f32

import "math"

// Constants of the logarithm: a minimax fit of (log(1+f) - f + f^2/2)/f^3 for
// f in [-1/3, 1/3], with relative error 2^-27.6 of log(1+f).
var (
	logC0 = math.Float32frombits(0x3EAAAA83) // 0.33333215
	logC1 = math.Float32frombits(0xBE7FFF78) // -0.24999797
	logC2 = math.Float32frombits(0x3E4CE81B) // 0.20010416
	logC3 = math.Float32frombits(0xBE2ACEE9) // -0.16680492
	logC4 = math.Float32frombits(0x3E0F6B85) // 0.14005859
	logC5 = math.Float32frombits(0xBDF98886) // -0.12184243
	logC6 = math.Float32frombits(0x3E0F3375) // 0.13984473
	logC7 = math.Float32frombits(0xBE0402B8) // -0.12891662
)

const (
	logLeast = 0x3F2AAAAB // bits of 2/3, the least significand
	quietNaN = 0x7FC00000
)

// Log returns the natural logarithm of x with an error below 0.95 ulp (N12). It
// is evaluated once per token, so it has no vector form.
func Log(x float32) float32 {
	switch {
	case x == 0:
		return -infinity
	case !(x > 0): // negative, or NaN
		return math.Float32frombits(quietNaN)
	case x == infinity:
		return x
	}
	var k float32
	if x < 0x1p-126 { // scale a subnormal into the normal range
		x *= 0x1p23
		k = -23
	}
	// x = 2^exponent (1+f) with 1+f in [2/3, 4/3), and f exact.
	exponent := int32(math.Float32bits(x)-logLeast) >> 23
	f := math.Float32frombits(math.Float32bits(x)-uint32(exponent)<<23) - 1
	return logReduced(f, k+float32(exponent))
}

// logReduced returns k ln 2 + log(1+f).
func logReduced(f, k float32) float32 {
	p := FMA(logC7, f, logC6)
	p = FMA(p, f, logC5)
	p = FMA(p, f, logC4)
	p = FMA(p, f, logC3)
	p = FMA(p, f, logC2)
	p = FMA(p, f, logC1)
	p = FMA(p, f, logC0)
	p = FMA(p, f, -0.5)
	low := float32(float32(f*f) * p)
	high := FMA(k, ln2High, f)
	low += FMA(k, ln2High, -high) + f // what high lost, exact
	low = FMA(k, ln2Low, low)
	return high + low
}
