package server

import (
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
	if again := s.batch("asked for again", "sha256"); again.Actions != nil {
		t.Errorf("what is stored is asked for again: %+v", again.Actions)
	}
	s.s.sweep(ctx, time.Now())
	if count() != before+1 {
		t.Errorf("%d blobs are left, want %d", count(), before+1)
	}
	s.must(200, "POST", "/api/models/a/m/commit/main", header("in the end", "")+large("x.bin", digest("asked for again"), len("asked for again")))
	s.must(200, "GET", "/a/m/resolve/main/model.safetensors", "")
}
