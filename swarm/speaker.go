package swarm

import (
	"fmt"
	"sync"
	"time"
)

// speaker passes a node's events on, in order, on a goroutine of its own: a
// listener may take its time, and the node never waits for it. What is left
// unheard is bounded: of progress only the newest matters, and warnings that
// nobody reads are counted.
type speaker struct {
	emit func(Event)
	wake chan struct{} // holds a token while there may be something to say
	done chan struct{} // closed when all is said

	mu      sync.Mutex
	queue   []Event
	skipped int  // warnings
	closed  bool // nothing more will be said
}

const (
	maxUnheard  = 4096            // events that wait before warnings are skipped
	maxProgress = 64              // and before progress is
	lastWords   = 5 * time.Second // for a listener to hear the rest at the end
)

func newSpeaker(emit func(Event)) *speaker {
	s := &speaker{emit: emit, wake: make(chan struct{}, 1), done: make(chan struct{})}
	go s.run()
	return s
}

// say queues an event; it never waits.
func (s *speaker) say(e Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, progress := e.(Progress)
	_, warning := e.(Warning)
	switch {
	case s.closed, progress && len(s.queue) >= maxProgress:
		return
	case warning && len(s.queue) >= maxUnheard:
		s.skipped++
		return
	}
	s.queue = append(s.queue, e)
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// next takes what is queued. more is false when nothing will follow.
func (s *speaker) next() (events []Event, more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	events, s.queue = s.queue, nil
	if s.skipped > 0 {
		events = append(events, Warning{fmt.Sprintf("%d warnings are not shown: nobody read them in time", s.skipped)})
		s.skipped = 0
	}
	return events, !s.closed
}

func (s *speaker) run() {
	defer close(s.done)
	for more := true; more; {
		<-s.wake
		var events []Event
		events, more = s.next()
		for _, e := range events {
			s.emit(e)
		}
	}
}

// close waits until everything is said, or the listener takes too long.
func (s *speaker) close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
	select {
	case <-s.done:
	case <-time.After(lastWords):
	}
}
