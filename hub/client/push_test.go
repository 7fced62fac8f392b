package client

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"lockstep/hub"
	"lockstep/hub/server"
	"lockstep/internal/fault"
)

var epochOne = []hub.Content{text("config.json", "{}"), text("model.safetensors", "weights one"), text("README.md", "# one")}

func push(r hub.Repository, epoch uint64, files []hub.Content) (hub.Pushed, error) {
	return hub.PushEpoch(ctx, r, epoch, files, "epoch", patient(nil))
}

// commits counts the history.
func commits(t testing.TB, r hub.Repository) (n int) {
	t.Helper()
	for at := head(t, r); ; n++ {
		if at.Parent == "" {
			return n
		}
		var err error
		if at, err = r.Resolve(ctx, at.Parent); err != nil {
			t.Fatal(err)
		}
	}
}

// TestPushTwice pushes an epoch again, by another client: the tag is compared
// and left alone, also when only the commit had got through the first time.
func TestPushTwice(t *testing.T) {
	w := newWorld(t, server.Options{})
	first, err := push(w, 1, epochOne)
	if err != nil || first.Existed || first.Attempts != 1 {
		t.Fatalf("%+v, %v", first, err)
	}
	other := w.again(t, Config{Cache: t.TempDir()})
	if again, err := push(other, 1, epochOne); err != nil || !again.Existed || again.Commit != first.Commit {
		t.Errorf("again: %+v, %v", again, err)
	}
	// The same files under the next number: nothing changed, so the head is tagged.
	if next, err := push(w, 2, epochOne); err != nil || next.Commit.ID != first.Commit.ID || commits(t, w) != 1 {
		t.Errorf("unchanged files: %+v, %v, %d commits", next, err, commits(t, w))
	}
	for name, changed := range map[string]hub.Content{"a large file": text("model.safetensors", "weights ONE"), "a small file": text("config.json", "{ }"), "another size": text("config.json", "")} {
		var conflict *hub.TagConflictError
		_, err := push(other, 1, []hub.Content{epochOne[2], changed})
		if !errors.As(err, &conflict) || conflict.Path != changed.Path || fault.KindOf(err) != fault.Refused {
			t.Errorf("%s is another: %v", name, err)
		}
	}
}

// TestPushThroughMishaps pushes an epoch while one kind of request fails, before
// or after it took effect. There is one commit and one tag in the end.
func TestPushThroughMishaps(t *testing.T) {
	kinds := map[string]func(r *http.Request) bool{
		"preupload": has("POST", "/preupload/"), "batch": has("POST", "/objects/batch"), "upload": has("PUT", "/lfs/put/"),
		"verify": has("POST", "/info/lfs/verify"), "commit": has("POST", "/commit/"), "tag": has("POST", "/tag/"),
		"refs": has("GET", "/refs"), "head": has("GET", "/commits/"), "revision": has("GET", "/revision/"),
	}
	mishaps := map[string]mishap{
		"no connection": {down: true}, "lost answer": {lost: true}, "500": {status: 500}, "503 for later": {status: 503, header: "Retry-After: 3"},
		"429": {status: 429, header: `RateLimit: "api";r=0;t=7`}, "cut answer": {cut: 1}, "a web page": {status: 200, body: "<html>login</html>"},
	}
	for kind, matches := range kinds {
		for name, m := range mishaps {
			t.Run(kind+"/"+name, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, server.Options{})
				times := 0
				w.line.fault = func(r *http.Request, _ int) *mishap {
					if !matches(r) || times == 2 {
						return nil
					}
					times++
					return &m
				}
				pushed, err := push(w, 1, epochOne)
				// After a lost or cut answer the thing is done, and seen to be done.
				done := m.lost || m.cut > 0
				if err != nil || times == 0 || times == 1 && !done {
					t.Fatalf("%v after %d mishaps", err, times)
				}
				w.line.fault = nil
				tags, err := w.Tags(ctx)
				if err != nil || len(tags) != 1 || tags[0].Commit != pushed.Commit.ID || commits(t, w) != 1 || head(t, w).ID != pushed.Commit.ID {
					t.Errorf("tags %v, %d commits, %v", tags, commits(t, w), err)
				}
				if got, err := read(w, "1", "model.safetensors"); err != nil || got != "weights one" {
					t.Errorf("%q, %v", got, err)
				}
			})
		}
	}
}

func has(method, part string) func(*http.Request) bool {
	return func(r *http.Request) bool { return r.Method == method && strings.Contains(r.URL.Path, part) }
}

// TestPushLosesARace lets another miner push something between our look and our
// commit.
func TestPushLosesARace(t *testing.T) {
	for name, theirs := range map[string]struct {
		epoch uint64
		files []hub.Content
	}{
		"another epoch":  {7, []hub.Content{text("config.json", "{7}")}},
		"the same epoch": {1, epochOne},
	} {
		w := newWorld(t, server.Options{})
		other := w.again(t, Config{Cache: t.TempDir()})
		raced := false
		w.line.fault = func(r *http.Request, _ int) *mishap {
			if raced || !has("POST", "/commit/")(r) {
				return nil
			}
			raced = true
			w.line.mu.Unlock()
			defer w.line.mu.Lock()
			if _, err := push(other, theirs.epoch, theirs.files); err != nil {
				t.Error(err)
			}
			return nil
		}
		pushed, err := push(w, 1, epochOne)
		if err != nil || !raced || pushed.Attempts != 2 || pushed.Existed != (theirs.epoch == 1) {
			t.Errorf("%s: %+v, %v", name, pushed, err)
		}
		if got, err := read(w, "1", "config.json"); err != nil || got != "{}" {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

// TestPushGivesUp checks the errors of what does not pass.
func TestPushGivesUp(t *testing.T) {
	for _, c := range []struct {
		name   string
		m      mishap
		kind   fault.Kind
		says   string
		sent   int // requests at the most
		waited bool
	}{
		{"outage", mishap{down: true}, fault.Network, "connection refused", 36, true},
		{"server errors", mishap{status: 502, body: "<html>bad gateway</html>"}, fault.Network, "with a web page", 36, true},
		{"bad token", mishap{status: 401, body: `{"error":"Invalid credentials"}`}, fault.Refused, "set HF_TOKEN", 1, false},
		{"no right", mishap{status: 403, body: `{"error":["You don't have", "the rights"]}`}, fault.Refused, "You don't have; the rights", 1, false},
		{"quota for long", mishap{status: 429, header: `RateLimit: "api";r=0;t=250`}, fault.Network, "asks for a wait of 4m11s", 1, false},
		{"a login page", mishap{status: 200, body: "<html>log in</html>"}, fault.Network, "a login page in between", 36, true},
	} {
		w := newWorld(t, server.Options{})
		w.line.fault = func(*http.Request, int) *mishap { return &c.m }
		var waits []time.Duration
		_, err := hub.PushEpoch(ctx, w, 1, epochOne, "epoch", patient(&waits))
		if err == nil || fault.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), w.server.WriteToken()) {
			t.Errorf("%s: %v, %v", c.name, fault.KindOf(err), err)
		}
		if len(w.line.sent) > c.sent || (len(w.waits)+len(waits) > 0) != c.waited {
			t.Errorf("%s: %d requests, %d waits", c.name, len(w.line.sent), len(w.waits)+len(waits))
		}
	}
}
