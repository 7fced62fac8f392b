package f32

import (
	"math/bits"
	"slices"
	"sync"
)

// freeList keeps the working memory of products between calls, so that a
// warmed-up MatMul allocates nothing. Unlike a sync.Pool it is not emptied by
// the garbage collector; it holds little more than were in use at once.
type freeList[T any] struct {
	mu   sync.Mutex
	free []*T
}

// take returns an item to use. Where there is none it makes as many as threads
// can use at once: how many do is up to the scheduler, and no later call should
// be the first to find out.
func (l *freeList[T]) take(make func() *T) *T {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.free) == 0 {
		l.free = slices.Grow(l.free, 2*Threads())
		for range Threads() {
			l.free = append(l.free, make())
		}
	}
	last := len(l.free) - 1
	x := l.free[last]
	l.free = l.free[:last]
	return x
}

func (l *freeList[T]) give(x *T) {
	l.mu.Lock()
	l.free = append(l.free, x)
	l.mu.Unlock()
}

// region is memory for a region of A in panels. It grows when first used for a
// size, so that those of large products, of which there is one at a time, are
// not made for every thread.
type region struct {
	x     []float32
	class int
}

// regions[c] keeps those of 1<<c floats. Apart by size, each finds the one that
// it had in the step before, whatever the order in which they are given back.
var regions [bits.UintSize]freeList[region]

// smallRegion is the class of 256 KiB, beyond which products run one at a time.
const smallRegion = 16

// takeRegion returns memory for n floats, n >= 1.
func takeRegion(n int) *region {
	class := bits.Len(uint(n - 1))
	r := regions[class].take(func() *region {
		r := &region{class: class}
		if class <= smallRegion {
			r.x = make([]float32, 1<<class)
		}
		return r
	})
	if r.x == nil {
		r.x = make([]float32, 1<<class)
	}
	return r
}

func (r *region) give() { regions[r.class].give(r) }
