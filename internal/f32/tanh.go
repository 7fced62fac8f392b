package f32

import "math"

// Constants of the hyperbolic tangent: a minimax fit of (tanh(a) - a)/a^3 in
// powers of a^2 for a <= 0.625, with relative error 2^-27.7 of tanh(a).
var (
	tanhC0 = math.Float32frombits(0xBEAAAA99) // -0.3333328
	tanhC1 = math.Float32frombits(0x3E08837B) // 0.13331406
	tanhC2 = math.Float32frombits(0xBD5C1AD2) // -0.053736515
	tanhC3 = math.Float32frombits(0x3CA8FC67) // 0.020628167
	tanhC4 = math.Float32frombits(0xBBBA8671) // -0.0056922963

	tanhSmall = math.Float32frombits(0x3F200000) // 0.625
	tanhLarge = math.Float32frombits(0x41200000) // 10, where tanh has long rounded to 1
)

// Tanh returns the hyperbolic tangent of x with an error below 1.4 ulp (N12).
// The model does without it, since GELU has a form without a tangent; it is here
// because the contract defines it, for models with other activations.
func Tanh(x float32) float32 {
	a := math.Float32frombits(math.Float32bits(x) &^ (1 << 31))
	var y float32
	if a >= tanhSmall {
		if a > tanhLarge {
			a = tanhLarge
		}
		y = 1 - 2/(Exp(a+a)+1)
	} else { // also NaN
		s := float32(a * a)
		p := FMA(tanhC4, s, tanhC3)
		p = FMA(p, s, tanhC2)
		p = FMA(p, s, tanhC1)
		p = FMA(p, s, tanhC0)
		y = FMA(float32(a*s), p, a)
	}
	return math.Float32frombits(math.Float32bits(y) | math.Float32bits(x)&(1<<31))
}
