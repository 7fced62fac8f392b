package model

import (
	"cmp"
	"slices"

	"lockstep/internal/f32"
)

// candidate is a token that may come next.
type candidate struct {
	token  int32
	logit  float32
	weight uint64 // proportional to its probability; the likeliest has 2^32
}

// next chooses a token.
func (s *sampler) next(logits []float32) int32 {
	if s.options.Temperature == 0 {
		return likeliest(logits)
	}
	kept := s.topP(s.weigh(s.topK(logits)))
	r := s.stream.Below(s.drawn, total(kept))
	s.drawn++
	for _, c := range kept {
		if r < c.weight {
			return c.token
		}
		r -= c.weight
	}
	panic("model: sample beyond the total weight")
}

// likeliest returns the token with the largest logit, the lowest of equals.
func likeliest(logits []float32) int32 {
	best := 0
	for i, l := range logits {
		if l > logits[best] {
			best = i
		}
	}
	return int32(best)
}

// topK returns the TopK likeliest tokens, or all, the likeliest first and the
// lower token first among equals. The order is total, so that no property of
// the sort shows in the result.
func (s *sampler) topK(logits []float32) []candidate {
	for i, l := range logits {
		s.candidates[i] = candidate{token: int32(i), logit: l}
	}
	slices.SortFunc(s.candidates, func(a, b candidate) int {
		if a.logit != b.logit {
			return cmp.Compare(b.logit, a.logit)
		}
		return cmp.Compare(a.token, b.token)
	})
	if k := s.options.TopK; k > 0 && k < len(s.candidates) {
		return s.candidates[:k]
	}
	return s.candidates
}

// weigh gives each candidate the weight exp((logit-max)/temperature) as a
// multiple of 2^-32, rounded down. From here on probabilities are integers,
// which add up to the same in any order.
func (s *sampler) weigh(c []candidate) []candidate {
	top := c[0].logit
	for i := range c {
		e := f32.Exp(float32((c[i].logit - top) * s.inverse))
		c[i].weight = uint64(float64(e) * (1 << 32))
	}
	return c
}

// topP returns the shortest head of c that has at least the share TopP of its
// weight.
func (s *sampler) topP(c []candidate) []candidate {
	if s.options.TopP == 0 {
		return c
	}
	enough := uint64(s.options.TopP * float64(total(c)))
	sum := uint64(0)
	for i := range c {
		sum += c[i].weight
		if sum >= enough {
			return c[:i+1]
		}
	}
	return c
}

// total is at most vocab_size times 2^32, far from overflow.
func total(c []candidate) uint64 {
	sum := uint64(0)
	for _, k := range c {
		sum += k.weight
	}
	return sum
}
