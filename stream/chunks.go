package stream

import (
	"context"
	"io"
	"slices"
	"sync"
)

// chunk is the unit of fetching: the text column of a row group, or a page of
// the rows API.
type chunk struct {
	file, part int
}

// loader fetches chunks, each once at a time, and keeps those used last in
// memory. A chunk is found by its name: in which order answers come does not
// matter. Close ends what is under way.
type loader struct {
	fetch  func(ctx context.Context, c chunk) ([]byte, error) // checked bytes
	budget int64

	ctx  context.Context // of the source
	stop context.CancelFunc
	work sync.WaitGroup

	mu     sync.Mutex
	held   map[chunk]*heldChunk
	order  []chunk // used last at the end
	bytes  int64
	closed bool
	room   chan struct{} // closed and replaced when a chunk may go
}

// heldChunk is a chunk in memory, or on its way there.
type heldChunk struct {
	ready chan struct{} // closed when data or err is there
	data  []byte
	err   error
	size  int64
	ahead bool // fetched for later, and not used yet: not to be dropped
}

func newLoader(budget int64, fetch func(context.Context, chunk) ([]byte, error)) *loader {
	l := &loader{fetch: fetch, budget: budget, held: map[chunk]*heldChunk{}, room: make(chan struct{})}
	l.ctx, l.stop = context.WithCancel(context.Background())
	return l
}

// get returns a chunk of about size bytes. It waits no longer than ctx lasts;
// the fetching goes on for whoever asks next.
func (l *loader) get(ctx context.Context, c chunk, size int64) ([]byte, error) {
	l.mu.Lock()
	h := l.held[c]
	if h == nil {
		l.makeRoom(size, true)
		h = l.start(c, size)
	}
	if h.ahead {
		h.ahead = false
		l.announceRoom()
	}
	l.touch(c)
	l.mu.Unlock()
	select {
	case <-h.ready:
		return h.data, h.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// getAhead begins to fetch a chunk for later, if the budget allows it. Else it
// returns a channel that is closed when there may be room.
func (l *loader) getAhead(c chunk, size int64) (h *heldChunk, room <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	h = l.held[c]
	if h == nil {
		if !l.makeRoom(size, false) {
			return nil, l.room
		}
		h = l.start(c, size)
	}
	h.ahead = true
	return h, nil
}

// start begins to fetch. The lock is held.
func (l *loader) start(c chunk, size int64) *heldChunk {
	h := &heldChunk{ready: make(chan struct{}), size: size}
	l.held[c] = h
	l.order = append(l.order, c)
	l.bytes += size
	if l.closed {
		h.err = context.Canceled
		close(h.ready)
		l.drop(c)
		return h
	}
	l.work.Go(func() {
		data, err := l.fetch(l.ctx, c)
		l.mu.Lock()
		defer l.mu.Unlock()
		h.data, h.err = data, err
		close(h.ready)
		if err != nil && l.held[c] == h {
			l.drop(c) // the next to ask tries again
			l.announceRoom()
		}
	})
	return h
}

// makeRoom drops chunks until size more bytes fit, oldest first: those that
// were used, and if it must be also those fetched for later. The lock is held.
func (l *loader) makeRoom(size int64, must bool) bool {
	for _, early := range []bool{false, true} {
		for i := 0; i < len(l.order) && l.bytes+size > l.budget; {
			if h := l.held[l.order[i]]; (h.ahead && !early) || !h.done() {
				i++
				continue
			}
			l.drop(l.order[i])
		}
		if !must {
			break
		}
	}
	return l.bytes+size <= l.budget
}

func (h *heldChunk) done() bool {
	select {
	case <-h.ready:
		return true
	default:
		return false
	}
}

func (l *loader) drop(c chunk) {
	l.bytes -= l.held[c].size
	delete(l.held, c)
	l.order = slices.DeleteFunc(l.order, func(o chunk) bool { return o == c })
}

func (l *loader) touch(c chunk) {
	if i := slices.Index(l.order, c); i >= 0 {
		l.order = append(slices.Delete(l.order, i, i+1), c)
	}
}

func (l *loader) announceRoom() {
	close(l.room)
	l.room = make(chan struct{})
}

// forgetAhead makes all chunks fetched for later ones like any other.
func (l *loader) forgetAhead() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.order {
		l.held[c].ahead = false
	}
	l.announceRoom()
}

// forget drops what is in memory of a file or on its way there. Who waits for it
// gets it still.
func (l *loader) forget(file int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range slices.Clone(l.order) {
		if c.file == file {
			l.drop(c)
		}
	}
	l.announceRoom()
}

func (l *loader) close() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.stop()
	l.work.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held, l.order, l.bytes = map[chunk]*heldChunk{}, nil, 0
}

// window is the bytes of a file from start on, as far as they are at hand.
type window struct {
	start int64
	data  []byte
}

// Bytes is parquet.Blob.
func (w window) Bytes(offset, n int64) ([]byte, error) {
	at := offset - w.start
	if offset < w.start || n < 0 || at > int64(len(w.data))-n {
		return nil, io.ErrUnexpectedEOF
	}
	return w.data[at : at+n], nil
}
