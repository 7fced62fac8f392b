package client

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lockstep/hub"
	"lockstep/hub/server"
	"lockstep/internal/fault"
)

// TestPagesInsteadOfAFile resumes a download while a login page is served, of a
// known length and of none: what was fetched stays, and is gone on with.
func TestPagesInsteadOfAFile(t *testing.T) {
	w := newWorld(t, server.Options{})
	pushed, err := push(w, 1, epochOne)
	if err != nil {
		t.Fatal(err)
	}
	page := "<html>" + strings.Repeat("log in", 10)
	for name, header := range map[string]string{"a length": fmt.Sprintf("Content-Length: %d", len(page)), "no length": "Content-Type: text/html"} {
		r := w.again(t, Config{Cache: t.TempDir()})
		part := r.cache().blob(etagOf("weights one")) + ".lockstep.incomplete"
		if err := errors.Join(os.MkdirAll(filepath.Dir(part), 0o777), os.WriteFile(part, []byte("weigh"), 0o666)); err != nil {
			t.Fatal(err)
		}
		w.line.fault = func(r *http.Request, _ int) *mishap {
			if has("GET", "/resolve/")(r) {
				return &mishap{status: 200, header: header, body: page}
			}
			return nil
		}
		if _, err := read(r, pushed.Commit.ID, "model.safetensors"); fault.KindOf(err) != fault.Network || !strings.Contains(err.Error(), "login page") {
			t.Errorf("%s: %v", name, err)
		}
		if left, err := os.ReadFile(part); err != nil || string(left) != "weigh" {
			t.Errorf("%s: %q is left, %v", name, left, err)
		}
		w.line.fault = nil
		if got, err := read(r, pushed.Commit.ID, "model.safetensors"); err != nil || got != "weights one" {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

// TestFilesThatArePages downloads from a server that guesses types and knows no
// ranges, with a length and without.
func TestFilesThatArePages(t *testing.T) {
	const content = `<p align="center">A model</p>`
	for path, length := range map[string]bool{"README.md": true, "index.html": false} {
		w := newWorld(t, server.Options{})
		c, err := w.Commit(ctx, hub.CommitRequest{Parent: head(t, w).ID, Message: "x", Add: []hub.Content{text(path, content)}})
		if err != nil {
			t.Fatal(err)
		}
		w.line.fault = func(r *http.Request, _ int) *mishap {
			if !has("GET", "/resolve/")(r) {
				return nil
			}
			header := "Content-Type: text/html"
			if length {
				header += fmt.Sprintf("\nContent-Length: %d", len(content))
			}
			return &mishap{status: 200, header: header, body: content}
		}
		if got, err := read(w, c.ID, path); err != nil || got != content {
			t.Errorf("%s: %q, %v", path, got, err)
		}
	}
}
