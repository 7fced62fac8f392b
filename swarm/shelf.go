package swarm

import (
	"sync"

	"lockstep/internal/merkle"
	"lockstep/reduce/commit"
)

// offer is a signed claim and the gradient behind it.
type offer struct {
	epoch    uint64
	claim    commit.Signed[commit.Claim]
	gradient []float32
	leaves   []merkle.Digest
}

// shelf holds the claims that a miner can be asked about: that of the epoch
// being averaged, and that of the epoch before, until its audit is over. It is
// safe for concurrent use.
type shelf struct {
	bell bell

	mu       sync.RWMutex
	current  *offer
	previous *offer
	spare    []float32 // memory of the previous gradient
}

// put shows a claim. The gradient must not change before retire.
func (s *shelf) put(o *offer) {
	s.mu.Lock()
	s.current = o
	s.mu.Unlock()
	s.bell.ring()
}

// retire takes a copy of the current claim's gradient, whose memory is free to
// be written again afterwards.
func (s *shelf) retire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current == nil {
		return
	}
	if s.spare == nil {
		s.spare = make([]float32, len(s.current.gradient))
	}
	copy(s.spare, s.current.gradient)
	s.previous, s.current = s.current, nil
	s.previous.gradient = s.spare
}

// find returns the claim of an epoch; later reports that it may still come.
func (s *shelf) find(epoch uint64) (o *offer, later bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	switch {
	case s.current != nil && s.current.epoch == epoch:
		return s.current, false
	case s.previous != nil && s.previous.epoch == epoch:
		return s.previous, false
	case s.current != nil:
		return nil, epoch > s.current.epoch
	case s.previous != nil:
		return nil, epoch > s.previous.epoch
	}
	return nil, true
}

// leaf returns the encoded bytes of leaf i of an epoch's gradient.
func (s *shelf) leaf(epoch uint64, i int) ([]byte, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock() // retire waits, so that the gradient stays
	o := s.current
	if o == nil || o.epoch != epoch {
		o = s.previous
	}
	if o == nil || o.epoch != epoch || i >= len(o.leaves) {
		return nil, false
	}
	g := merkle.Grid{Kind: merkle.KindGradient, Codec: merkle.CodecF32, Elements: len(o.gradient)}
	lo, hi := g.LeafSpan(i)
	return merkle.AppendFloat32(make([]byte, 0, 4*(hi-lo)), o.gradient[lo:hi]), true
}
