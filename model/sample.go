package model

import "lockstep/internal/f32"

// next chooses a token. Weights are integers, proportional to probabilities, so
// that they add up to the same in any order; tokens are drawn from the likeliest
// on, and only as many of them are put in order as that takes.
func (s *sampler) next(logits []float32) int32 {
	if s.options.Temperature == 0 {
		return Likeliest(logits)
	}
	s.weigh(logits)
	kept := s.kept()
	r := s.stream.Below(s.drawn, kept)
	s.drawn++
	for i := 0; ; i++ {
		token := s.ranked(i)
		if r < s.weights[token] {
			return token
		}
		r -= s.weights[token]
	}
}

// Likeliest returns the token with the largest logit, the lowest of equals.
func Likeliest(logits []float32) int32 {
	best := 0
	for i, l := range logits {
		if l > logits[best] {
			best = i
		}
	}
	return int32(best)
}

// weigh gives each token the weight exp((logit-max)/temperature) as a multiple
// of 2^-32, rounded down, and makes all tokens candidates.
func (s *sampler) weigh(logits []float32) {
	top := logits[Likeliest(logits)]
	for i, l := range logits {
		s.scaled[i] = float32((l - top) * s.inverse)
	}
	f32.ExpSlice(s.scaled, s.scaled)
	s.logits, s.order = logits, s.order[:0]
	s.heap = s.heap[:len(logits)]
	for i, e := range s.scaled {
		s.weights[i] = uint64(float64(e) * (1 << 32))
		s.heap[i] = int32(i)
	}
	for i := len(s.heap)/2 - 1; i >= 0; i-- {
		s.sink(i)
	}
}

// kept returns the sum of the weights of the TopK likeliest tokens, or of the
// shortest head of them that has at least the share TopP of that sum. It is at
// most vocab_size times 2^32, far from overflow.
func (s *sampler) kept() uint64 {
	sum := uint64(0)
	if k := s.options.TopK; k > 0 && k < len(s.weights) {
		for i := range k {
			sum += s.weights[s.ranked(i)]
		}
	} else {
		for _, w := range s.weights {
			sum += w
		}
	}
	if s.options.TopP == 0 {
		return sum
	}
	enough := uint64(s.options.TopP * float64(sum))
	head := uint64(0)
	for i := 0; ; i++ {
		head += s.weights[s.ranked(i)]
		if head >= enough {
			return head
		}
	}
}

// ranked returns the token of rank i, 0 being the likeliest. Ranks up to i-1
// have been asked for before.
func (s *sampler) ranked(i int) int32 {
	if i == len(s.order) {
		last := len(s.heap) - 1
		s.order = append(s.order, s.heap[0])
		s.heap[0] = s.heap[last]
		s.heap = s.heap[:last]
		s.sink(0)
	}
	return s.order[i]
}

// before reports whether token a is likelier than b, or as likely and lower: a
// total order, so that no property of the heap shows in the result.
func (s *sampler) before(a, b int32) bool {
	if s.logits[a] != s.logits[b] {
		return s.logits[a] > s.logits[b]
	}
	return a < b
}

// sink moves the token at place i of the heap down to where it belongs: no
// token stands below one that is less likely.
func (s *sampler) sink(i int) {
	for {
		child := 2*i + 1
		if child >= len(s.heap) {
			return
		}
		if child+1 < len(s.heap) && s.before(s.heap[child+1], s.heap[child]) {
			child++
		}
		if !s.before(s.heap[child], s.heap[i]) {
			return
		}
		s.heap[i], s.heap[child] = s.heap[child], s.heap[i]
		i = child
	}
}
