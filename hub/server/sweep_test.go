package server

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestUncommittedContentGoes uploads an object that is never committed, and
// sends contents in commits that are refused: in the end only what a commit
// names is there.
func TestUncommittedContentGoes(t *testing.T) {
	s, _ := newModel(t, Options{})
	blobs := filepath.Join(s.s.root, "models", "a", "m", "blobs")
	count := func() int {
		t.Helper()
		entries, err := os.ReadDir(blobs)
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	before := count()
	s.must(412, "POST", "/api/models/a/m/commit/main", header("late", strings.Repeat("0", 40))+inline("x", "late"))
	s.must(400, "POST", "/api/models/a/m/commit/main", header("twice", "")+inline("x", "1")+inline("x", "2"))
	if count() != before {
		t.Errorf("%d contents of refused commits are stored", count()-before)
	}
	for _, content := range []string{"lost", "asked for again"} {
		s.must(200, "PUT", s.batch(content, "sha256").Actions.Upload.Href, content)
	}
	old := time.Now().Add(-2 * abandoned)
	for _, content := range []string{"lost", "asked for again", "weights"} {
		if err := os.Chtimes(filepath.Join(blobs, digest(content)), old, old); err != nil {
			t.Fatal(err)
		}
	}
	s.s.sweep(ctx, time.Now())
	if count() != before+2 {
		t.Errorf("%d blobs are left of %d that came just now", count(), before+2)
	}
	later := time.Now().Add(abandoned)
	if again := s.batch("asked for again", "sha256"); again.Actions != nil {
		t.Errorf("what is stored is asked for again: %+v", again.Actions)
	}
	s.s.sweep(ctx, later)
	if count() != before+1 {
		t.Errorf("%d blobs are left, want %d", count(), before+1)
	}
	s.must(200, "POST", "/api/models/a/m/commit/main", header("in the end", "")+large("x.bin", digest("asked for again"), len("asked for again")))
	s.must(200, "GET", "/a/m/resolve/main/model.safetensors", "")
}

// TestSweepWhileARepositoryIsCopied sweeps when marker and blobs are there and
// the commits are still to come: the blobs stay, and no commit is made.
func TestSweepWhileARepositoryIsCopied(t *testing.T) {
	var log bytes.Buffer
	s, head := newModel(t, Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	log.Reset()
	folder := filepath.Join(s.s.root, "models", "a", "m")
	aside := t.TempDir()
	for _, dir := range []string{"commits", "refs"} {
		if err := os.Rename(filepath.Join(folder, dir), filepath.Join(aside, dir)); err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Join(folder, dir, "heads"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	fresh, err := New(s.s.root, Options{})
	if err != nil {
		t.Fatal(err)
	}
	fresh.sweep(ctx, time.Now().Add(2*abandoned))
	if left, err := filepath.Glob(filepath.Join(folder, "*", "*", "main")); err != nil || len(left) > 0 {
		t.Errorf("the sweep made a commit: %v, %v", left, err)
	}
	for _, dir := range []string{"commits", "refs"} {
		if err := errors.Join(os.RemoveAll(filepath.Join(folder, dir)), os.Rename(filepath.Join(aside, dir), filepath.Join(folder, dir))); err != nil {
			t.Fatal(err)
		}
	}
	if r := s.must(200, "GET", "/a/m/resolve/"+head+"/model.safetensors", ""); r.text() != "weights" {
		t.Errorf("after the copy: %s", r.body)
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	log.Reset()
	s.s.sweep(ended, time.Now())
	if log.Len() > 0 {
		t.Errorf("a server that ends complains: %s", log.String())
	}
}
