package stream

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// eventually waits for a condition that other goroutines bring about.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 1000 {
		if ok() {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatalf("never: %s", what)
}

// TestAhead: rows that were announced are there without a request, whatever
// the order in which they came.
func TestAhead(t *testing.T) {
	noLeak(t)
	h, folder := hubOf(t, texts(300), texts(300))
	want := all(t, open(t, folder))
	for _, name := range []string{hubName, "rows://org/fineweb/default"} {
		src := openWith(t, reach(h), name)
		h.Change(func() {
			h.Fault = func(_ *http.Request, n int) http.HandlerFunc {
				time.Sleep(time.Duration(n*13%7) * time.Millisecond)
				return nil
			}
		})
		segments := []Segment{{First: 500, Rows: 100}, {First: 20, Rows: 90}, {First: 250, Rows: 100}}
		Ahead(src, segments)
		var l *loader
		chunks := 3 + 3 + 3 // of 40 rows
		if s, ok := src.(*hubSource); ok {
			l = s.loader
			chunks = 10
		} else {
			l, chunks = src.(*rowsSource).loader, 5 // of 100 rows: 5, 0 and 1, 2 and 3
		}
		eventually(t, "all chunks are there", func() bool {
			l.mu.Lock()
			defer l.mu.Unlock()
			n := 0
			for _, held := range l.held {
				if held.done() {
					n++
				}
			}
			return n >= chunks-1
		})
		eventually(t, "nothing is under way", func() bool { n, _ := traffic(h); time.Sleep(20 * time.Millisecond); return n == 0 })
		for _, s := range segments {
			for row := s.First; row < s.First+s.Rows; row++ {
				got, err := src.Text(ctx, row)
				if err != nil || got.Digest != want[row].Digest {
					t.Fatalf("%s: row %d: %+v, %v", name, row, got, err)
				}
			}
		}
		if n, _ := traffic(h); n > 0 {
			t.Errorf("%s: %d requests for rows that were announced", name, n)
		}
	}
	Ahead(open(t, "builtin"), []Segment{{First: 1, Rows: 2}}) // nothing to do
}

// TestAheadKeepsItsBudget: chunks fetched for later wait for room, and are not
// dropped for others.
func TestAheadKeepsItsBudget(t *testing.T) {
	noLeak(t)
	var fetched atomic.Int64
	var mu sync.Mutex
	most := int64(0)
	var l *loader
	l = newLoader(1000, func(ctx context.Context, c chunk) ([]byte, error) {
		l.mu.Lock()
		held := l.bytes
		l.mu.Unlock()
		mu.Lock()
		most = max(most, held)
		mu.Unlock()
		fetched.Add(1)
		return []byte{byte(c.part)}, nil
	})
	defer l.close()
	p := &planner{loader: l, workers: 3, locate: func(_ context.Context, row uint64) (chunk, int64, uint64, error) {
		return chunk{part: int(row)}, 300, row + 1, nil
	}}
	p.ahead([]Segment{{First: 0, Rows: 8}})
	eventually(t, "three chunks of 300 in 1000", func() bool { return fetched.Load() == 3 })
	for part := range 8 {
		eventually(t, "the next is there", func() bool { return fetched.Load() >= int64(min(part+1, 8)) })
		data, err := l.get(ctx, chunk{part: part}, 300)
		if err != nil || data[0] != byte(part) {
			t.Fatalf("chunk %d: %v, %v", part, data, err)
		}
	}
	if fetched.Load() != 8 || most > 1000 {
		t.Errorf("%d fetched, at most %d bytes held", fetched.Load(), most)
	}
	// A plan that nobody reads gives way to the next.
	p.ahead([]Segment{{First: 100, Rows: 50}})
	eventually(t, "the plan is at work", func() bool { return fetched.Load() >= 11 })
	p.ahead([]Segment{{First: 200, Rows: 2}})
	eventually(t, "the new plan is done", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.held[chunk{part: 200}] != nil && l.held[chunk{part: 201}] != nil
	})
	if data, err := l.get(ctx, chunk{part: 7777}, 5000); err != nil || len(data) != 1 {
		t.Errorf("a chunk above the budget that is needed now: %v, %v", data, err)
	}
}

// TestLoaderTriesAgain: a failure is told to those who wait, and forgotten.
func TestLoaderTriesAgain(t *testing.T) {
	bad := errors.New("bad weather")
	var n atomic.Int64
	l := newLoader(1000, func(context.Context, chunk) ([]byte, error) {
		if n.Add(1) == 1 {
			return nil, bad
		}
		return []byte("fine"), nil
	})
	if _, err := l.get(ctx, chunk{}, 10); !errors.Is(err, bad) {
		t.Error(err)
	}
	if data, err := l.get(ctx, chunk{}, 10); err != nil || string(data) != "fine" {
		t.Errorf("%q, %v", data, err)
	}
	l.close()
	if _, err := l.get(ctx, chunk{part: 1}, 10); !errors.Is(err, context.Canceled) {
		t.Errorf("closed: %v", err)
	}
}
