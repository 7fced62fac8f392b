package commit

import "lockstep/internal/f32"

// Sum adds gradients of peers and takes their token mean, by N16: a float64
// accumulator from +0, one addition for each peer in ascending uid order, one
// division by the group's token count, one rounding to float32. Use NewSum.
type Sum struct{ acc []float64 }

// NewSum returns an empty sum over n elements.
func NewSum(n int) *Sum { return &Sum{make([]float64, n)} }

// Reset empties the sum and sets its size, which may not exceed NewSum's.
func (s *Sum) Reset(n int) {
	s.acc = s.acc[:n]
	clear(s.acc)
}

// Add adds the decoded values of the next peer.
func (s *Sum) Add(x []float32) { f32.AddFloat64(s.acc, x) }

// Mean writes the mean over tokens to out. Finite inputs give finite results,
// for there is at least one token for each of them.
func (s *Sum) Mean(out []float32, tokens uint64) { f32.DivideRound(out, s.acc, float64(tokens)) }
