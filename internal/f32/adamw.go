package f32

import "math"

// AdamW holds one step's coefficients (N18). C1 and C2 are the bias corrections
// 1/(1 - Beta1^t) and 1/(1 - Beta2^t); Clip scales the gradient, also when it
// is 1; Decay is 0 for tensors that are not matrices.
type AdamW struct {
	Beta1, OneMinusBeta1 float32
	Beta2, OneMinusBeta2 float32
	C1, C2               float32
	Eps, LR, Decay, Clip float32
}

// AdamWStep applies one optimizer step to parameters theta and moments m and v,
// element by element (N18):
//
//	g'    = g * Clip
//	m     = fma(Beta1, m, OneMinusBeta1 * g')
//	v     = fma(Beta2, v, (OneMinusBeta2 * g') * g')
//	u     = (m * C1) / (sqrt(v * C2) + Eps)
//	theta = fma(-LR, u + Decay*theta, theta)
func AdamWStep(theta, m, v, g []float32, c AdamW) {
	if len(m) != len(theta) || len(v) != len(theta) || len(g) != len(theta) {
		panic("f32: AdamWStep: lengths differ")
	}
	adamW(theta, m, v, g, &c)
}

func adamWGeneric(theta, m, v, g []float32, c *AdamW) {
	for i, gradient := range g {
		clipped := float32(gradient * c.Clip)
		first := FMA(c.Beta1, m[i], float32(c.OneMinusBeta1*clipped))
		square := float32(float32(c.OneMinusBeta2*clipped) * clipped)
		second := FMA(c.Beta2, v[i], square)
		root := float32(math.Sqrt(float64(float32(second * c.C2))))
		u := float32(first*c.C1) / (root + c.Eps)
		theta[i] = FMA(-c.LR, u+float32(c.Decay*theta[i]), theta[i])
		m[i], v[i] = first, second
	}
}
