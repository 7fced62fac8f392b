package optim

import "lockstep/internal/f32"

// Rate returns the learning rate of a step, counted from 1. With the settings'
// initials, MinRate = M, DecaySteps = D and so on, it is
//
//	L·step / W                        before step W
//	L                                 from there on, if D = 0; else
//	M + (L-M)·(D-step) / (D-W)        before step D
//	M                                 from there on
//
// A product is converted before it is added to, here or by a caller, so that no
// compiler fuses the two (N4); steps below 2^53 are exact in float64.
func (c Config) Rate(step uint64) float64 {
	switch {
	case step < c.WarmupSteps:
		return float64(c.LearningRate * (float64(step) / float64(c.WarmupSteps)))
	case c.DecaySteps == 0:
		return c.LearningRate
	case step < c.DecaySteps:
		left := float64(c.DecaySteps-step) / float64(c.DecaySteps-c.WarmupSteps)
		return c.MinRate + float64((c.LearningRate-c.MinRate)*left)
	}
	return c.MinRate
}

// Clip returns min(1, ClipNorm / (norm + 1e-6)), the factor that every element
// of a gradient of this length is multiplied by. The 1e-6 is PyTorch's.
func (c Config) Clip(norm float64) float64 {
	return min(1, c.ClipNorm/(norm+1e-6))
}

// Coefficients returns the scalars of one AdamW step, each rounded to float32
// once. Step counts from 1.
func (c Config) Coefficients(step uint64, norm float64) f32.AdamW {
	return f32.AdamW{
		Beta1:         float32(c.Beta1),
		OneMinusBeta1: float32(1 - c.Beta1),
		Beta2:         float32(c.Beta2),
		OneMinusBeta2: float32(1 - c.Beta2),
		C1:            float32(1 / (1 - power(c.Beta1, step))),
		C2:            float32(1 / (1 - power(c.Beta2, step))),
		Eps:           float32(c.Epsilon),
		LR:            float32(c.Rate(step)),
		Decay:         float32(c.WeightDecay),
		Clip:          float32(c.Clip(norm)),
	}
}

// power returns b^n by squaring, from the lowest bit of n up. math.Pow is not
// used: its bits differ between architectures. Each product is converted, since
// callers subtract the result.
func power(b float64, n uint64) float64 {
	p := 1.0
	for ; n > 0; n >>= 1 {
		if n&1 == 1 {
			p = float64(p * b)
		}
		b = float64(b * b)
	}
	return p
}
