package stream

import (
	"fmt"
	"sync"
	"time"

	"lockstep/stream/store"
)

// shelf is a source's cache on disk. What it cannot keep is fetched again some
// day, which is no reason to stop; the first such failure is told.
type shelf struct {
	*store.Store // nil keeps nothing
	notice       func(error, time.Duration)

	mu     sync.Mutex
	failed error // the first
}

// keep puts an object on disk.
func (s *shelf) keep(key string, data []byte) {
	err := s.Put(key, data)
	if err == nil {
		return
	}
	s.mu.Lock()
	first := s.failed == nil
	if first {
		s.failed = err
	}
	s.mu.Unlock()
	if first && s.notice != nil {
		s.notice(fmt.Errorf("not all of the text that is fetched can be kept: %w", err), 0)
	}
}

// failure returns the first error of keep.
func (s *shelf) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failed
}
