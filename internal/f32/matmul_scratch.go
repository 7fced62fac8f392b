package f32

import "sync"

// freeList keeps the working memory of products between calls, so that a
// warmed-up MatMul allocates nothing. Unlike a sync.Pool it is not emptied by
// the garbage collector; it never holds more than were in use at once.
type freeList[T any] struct {
	mu   sync.Mutex
	free []*T
}

// take returns an item to use, or nil if there is none.
func (l *freeList[T]) take() *T {
	l.mu.Lock()
	defer l.mu.Unlock()
	last := len(l.free) - 1
	if last < 0 {
		return nil
	}
	x := l.free[last]
	l.free = l.free[:last]
	return x
}

func (l *freeList[T]) give(x *T) {
	l.mu.Lock()
	l.free = append(l.free, x)
	l.mu.Unlock()
}
