package stream

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lockstep/internal/fault"
	"lockstep/stream/parquet"
	"lockstep/stream/remote/fakehub"
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
	r := reach(h)
	r.CacheDir = t.TempDir()
	src := openWith(t, r, hubName).(*hubSource)
	if err := Prefill(ctx, src, segments, func(Fetched) {}); err != nil {
		t.Error(err)
	}
	for _, key := range []string{src.listKey(), src.footerKey(src.files[1])} {
		src.shelf.Remove(key)
		if err := Prefill(ctx, src, segments, func(Fetched) {}); fault.KindOf(err) != fault.Environment {
			t.Errorf("without %s: %v", key, err)
		}
		src.shelf.keep(key, nil)
	}
	h.Commit = "" // the rows API then sends no revision
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

// TestReopenedWhileAway: a run goes on with what the cache knows of a server that
// is away; a person is told how to.
func TestReopenedWhileAway(t *testing.T) {
	for name, down := range map[string]http.HandlerFunc{"503": fakehub.Status(503), "pages": fakehub.Page} {
		h, _ := hubOf(t, texts(200))
		r := reach(h)
		r.CacheDir = t.TempDir()
		r.Policy.Strangers, r.Policy.Patience = 2, 20*time.Millisecond
		const rowsName = "rows://org/fineweb/default"
		src := openWith(t, r, rowsName)
		want, err := src.Text(ctx, 150)
		if err != nil {
			t.Fatal(err)
		}
		pinned := openWith(t, r, hubName).Name()
		h.Change(func() { h.Fault = always(down) })
		if _, err := r.Open(ctx, rowsName); err == nil || !strings.Contains(err.Error(), "HF_HUB_OFFLINE=1") || !strings.Contains(err.Error(), h.Commit) {
			t.Errorf("%s: rows for a person: %v", name, err)
		}
		if _, err := r.Open(ctx, hubName); err == nil || !strings.Contains(err.Error(), "use "+pinned+" to go on") {
			t.Errorf("%s: a branch: %v", name, err)
		}
		if _, err := r.Open(ctx, pinned); err != nil {
			t.Errorf("%s: a commit: %v", name, err)
		}
		var told []error
		r.Steady = true
		r.Notice = func(err error, wait time.Duration) {
			if wait == 0 {
				told = append(told, err)
			}
		}
		again := openWith(t, r, rowsName)
		if got, err := again.Text(ctx, 150); err != nil || got != want || again.Identity() != src.Identity() {
			t.Errorf("%s: rows for a run: %+v, %v", name, got, err)
		}
		if len(told) != 1 || !strings.Contains(told[0].Error(), "from the cache") {
			t.Errorf("%s: told %v", name, told)
		}
		r.CacheDir = t.TempDir()
		if _, err := r.Open(ctx, rowsName); err == nil {
			t.Errorf("%s: nothing is in the cache, and no error", name)
		}
	}
}

// TestPrefillListsAnew: row groups that are listed from a wrong footer are not
// those that hold the rows.
func TestPrefillListsAnew(t *testing.T) {
	for name, change := range map[string]func(g []parquet.Group) []parquet.Group{
		"fewer": func(g []parquet.Group) []parquet.Group {
			g[0].Rows = 120
			return g[:1]
		},
		"more": func(g []parquet.Group) []parquet.Group {
			g[0].Rows, g[1].Rows, g[2].Rows = 10, 10, 10
			last := g[2]
			last.Rows = 90
			return append(g, last)
		},
	} {
		h, folder := hubOf(t, texts(120))
		r := reach(h)
		r.CacheDir = t.TempDir()
		src := openWith(t, r, hubName).(*hubSource)
		_, column := footerOf(t, h.Files[firstFile])
		column.Groups = change(column.Groups)
		wrong, err := json.Marshal(footer{Column: column})
		if err != nil {
			t.Fatal(err)
		}
		src.shelf.keep(src.footerKey(src.files[0]), wrong)
		if err := Prefill(ctx, src, []Segment{{First: 0, Rows: 120}}, func(Fetched) {}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		r.Offline = true
		if got, want := all(t, openWith(t, r, hubName)), all(t, open(t, folder)); got[119].Digest != want[119].Digest {
			t.Errorf("%s: %+v", name, got[119])
		}
	}
}

// TestPrefillOfRowsThatChange: pages that do not fit what the source was opened
// with are damage, whoever fetches them.
func TestPrefillOfRowsThatChange(t *testing.T) {
	h, _ := hubOf(t, texts(300))
	r := reach(h)
	r.CacheDir = t.TempDir()
	src := openWith(t, r, "rows://org/fineweb/default")
	h.Change(func() { h.Rows = h.Rows[:299] })
	err := Prefill(ctx, src, []Segment{{First: 0, Rows: 300}}, func(Fetched) {})
	if !errors.As(err, new(*DamageError)) || !strings.Contains(err.Error(), "has 299 rows and had 300") || !strings.Contains(err.Error(), src.Name()) {
		t.Errorf("%v", err)
	}
}

// TestRowsWithoutRevision: nothing is kept of rows of an unknown revision, so
// the cache opens no source of them.
func TestRowsWithoutRevision(t *testing.T) {
	h, _ := hubOf(t, texts(200))
	h.Commit = ""
	r := reach(h)
	r.CacheDir = t.TempDir()
	r.Policy.Strangers, r.Policy.Patience = 2, 20*time.Millisecond
	const name = "rows://org/fineweb/default"
	openWith(t, r, name)
	h.Change(func() { h.Fault = always(fakehub.Status(503)) })
	for _, r.Steady = range []bool{false, true} {
		if _, err := r.Open(ctx, name); fault.KindOf(err) != fault.Network || strings.Contains(err.Error(), "it had revision") {
			t.Errorf("steady %v: %v", r.Steady, err)
		}
	}
}

// TestPageThatNoLongerFits: a page that was kept when the server had other rows
// of the same revision is fetched again.
func TestPageThatNoLongerFits(t *testing.T) {
	h, _ := hubOf(t, texts(300))
	r := reach(h)
	r.CacheDir = t.TempDir()
	const name = "rows://org/fineweb/default"
	rows := h.Rows
	h.Rows = rows[:150]
	all(t, openWith(t, r, name))
	h.Change(func() { h.Rows = rows })
	if got := all(t, openWith(t, r, name)); len(got) != 300 {
		t.Errorf("%d rows", len(got))
	}
	r.Offline = true
	if got := all(t, openWith(t, r, name)); len(got) != 300 {
		t.Errorf("from the cache: %d rows", len(got))
	}
}
