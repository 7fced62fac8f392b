package stream

import (
	"context"
	"sync"
)

// Ahead tells a source which segments will be read next, in this order, so that
// it can fetch them while the caller computes. It returns at once, and a later
// call replaces what is left of an earlier one. It is a hint: it changes no row,
// and its failures show when a row is asked for.
func Ahead(src Source, segments []Segment) {
	if a, ok := src.(interface{ ahead([]Segment) }); ok {
		a.ahead(segments)
	}
}

// planner fetches segments ahead of their use.
type planner struct {
	loader *loader
	// locate returns the chunk that holds a row, its size, and the first row
	// behind it.
	locate  func(ctx context.Context, row uint64) (c chunk, size int64, next uint64, err error)
	key     func(ctx context.Context, c chunk) (string, error) // in the cache
	workers int

	mu     sync.Mutex
	cancel context.CancelFunc // of the plan at work
}

// ahead starts a new plan.
func (p *planner) ahead(segments []Segment) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cancel != nil {
		p.cancel()
	}
	l := p.loader
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	ctx, cancel := context.WithCancel(l.ctx)
	p.cancel = cancel
	l.work.Go(func() {
		defer cancel()
		p.run(ctx, segments)
	})
}

// run fetches the chunks of a plan in order, several at once, while the budget
// allows it. The first failure ends it: the row's reader will meet it, and say
// so.
func (p *planner) run(ctx context.Context, segments []Segment) {
	p.loader.forgetAhead()
	busy := make(chan struct{}, p.workers)
	for _, s := range segments {
		for row := s.First; row < s.First+s.Rows; {
			c, size, next, err := p.locate(ctx, row)
			if err != nil || !p.one(ctx, c, size, busy) {
				return
			}
			row = next
		}
	}
}

// one begins to fetch a chunk as soon as there are room and a worker.
func (p *planner) one(ctx context.Context, c chunk, size int64, busy chan struct{}) bool {
	if size > p.loader.budget {
		return true // it is never in memory before it is used
	}
	for {
		held, room := p.loader.getAhead(c, size)
		if held != nil {
			select {
			case busy <- struct{}{}:
			case <-ctx.Done():
				return false
			}
			p.loader.work.Go(func() {
				<-held.ready
				<-busy
			})
			return true
		}
		select {
		case <-room:
		case <-ctx.Done():
			return false
		}
	}
}
