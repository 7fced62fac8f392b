package stream

import (
	"slices"
	"sync"

	"lockstep/stream/parquet"
)

// pageCacheBytes bounds the decoded text that a source keeps. A segment's rows
// lie side by side, so one page serves many rows.
const pageCacheBytes = 64 << 20

// pageKey names a decoded page: file, row group, page.
type pageKey struct {
	file  any // what holds the page, by identity
	group int
	page  int
}

// pageCache keeps the pages used last, as many as fit the budget and at least
// one. The zero value keeps one page.
type pageCache struct {
	budget int

	mu      sync.Mutex
	entries []cachedPage // used last at the end
	bytes   int
}

type cachedPage struct {
	key   pageKey
	cells []parquet.Cell
	err   error // the page is damaged
	bytes int
}

// look returns the page of key if it is there.
func (c *pageCache) look(key pageKey) ([]parquet.Cell, bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.find(key)
}

// find is look under the lock.
func (c *pageCache) find(key pageKey) ([]parquet.Cell, bool, error) {
	for i, e := range c.entries {
		if e.key == key {
			copy(c.entries[i:], c.entries[i+1:])
			c.entries[len(c.entries)-1] = e
			return e.cells, true, e.err
		}
	}
	return nil, false, nil
}

// get returns the page of key, which load decodes if it is not there. One page
// is decoded at a time. Damage is kept too, for it stays; an error of the file
// system is not.
func (c *pageCache) get(key pageKey, load func() ([]parquet.Cell, error)) ([]parquet.Cell, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if cells, ok, err := c.find(key); ok {
		return cells, err
	}
	cells, err := load()
	if err != nil && !lasting(err) {
		return nil, err
	}
	e := cachedPage{key: key, cells: cells, err: err}
	for _, cell := range cells {
		e.bytes += len(cell.Text) + 24
	}
	for len(c.entries) > 0 && c.bytes+e.bytes > c.budget {
		c.bytes -= c.entries[0].bytes
		c.entries = slices.Delete(c.entries, 0, 1)
	}
	c.entries = append(c.entries, e)
	c.bytes += e.bytes
	return cells, err
}

func (c *pageCache) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.entries, c.bytes = nil, 0
}
