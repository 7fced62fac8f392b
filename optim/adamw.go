package optim

import (
	"slices"

	"lockstep/internal/f32"
	"lockstep/internal/merkle"
)

// Info tells what a step did.
type Info struct {
	Step uint64  // optimizer step, counted from 1
	Norm float64 // length of the averaged gradient before clipping
	Clip float64 // factor it was multiplied by, as float32
	Rate float64 // learning rate, as float32
}

// AdamW is the optimizer's step. It keeps its working memory from step to step,
// and no state: that is the caller's vectors. The zero value is ready.
type AdamW struct {
	spans                []Span
	theta, m, v, average []float32
	matrices, vectors    f32.AdamW // with and without decay
	grid                 merkle.Grid
	spoilt               []bool // by leaf: holds a NaN or an infinity afterwards
	task                 func(int)
}

// Step applies optimizer step number step, counted from 1, to the parameters
// theta and the moments m and v, in place, with an averaged gradient whose Norm
// the caller has computed, and so checked. All are flat vectors of equal
// length, which spans cover without gaps.
//
// A result that is not finite is a *NonFiniteError; then theta, m and v are
// spoilt, as they hold the whole step.
func (s *AdamW) Step(c Config, step uint64, norm float64, spans []Span, theta, m, v, average []float32) (Info, error) {
	if len(m) != len(theta) || len(v) != len(theta) || len(average) != len(theta) {
		panic("optim: vectors of different lengths")
	}
	k := c.Coefficients(step, norm)
	s.spans, s.theta, s.m, s.v, s.average = spans, theta, m, v, average
	s.matrices, s.vectors = k, k
	s.vectors.Decay = 0
	// Elements are independent: the grid serves only to share out the work.
	s.grid = merkle.Grid{Elements: len(theta)}
	if s.task == nil {
		s.task = s.leaf
	}
	s.spoilt = slices.Grow(s.spoilt[:0], s.grid.Leaves())[:s.grid.Leaves()]
	f32.Parallel(len(s.spoilt), s.task)
	if slices.Contains(s.spoilt, true) {
		return Info{}, s.firstNonFinite()
	}
	return Info{Step: step, Norm: norm, Clip: float64(k.Clip), Rate: float64(k.LR)}, nil
}

// leaf updates the elements of leaf i, tensor by tensor.
func (s *AdamW) leaf(i int) {
	lo, hi := s.grid.LeafSpan(i)
	for at := lo; at < hi; {
		span, inside := Place(s.spans, at)
		end := min(hi, at-inside+span.Size)
		k := s.vectors
		if span.Decay {
			k = s.matrices
		}
		f32.AdamWStep(s.theta[at:end], s.m[at:end], s.v[at:end], s.average[at:end], k)
		at = end
	}
	s.spoilt[i] = f32.Finite(s.theta[lo:hi]) >= 0 || f32.Finite(s.m[lo:hi]) >= 0 || f32.Finite(s.v[lo:hi]) >= 0
}

func (s *AdamW) firstNonFinite() error {
	for _, x := range []struct {
		what string
		data []float32
	}{{"parameters", s.theta}, {"moment m", s.m}, {"moment v", s.v}} {
		if i := f32.Finite(x.data); i >= 0 {
			return nonFinite(x.what, s.spans, x.data, i)
		}
	}
	panic("optim: a spoilt leaf without a NaN or an infinity")
}
