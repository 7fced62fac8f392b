package stream

import (
	"context"
	"sync"

	"golang.org/x/sync/errgroup"
)

// Fetched is what Prefill has done so far.
type Fetched struct {
	Chunks, AllChunks int   // row groups, or pages of the rows API
	Bytes             int64 // of chunks that are there
}

// Prefill brings the rows of segments into the cache on disk, several requests
// at a time, and calls progress after each chunk. Text on this machine needs
// nothing. The first error ends it; what is there by then stays there.
func Prefill(ctx context.Context, src Source, segments []Segment, progress func(Fetched)) error {
	var p *planner
	switch s := src.(type) {
	case *hubSource:
		p = s.planner
	case *rowsSource:
		p = s.planner
	default:
		return nil
	}
	type sized struct {
		chunk
		size int64
	}
	var chunks []sized
	seen := map[chunk]bool{}
	for _, s := range segments {
		for row := s.First; row < s.First+s.Rows; {
			c, size, next, err := p.locate(ctx, row)
			if err != nil {
				return err
			}
			if !seen[c] {
				seen[c] = true
				chunks = append(chunks, sized{c, size})
			}
			row = next
		}
	}
	var mu sync.Mutex // guards done
	done := Fetched{AllChunks: len(chunks)}
	group, working := errgroup.WithContext(ctx)
	group.SetLimit(p.workers)
	for _, c := range chunks {
		group.Go(func() error {
			data, err := p.loader.get(working, c.chunk, c.size)
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			done.Chunks++
			done.Bytes += int64(len(data))
			progress(done)
			return nil
		})
	}
	return group.Wait()
}
