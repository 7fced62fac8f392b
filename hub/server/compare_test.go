package server

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"lockstep/hub"
	"lockstep/internal/merkle"
)

// TestHeadersDoNotWaitForTheComparison damages a large file: who asks for its
// headers has them, who asks for its bytes does not get wrong ones.
func TestHeadersDoNotWaitForTheComparison(t *testing.T) {
	s, _ := newModel(t, Options{})
	blob := filepath.Join(s.s.root, "models", "a", "m", "blobs", digest("weights"))
	if err := errors.Join(os.Chmod(blob, 0o644), os.WriteFile(blob, []byte("damaged"), 0o644)); err != nil {
		t.Fatal(err)
	}
	fresh, err := New(s.s.root, Options{}) // has compared nothing yet
	if err != nil {
		t.Fatal(err)
	}
	s.http.Config.Handler = fresh
	if r := s.do("HEAD", "/a/m/resolve/main/model.safetensors", ""); r.StatusCode != http.StatusOK || r.Header.Get("ETag") != quote(digest("weights")) {
		t.Errorf("HEAD: %s, %v", r.Status, r.Header)
	}
	if r := s.do("GET", "/a/m/resolve/main/model.safetensors", ""); r.StatusCode != http.StatusInternalServerError {
		t.Errorf("damaged content is answered with %s", r.Status)
	}
}

// TestOneComparisonOfABlobAtATime lets a caller wait for another's comparison:
// as long as that lasts, and no longer than its own client does.
func TestOneComparisonOfABlobAtATime(t *testing.T) {
	s, _ := newModel(t, Options{})
	r, err := s.s.repos.find(ctx, repoName{"models", "a", "m"})
	if err != nil {
		t.Fatal(err)
	}
	sum, err := merkle.ParseDigest(digest("weights"))
	if err != nil {
		t.Fatal(err)
	}
	info := hub.FileInfo{Path: "x", Size: 7, SHA256: sum}
	other := make(chan struct{})
	r.checking.Store(sum, other)
	gone, cancel := context.WithCancel(ctx)
	cancel()
	if err := r.compare(gone, info); !errors.Is(err, context.Canceled) {
		t.Errorf("a caller whose client has left: %v", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- r.compare(ctx, info) }()
	select {
	case err := <-ended:
		t.Fatalf("two compare one blob at once: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	r.checking.Delete(sum) // the other failed
	close(other)
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if _, ok := r.checked.Load(sum); !ok {
		t.Error("what was compared is not remembered")
	}
	if _, busy := r.checking.Load(sum); busy {
		t.Error("the comparison did not end")
	}
}

// gate is a source of rows that opens when it is told to.
type gate struct {
	mu     sync.Mutex
	opened map[string]int
	wait   chan struct{}
}

func (g *gate) open(ctx context.Context, folder string) (RowSource, error) {
	closed := 0
	source, err := openLines(&closed)(ctx, folder)
	if err != nil {
		return nil, err
	}
	first := source.(lines).rows[0]
	g.mu.Lock()
	g.opened[first]++
	g.mu.Unlock()
	if first == "slow" {
		<-g.wait
	}
	return source, nil
}

// TestSlowConfigurationsKeepNobodyWaiting opens a configuration that takes its
// time, twice: it is opened once, and another one is served meanwhile.
func TestSlowConfigurationsKeepNobodyWaiting(t *testing.T) {
	g := &gate{opened: map[string]int{}, wait: make(chan struct{})}
	s := newSite(t, Options{Rows: g.open})
	s.must(200, "POST", "/api/repos/create", `{"name":"text","organization":"a","type":"dataset"}`)
	s.must(200, "POST", "/api/datasets/a/text/commit/main", header("x", "")+inline("slow/a.jsonl", "slow\n")+inline("fast/a.jsonl", "fast\n"))
	var slow sync.WaitGroup
	for range 2 {
		slow.Go(func() {
			if r := s.do("GET", "/rows?dataset=a/text&config=slow&split=train", ""); r.StatusCode != 200 || !strings.Contains(r.text(), `"slow"`) {
				t.Errorf("%s: %s", r.Status, r.body)
			}
		})
	}
	for begun := false; !begun; time.Sleep(time.Millisecond) {
		g.mu.Lock()
		begun = g.opened["slow"] > 0
		g.mu.Unlock()
	}
	s.must(200, "GET", "/rows?dataset=a/text&config=fast&split=train", "")
	close(g.wait)
	slow.Wait()
	if g.opened["slow"] != 1 {
		t.Errorf("opened %d times", g.opened["slow"])
	}
}

// TestAPanicKeepsNobodyWaiting opens rows with a reader that panics: who asks for
// them again is not left waiting for the first.
func TestAPanicKeepsNobodyWaiting(t *testing.T) {
	s := newSite(t, Options{Rows: func(context.Context, string) (RowSource, error) { panic("a reader's bug") }})
	s.must(200, "POST", "/api/repos/create", `{"name":"text","organization":"a","type":"dataset"}`)
	s.must(200, "POST", "/api/datasets/a/text/commit/main", header("x", "")+inline("a.jsonl", "x\n"))
	limit, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for range 2 {
		func() {
			defer func() {
				if recover() == nil || limit.Err() != nil {
					t.Error("the reader did not panic, or was not asked")
				}
			}()
			r := httptest.NewRequest("GET", "/rows?dataset=a/text&config=default&split=train", nil)
			s.s.ServeHTTP(httptest.NewRecorder(), r.WithContext(limit))
		}()
	}
}
