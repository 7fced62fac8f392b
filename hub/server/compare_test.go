package server

import (
	"context"
	"errors"
	"fmt"
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

// TestConfigurationsOpenAFewAtATime asks for more configurations than may open at
// once: the last one waits, and one whose client leaves meanwhile leaves it to
// the next who asks.
func TestConfigurationsOpenAFewAtATime(t *testing.T) {
	g := &gate{opened: map[string]int{}, wait: make(chan struct{})}
	s := newSite(t, Options{Rows: g.open})
	s.must(200, "POST", "/api/repos/create", `{"name":"text","organization":"a","type":"dataset"}`)
	files := header("x", "") + inline("last/a.jsonl", "last\n")
	for i := range maxOpened {
		files += inline(fmt.Sprintf("c%d/a.jsonl", i), "slow\n")
	}
	s.must(200, "POST", "/api/datasets/a/text/commit/main", files)
	opened := func(first string) int {
		g.mu.Lock()
		defer g.mu.Unlock()
		return g.opened[first]
	}
	var others sync.WaitGroup
	for i := range maxOpened {
		others.Go(func() { s.do("GET", fmt.Sprintf("/rows?dataset=a/text&config=c%d&split=train", i), "") })
	}
	for opened("slow") < maxOpened {
		time.Sleep(time.Millisecond)
	}
	gone, leave := context.WithCancel(ctx)
	ask := func(ctx context.Context) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		s.s.ServeHTTP(w, httptest.NewRequest("GET", "/rows?dataset=a/text&config=last&split=train", nil).WithContext(ctx))
		return w
	}
	users := func() (n int) {
		s.s.opened.mu.Lock()
		defer s.s.opened.mu.Unlock()
		for key, h := range s.s.opened.held {
			if strings.HasSuffix(key, " last") {
				n = h.users
			}
		}
		return n
	}
	others.Go(func() { ask(gone) })
	for users() < 1 && opened("last") == 0 {
		time.Sleep(time.Millisecond)
	}
	others.Go(func() {
		if w := ask(ctx); w.Code != 200 {
			t.Errorf("who stays is answered %d: %s", w.Code, w.Body)
		}
	})
	for users() < 2 && opened("last") == 0 {
		time.Sleep(time.Millisecond)
	}
	leave()
	if n := opened("last"); n != 0 {
		t.Errorf("%d more than %d configurations are being opened", n, maxOpened)
	}
	close(g.wait)
	others.Wait()
	if opened("last") != 1 || len(s.s.opened.opening) != 0 {
		t.Errorf("the last one was opened %d times; %d are still being opened", opened("last"), len(s.s.opened.opening))
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
