package reduce

import (
	"bytes"
	"slices"

	"lockstep/internal/signed"
)

// peerSet is a set of peers in ascending order, so that what depends on it does
// not depend on the order of arrival. The zero value is empty.
type peerSet struct{ ids []signed.PeerID }

func (s *peerSet) find(p signed.PeerID) (int, bool) {
	return slices.BinarySearchFunc(s.ids, p, func(a, b signed.PeerID) int { return bytes.Compare(a[:], b[:]) })
}

func (s *peerSet) has(p signed.PeerID) bool {
	_, ok := s.find(p)
	return ok
}

func (s *peerSet) add(p signed.PeerID) {
	if i, ok := s.find(p); !ok {
		s.ids = slices.Insert(s.ids, i, p)
	}
}

func (s *peerSet) remove(p signed.PeerID) {
	if i, ok := s.find(p); ok {
		s.ids = slices.Delete(s.ids, i, i+1)
	}
}
