package stream

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lockstep/internal/fault"
)

// unwritable returns a folder in which no object finds a place, whoever asks.
func unwritable(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for i := range 256 {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%02x", i)), nil, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestPrefillSaysWhatIsKept: text that was fetched and is not in the cache is an
// error of the command that was to bring it there.
func TestPrefillSaysWhatIsKept(t *testing.T) {
	h, _ := hubOf(t, texts(300), texts(300))
	segments := []Segment{{First: 0, Rows: 600}}
	for name, tt := range map[string]struct {
		change func(r *Remote)
		kind   fault.Kind
		says   string
	}{
		"sound":      {func(*Remote) {}, fault.None, ""},
		"no cache":   {func(r *Remote) { r.CacheDir = "" }, fault.Config, "no cache"},
		"unwritable": {func(r *Remote) { r.CacheDir = unwritable(t) }, fault.Environment, "cannot be kept"},
		"one piece":  {func(r *Remote) { r.CacheBytes = 2000 }, fault.Environment, "too small for a piece"},
		"all pieces": {func(r *Remote) { r.CacheBytes = 12_000 }, fault.Environment, "holds only"},
	} {
		for _, source := range []string{hubName, "rows://org/fineweb/default"} {
			r := reach(h)
			r.CacheDir = t.TempDir()
			tt.change(&r)
			if strings.HasPrefix(source, rowsScheme) && name == "all pieces" {
				r.CacheBytes = 80_000
			}
			err := Prefill(ctx, openWith(t, r, source), segments, func(Fetched) {})
			if fault.KindOf(err) != tt.kind || tt.says != "" && !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%s of %s: %v", name, source, err)
			}
		}
	}
	h.Commit = "" // the rows API then sends no revision
	r := reach(h)
	r.CacheDir = t.TempDir()
	if err := Prefill(ctx, openWith(t, r, "rows://org/fineweb/default"), segments, func(Fetched) {}); fault.KindOf(err) != fault.Config || !strings.Contains(err.Error(), "revision") {
		t.Errorf("no revision: %v", err)
	}
}

// TestFullDiskIsTold: a run goes on without its cache, and says so once.
func TestFullDiskIsTold(t *testing.T) {
	h, _ := hubOf(t, texts(300))
	r := reach(h)
	r.CacheDir = unwritable(t)
	var told []error
	r.Notice = func(err error, wait time.Duration) {
		if wait == 0 {
			told = append(told, err)
		}
	}
	for i, name := range []string{hubName, "rows://org/fineweb/default"} {
		if rows := all(t, openWith(t, r, name)); len(rows) != 300 {
			t.Errorf("%s: %d rows", name, len(rows))
		}
		if len(told) != i+1 {
			t.Errorf("%s: told %v", name, told)
		}
	}
}
