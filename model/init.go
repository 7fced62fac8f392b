package model

import (
	"math"

	"lockstep/internal/f32"
	"lockstep/internal/seed"
)

// initialiser says how a tensor begins.
type initialiser uint8

const (
	zeros    initialiser = iota // biases
	ones                        // LayerNorm's scales
	normal                      // N(0, 0.02²)
	residual                    // N(0, 0.02²/(2 layers)): matrices that write into the residual stream
)

// initDeviation is GPT-2's standard deviation of initial weights.
const initDeviation = 0.02

// Initialise returns GPT-2's initial weights for a run's seed (N19). Tensor i of
// the layout takes its numbers from seed.New(runSeed, "model/init", i); its
// element j is
//
//	float32(S - 6·1023) · float32(σ/1024)
//
// where S is the sum of the twelve 10-bit integers in the low 60 bits of numbers
// 2j and 2j+1 of that stream, and σ is 0.02, or 0.02/√(2 layers) for
// c_proj.weight. S - 6·1023 is an integer of mean 0 and standard deviation
// √(1024²-1); twelve terms make it close to normal, and none is beyond six
// deviations. It fits float32 exactly, so that the product is the only rounding.
func Initialise(c Config, runSeed uint64) *Parameters {
	p := NewParameters(c)
	for i, t := range p.Layout.Tensors {
		x := p.Data[t.Offset:][:t.Size]
		switch t.start {
		case zeros: // as allocated
		case ones:
			for j := range x {
				x[j] = 1
			}
		case normal:
			fillNormal(x, initDeviation, seed.New(runSeed, "model/init", uint64(i)))
		case residual:
			fillNormal(x, initDeviation/math.Sqrt(float64(2*c.Layers)), seed.New(runSeed, "model/init", uint64(i)))
		}
	}
	return p
}

// fillNormal sets x to normal numbers of the given standard deviation.
func fillNormal(x []float32, deviation float64, s seed.Stream) {
	unit := float32(deviation / 1024)
	const task = 1 << 12
	f32.Parallel((len(x)+task-1)/task, func(i int) {
		for j := i * task; j < min((i+1)*task, len(x)); j++ {
			x[j] = float32(twelve(s, uint64(j))) * unit
		}
	})
}

// twelve returns the sum of twelve uniform 10-bit integers, less its mean.
func twelve(s seed.Stream, j uint64) int64 {
	a, b := s.Pair(j)
	sum := int64(-6 * 1023)
	for range 6 {
		sum += int64(a&1023) + int64(b&1023)
		a >>= 10
		b >>= 10
	}
	return sum
}
