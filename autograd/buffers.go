package autograd

// stack hands out buffers that are given back in reverse order. Slot i keeps
// its memory, so that the same sequence of requests allocates only once.
// The zero value is ready to use.
type stack struct {
	slots [][]float32
	used  int
}

// take returns the next slot with n elements of any content.
func (s *stack) take(n int) []float32 {
	if s.used == len(s.slots) {
		s.slots = append(s.slots, make([]float32, n))
	} else if cap(s.slots[s.used]) < n {
		// A slot that was too small will be again where shapes keep growing, as
		// in generation: a quarter more saves most of those allocations.
		s.slots[s.used] = make([]float32, n+n/4)
	}
	b := s.slots[s.used][:n:n]
	s.used++
	return b
}

// release gives back all slots from number used on.
func (s *stack) release(used int) { s.used = used }

// shelf hands out buffers that are given back in any order. The zero value is
// ready to use.
type shelf struct {
	free [][]float32
}

// take returns n elements of any content, from the smallest buffer that holds
// them.
func (s *shelf) take(n int) []float32 {
	best := -1
	for i, b := range s.free {
		if cap(b) >= n && (best < 0 || cap(b) < cap(s.free[best])) {
			best = i
		}
	}
	if best < 0 {
		return make([]float32, n)
	}
	b := s.free[best]
	last := len(s.free) - 1
	s.free[best] = s.free[last]
	s.free[last] = nil
	s.free = s.free[:last]
	return b[:n]
}

// give puts b back.
func (s *shelf) give(b []float32) { s.free = append(s.free, b) }
