package swarm

import (
	"context"
	"sync"
	"testing"
	"time"

	"lockstep/internal/merkle"
)

func TestBell(t *testing.T) {
	var b bell
	b.ring() // nobody listens
	var mu sync.Mutex
	n := 0
	go func() {
		for range 3 {
			mu.Lock()
			n++
			mu.Unlock()
			b.ring()
		}
	}()
	ready := func() bool {
		mu.Lock()
		defer mu.Unlock()
		return n == 3
	}
	if !b.waitFor(t.Context(), time.Minute, ready) {
		t.Error("the bell was not heard")
	}
	never := func() bool { return false }
	if b.waitFor(t.Context(), time.Millisecond, never) {
		t.Error("what is never true became true")
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if b.waitFor(ended, time.Minute, never) {
		t.Error("waited beyond the context")
	}
}

func TestMailboxKeepsTheOrder(t *testing.T) {
	m := newMailbox[int]()
	if _, ok := m.last(); ok {
		t.Error("an empty mailbox has a last item")
	}
	const n = 1000
	go func() {
		for i := range n {
			m.put(i)
		}
	}()
	for want := 0; want < n; {
		<-m.ready
		got, ok := m.take()
		if !ok {
			continue
		}
		if got != want {
			t.Fatalf("%d after %d", got, want-1)
		}
		want++
	}
	m.put(1)
	m.put(2)
	if x, _ := m.last(); x != 2 {
		t.Errorf("last is %d", x)
	}
}

func TestShelf(t *testing.T) {
	var s shelf
	if _, later := s.find(1); !later {
		t.Error("before the first claim, every epoch may still come")
	}
	gradient := make([]float32, merkle.LeafElements+10)
	grid := merkle.Grid{Kind: merkle.KindGradient, Codec: merkle.CodecF32, Elements: len(gradient)}
	put := func(epoch uint64, x float32) []merkle.Digest {
		for i := range gradient {
			gradient[i] = x
		}
		leaves := grid.Digests(gradient)
		s.put(&offer{epoch: epoch, gradient: gradient, leaves: leaves})
		return leaves
	}
	first := put(4, 1)
	s.retire()
	second := put(5, 2) // in the memory of the first
	for epoch, leaves := range map[uint64][]merkle.Digest{4: first, 5: second} {
		o, _ := s.find(epoch)
		if o == nil || o.epoch != epoch {
			t.Fatalf("claim of epoch %d: %+v", epoch, o)
		}
		for i := range leaves {
			raw, ok := s.leaf(epoch, i)
			if !ok || grid.LeafDigest(i, raw) != leaves[i] {
				t.Errorf("epoch %d, leaf %d: %v", epoch, i, ok)
			}
		}
		if _, ok := s.leaf(epoch, 2); ok {
			t.Error("a leaf that does not exist")
		}
	}
	for epoch, want := range map[uint64]bool{3: false, 6: true} {
		if o, later := s.find(epoch); o != nil || later != want {
			t.Errorf("epoch %d: %+v, may come: %v", epoch, o, later)
		}
	}
	s.retire()
	s.retire() // nothing is on the shelf: the previous claim stays
	if o, _ := s.find(5); o == nil {
		t.Error("the previous claim is gone")
	}
}
