package stream

import (
	"context"
	"errors"
	"sync"

	"golang.org/x/sync/errgroup"

	"lockstep/internal/fault"
)

// Fetched is what Prefill has done so far.
type Fetched struct {
	Chunks, AllChunks int   // row groups, or pages of the rows API
	Bytes             int64 // of chunks that are there
}

// Prefill brings the rows of segments into the cache on disk, several requests
// at a time, and calls progress after each chunk. Text on this machine needs
// nothing. The first error ends it; what is there by then stays there. That not
// all of it is in the cache afterwards, with what it takes to open the source, is
// an error too: fault.Config if nothing could be kept there from the start, else
// fault.Environment.
func Prefill(ctx context.Context, src Source, segments []Segment, progress func(Fetched)) error {
	var p *planner
	var cache *shelf
	var facts func([]wanted) []string // keys of what leads to chunks
	switch s := src.(type) {
	case *hubSource:
		p, cache, facts = s.planner, s.shelf, s.factKeys
	case *rowsSource:
		p, cache, facts = s.planner, s.shelf, func([]wanted) []string { return []string{s.factsKey()} }
	default:
		return nil
	}
	if cache.Store == nil {
		return fault.Errorf(fault.Config, "there is no cache to fetch into: name a folder with --cache")
	}
	for try := 0; ; try++ {
		chunks, err := p.bringAll(ctx, segments, cache, progress)
		switch {
		case errors.Is(err, errRenewed) && try < maxRenewals:
			continue // the list came from a footer that is out of use
		case errors.Is(err, errRenewed):
			return damage(src.Name(), "", err)
		case err != nil:
			return err
		}
		keys := facts(chunks)
		for _, c := range chunks {
			keys = append(keys, c.key)
		}
		return allKept(keys, cache)
	}
}

// bringAll fetches the chunks of segments, and returns them.
func (p *planner) bringAll(ctx context.Context, segments []Segment, cache *shelf, progress func(Fetched)) ([]wanted, error) {
	chunks, err := p.chunksOf(ctx, segments)
	if err != nil {
		return nil, err
	}
	var mu sync.Mutex // guards done
	done := Fetched{AllChunks: len(chunks)}
	group, working := errgroup.WithContext(ctx)
	group.SetLimit(p.workers)
	for _, c := range chunks {
		group.Go(func() error {
			n, err := p.bring(working, c, cache)
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			done.Chunks++
			done.Bytes += int64(n)
			progress(done)
			return nil
		})
	}
	return chunks, group.Wait()
}

// wanted is a chunk to fetch.
type wanted struct {
	chunk
	size int64
	key  string // in the cache
}

// chunksOf lists the chunks of segments, each once.
func (p *planner) chunksOf(ctx context.Context, segments []Segment) ([]wanted, error) {
	var chunks []wanted
	seen := map[chunk]bool{}
	for _, s := range segments {
		for row := s.First; row < s.First+s.Rows; {
			c, size, next, err := p.locate(ctx, row)
			if err != nil {
				return nil, err
			}
			if !seen[c] {
				seen[c] = true
				key, err := p.key(ctx, c)
				if err != nil {
					return nil, err
				}
				chunks = append(chunks, wanted{c, size, key})
			}
			row = next
		}
	}
	return chunks, nil
}

// bring fetches a chunk and returns its length in bytes. If it could not be kept,
// nothing after it could be; if it has another key by now, other chunks hold the
// rows, and the error is errRenewed.
func (p *planner) bring(ctx context.Context, w wanted, cache *shelf) (int, error) {
	data, err := p.loader.get(ctx, w.chunk, w.size)
	if err != nil {
		return 0, err
	}
	key, err := p.key(ctx, w.chunk)
	if err == nil && key != w.key {
		err = errRenewed
	}
	if err != nil {
		return 0, err
	}
	if failed := cache.failure(); failed != nil && !cache.Has(w.key) {
		return 0, fault.Errorf(fault.Environment, "what is fetched cannot be kept: %w", failed)
	}
	return len(data), nil
}

// allKept looks whether the cache still has all objects: it may have dropped
// some to make room for others.
func allKept(keys []string, cache *shelf) error {
	kept := 0
	for _, key := range keys {
		if cache.Has(key) {
			kept++
		}
	}
	if kept < len(keys) {
		return fault.Errorf(fault.Environment, "the cache holds only %d of the %d pieces that are needed: it is too small, and dropped the others; raise --cache-size", kept, len(keys))
	}
	return nil
}
