package swarm

import (
	"context"
	"sync"
	"time"
)

// bell wakes everybody who waits for something to change. The zero value is
// ready to use.
type bell struct {
	mu sync.Mutex
	ch chan struct{}
}

// next returns a channel that is closed at the next ring. Take it before
// looking at what may change.
func (b *bell) next() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ch == nil {
		b.ch = make(chan struct{})
	}
	return b.ch
}

// ring wakes those who wait.
func (b *bell) ring() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ch != nil {
		close(b.ch)
		b.ch = nil
	}
}

// waitFor waits until ready reports true, at most for d. It reports whether
// ready did.
func (b *bell) waitFor(ctx context.Context, d time.Duration, ready func() bool) bool {
	timeout := time.NewTimer(d)
	defer timeout.Stop()
	for {
		rung := b.next()
		if ready() {
			return true
		}
		select {
		case <-rung:
		case <-timeout.C:
			return ready()
		case <-ctx.Done():
			return false
		}
	}
}

// mailbox is a queue without a limit between a producer that must not wait and
// one consumer. What is in it is bounded by the protocol: a driver's actions
// answer events.
type mailbox[T any] struct {
	mu    sync.Mutex
	items []T
	ready chan struct{} // holds a token while items may be there
}

func newMailbox[T any]() *mailbox[T] { return &mailbox[T]{ready: make(chan struct{}, 1)} }

// put adds an item; it never waits.
func (m *mailbox[T]) put(item T) {
	m.mu.Lock()
	m.items = append(m.items, item)
	m.mu.Unlock()
	m.poke()
}

func (m *mailbox[T]) poke() {
	select {
	case m.ready <- struct{}{}:
	default:
	}
}

// take returns the oldest item. Call it after receiving from ready, which is
// signalled again while more items are left.
func (m *mailbox[T]) take() (item T, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.items) == 0 {
		return item, false
	}
	item = m.items[0]
	m.items = m.items[1:]
	if len(m.items) > 0 {
		m.poke()
	}
	return item, true
}

// last returns the newest item and leaves it where it is.
func (m *mailbox[T]) last() (item T, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.items) == 0 {
		return item, false
	}
	return m.items[len(m.items)-1], true
}
