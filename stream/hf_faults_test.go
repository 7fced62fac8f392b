package stream

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"

	"lockstep/internal/fault"
	"lockstep/internal/httpx"
	"lockstep/stream/remote"
	"lockstep/stream/remote/fakehub"
)

// rough makes a server fail as the worst day of a real one: three of ten
// answers are errors, every third body breaks off, answers overtake each other,
// signed addresses expire.
func rough(h *fakehub.Hub) {
	h.Change(func() {
		h.Fault = func(_ *http.Request, n int) http.HandlerFunc {
			time.Sleep(time.Duration(n*7%5) * time.Millisecond)
			switch n % 10 {
			case 3:
				return fakehub.Status(http.StatusInternalServerError)
			case 6:
				return fakehub.Status(http.StatusTooManyRequests, "RateLimit", `"resolvers";r=7;t=100`)
			case 9:
				return fakehub.Status(http.StatusBadGateway, "Content-Type", "text/html")
			}
			return nil
		}
		h.Cut = func(_ *http.Request, n int) int {
			if n%3 == 0 {
				return n * 37 % 900
			}
			return -1
		}
	})
}

// TestRoughServer: what is trained on does not depend on the weather.
func TestRoughServer(t *testing.T) {
	noLeak(t)
	h, folder := hubOf(t, texts(300), texts(200), texts(300))
	segments := []Segment{{First: 30, Rows: 60}, {First: 470, Rows: 100}, {First: 700, Rows: 80}}
	want, err := Load(ctx, open(t, folder), gpt2(t), segments, 64, 40)
	if err != nil {
		t.Fatal(err)
	}
	rough(h)
	for _, name := range []string{hubName, "rows://org/fineweb/default"} {
		src := openWith(t, reach(h), name)
		stop := make(chan struct{})
		var expiring sync.WaitGroup
		expiring.Go(func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(20 * time.Millisecond):
					h.Expire()
				}
			}
		})
		Ahead(src, segments)
		got, err := Load(ctx, src, gpt2(t), segments, 64, 40)
		close(stop)
		expiring.Wait()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got.RowsDigest != want.RowsDigest || got.TokensDigest != want.TokensDigest {
			t.Errorf("%s: other rows or tokens", name)
		}
	}
}

// TestOutage: a server that is gone for a while costs time only; one that stays
// away is an error that names it, and the next attempt goes on.
func TestOutage(t *testing.T) {
	h, _ := hubOf(t, texts(200))
	r := reach(h)
	src := openWith(t, r, hubName)
	down := time.Now().Add(300 * time.Millisecond)
	h.Change(func() {
		h.Fault = func(*http.Request, int) http.HandlerFunc {
			if time.Now().Before(down) {
				return func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
			}
			return nil
		}
	})
	if _, err := src.Text(ctx, 0); err != nil {
		t.Fatal(err)
	}
	r.Policy.Patience = 30 * time.Millisecond
	src = openWith(t, r, hubName)
	h.Change(func() { h.Fault = func(*http.Request, int) http.HandlerFunc { return fakehub.Status(503) } })
	_, err := src.Text(ctx, 0)
	if fault.KindOf(err) != fault.Network || !strings.Contains(err.Error(), "/sample/000.parquet: footer: GET ") || !strings.Contains(err.Error(), "503") {
		t.Errorf("%v", err)
	}
	h.Change(func() { h.Fault = nil })
	if _, err := src.Text(ctx, 0); err != nil {
		t.Errorf("the server is back, and: %v", err)
	}
}

// TestOffline: what is in the cache is there without a network, and what is
// not says so.
func TestOffline(t *testing.T) {
	h, _ := hubOf(t, texts(100), texts(100))
	r := reach(h)
	r.CacheDir = t.TempDir()
	for _, name := range []string{hubName, "rows://org/fineweb/default"} {
		src := openWith(t, r, name)
		row, err := src.Text(ctx, 5)
		if err != nil {
			t.Fatal(err)
		}
		off := r
		off.Offline = true
		h.Log()
		dark := openWith(t, off, name)
		if got, err := dark.Text(ctx, 5); err != nil || got != row || dark.Identity() != src.Identity() {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
		if _, err := dark.Text(ctx, 150); !errors.Is(err, httpx.ErrOffline) || fault.KindOf(err) != fault.Network {
			t.Errorf("%s: a row that is not there: %v", name, err)
		}
		off.CacheDir = t.TempDir()
		if _, err := off.Open(ctx, name); !errors.Is(err, httpx.ErrOffline) {
			t.Errorf("%s: an empty cache: %v", name, err)
		}
		if n, _ := traffic(h); n != 0 {
			t.Errorf("%s: %d requests offline", name, n)
		}
	}
}

// cached counts the objects in a cache.
func cached(t testing.TB, dir string) (n int) {
	t.Helper()
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			n++
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestDamageIsNotKept: bytes that do not decode are a Damaged error with file
// and row group; nothing of them is cached, and sound ones are taken next time.
func TestDamageIsNotKept(t *testing.T) {
	h, folder := hubOf(t, texts(80))
	r := reach(h)
	r.CacheDir = t.TempDir()
	src := openWith(t, r, hubName)
	file, err := src.(*hubSource).file(ctx, 0)
	if err != nil {
		t.Fatal(err)
	}
	g := file.column.Groups[1]
	before := cached(t, r.CacheDir)
	sound := h.Files["sample/000.parquet"]
	broken := bytes.Clone(sound)
	for i := g.Start + 30; i < g.End; i += 3 {
		broken[i] ^= 0x55
	}
	var damaged atomic.Bool
	damaged.Store(true)
	h.Change(func() {
		h.Fault = func(q *http.Request, _ int) http.HandlerFunc { // a proxy that flips bits and keeps the headers
			if q.URL.Query().Get("signature") == "" || !damaged.Load() {
				return nil
			}
			return func(w http.ResponseWriter, q *http.Request) {
				w.Header().Set("ETag", `"`+fakehub.Digest(sound)[:32]+`"`)
				http.ServeContent(w, q, "", time.Time{}, bytes.NewReader(broken))
			}
		}
	})
	_, err = src.Text(ctx, 50)
	var d *DamageError
	if !errors.As(err, &d) || !strings.Contains(err.Error(), "sample/000.parquet") || !strings.Contains(err.Error(), "row group 1") {
		t.Fatalf("%v", err)
	}
	if n := cached(t, r.CacheDir); n != before {
		t.Errorf("%d objects were kept of damaged bytes", n-before)
	}
	damaged.Store(false)
	row, err := src.Text(ctx, 50)
	if want := all(t, open(t, folder))[50]; err != nil || row.Digest != want.Digest {
		t.Errorf("%+v, %v", row, err)
	}
}

// TestHubRefusals: what a person reads when a source cannot be opened.
func TestHubRefusals(t *testing.T) {
	short := quick
	short.Patience, short.Strangers = 20*time.Millisecond, 2
	for name, tt := range map[string]struct {
		name   string
		change func(h *fakehub.Hub, r *Remote)
		kind   fault.Kind
		says   []string
	}{
		"no network":    {hubName, func(h *fakehub.Hub, _ *Remote) { h.Hub.Close() }, fault.Network, []string{"no connection", "HF_HUB_OFFLINE"}},
		"401":           {hubName, func(h *fakehub.Hub, r *Remote) { h.Token = "hf_other" }, fault.Refused, []string{"401", "HF_TOKEN"}},
		"404":           {"hf://datasets/org/other", nil, fault.Refused, []string{"404", "Repository not found"}},
		"no revision":   {"hf://datasets/org/fineweb@v7/sample", nil, fault.Refused, []string{"Invalid rev id"}},
		"no folder":     {"hf://datasets/org/fineweb/sample-7", nil, fault.Refused, []string{"sample-7", "configurations"}},
		"429 for long":  {hubName, func(h *fakehub.Hub, _ *Remote) { h.Fault = always(fakehub.Status(429, "Retry-After", "3600")) }, fault.Network, []string{"429", "wait of 1h0m1s", "quota"}},
		"500 for long":  {hubName, func(h *fakehub.Hub, _ *Remote) { h.Fault = always(fakehub.Status(500)) }, fault.Network, []string{"500", "tries"}},
		"web page":      {hubName, func(h *fakehub.Hub, _ *Remote) { h.Fault = always(fakehub.Page) }, fault.Damaged, []string{"web page", "login"}},
		"not parquet":   {hubName, func(h *fakehub.Hub, _ *Remote) { h.Files["sample/001.parquet"] = []byte("a text that is no parquet") }, fault.Damaged, []string{"sample/001.parquet", "footer", "PAR1"}},
		"cut off":       {hubName, func(h *fakehub.Hub, _ *Remote) { h.Files["sample/001.parquet"] = h.Files["sample/000.parquet"][:900] }, fault.Damaged, []string{"sample/001.parquet", "PAR1"}},
		"an empty file": {hubName, func(h *fakehub.Hub, _ *Remote) { h.Files["sample/001.parquet"] = nil }, fault.Damaged, []string{"too few"}},
		"no such file":  {"hf://datasets/org/fineweb/sample/nope.parquet", nil, fault.Refused, []string{`no file "sample/nope.parquet"`}},
		"only text":     {hubName, func(h *fakehub.Hub, _ *Remote) { h.Files = map[string][]byte{"sample/a.txt": []byte("x")} }, fault.Config, []string{"no .parquet file"}},
		"unknown kind":  {"s3://bucket/x", nil, fault.Config, []string{"hf:// and rows://"}},
		"rows, short":   {"rows://org/fineweb", nil, fault.Config, []string{"CONFIG"}},
		"rows, 404":     {"rows://org/fineweb/other", nil, fault.Refused, []string{"404", "Not found"}},
		"rows, partial": {"rows://org/fineweb/default", func(h *fakehub.Hub, _ *Remote) { h.Partial = true }, fault.Config, []string{"beginning", "hf://"}},
		"rows, page":    {"rows://org/fineweb/default", func(h *fakehub.Hub, _ *Remote) { h.Fault = always(fakehub.Page) }, fault.Damaged, []string{"web page"}},
		"bad endpoint":  {hubName, func(_ *fakehub.Hub, r *Remote) { r.Endpoint = "localhost" }, fault.Config, []string{"no address"}},
	} {
		h, _ := hubOf(t, texts(50))
		r := reach(h)
		r.Policy = short
		r.CacheDir = t.TempDir()
		if tt.change != nil {
			tt.change(h, &r)
		}
		_, err := r.Open(ctx, tt.name)
		if fault.KindOf(err) != tt.kind {
			t.Errorf("%s: %v %v", name, fault.KindOf(err), err)
			continue
		}
		for _, says := range tt.says {
			if !strings.Contains(err.Error(), says) {
				t.Errorf("%s: %v says nothing of %q", name, err, says)
			}
		}
	}
}

func always(answer http.HandlerFunc) func(*http.Request, int) http.HandlerFunc {
	return func(*http.Request, int) http.HandlerFunc { return answer }
}

// TestRemoteColumnRefusals: files that are whole and of no use.
func TestRemoteColumnRefusals(t *testing.T) {
	var buf bytes.Buffer
	w := parquet.NewGenericWriter[struct {
		Body string `parquet:"body"`
	}](&buf)
	if _, err := w.Write([]struct {
		Body string `parquet:"body"`
	}{{"x"}}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	h := fakehub.New(t)
	h.Files["sample/a.parquet"] = buf.Bytes()
	_, err := openWith(t, reach(h), hubName).Text(ctx, 0)
	if fault.KindOf(err) != fault.Damaged || !strings.Contains(err.Error(), `no column "text"; the columns are ["body"]`) {
		t.Errorf("%v", err)
	}
	r := reach(h)
	r.Steady = true // a run is refused before it begins
	if _, err := r.Open(ctx, hubName); fault.KindOf(err) != fault.Damaged || !strings.Contains(err.Error(), `no column "text"`) {
		t.Errorf("a run: %v", err)
	}
}

// TestChangedInUse: the source notices another file under the pinned commit,
// and another revision of rows.
func TestChangedInUse(t *testing.T) {
	for _, direct := range []bool{false, true} {
		h, _ := hubOf(t, texts(300))
		h.Direct = direct
		src, rows := openWith(t, reach(h), hubName), openWith(t, reach(h), "rows://org/fineweb/default")
		if _, err := src.Text(ctx, 0); err != nil {
			t.Fatal(err)
		}
		h.Change(func() { // of the same length: only the ETag tells
			other := bytes.Clone(h.Files[firstFile])
			other[10] ^= 1
			h.Files[firstFile] = other
		})
		var changed *remote.ChangedError
		if _, err := src.Text(ctx, 200); !errors.As(err, &changed) || !strings.Contains(err.Error(), "ETag") && !strings.Contains(err.Error(), "digest") {
			t.Errorf("direct %v: %v", direct, err)
		}
		h.Change(func() { h.Commit = strings.Repeat("e", 40) })
		if _, err := rows.Text(ctx, 200); fault.KindOf(err) != fault.Damaged || !strings.Contains(err.Error(), "changed from revision") {
			t.Errorf("%v", err)
		}
	}
}

func TestReadersMayGoAway(t *testing.T) {
	noLeak(t)
	h, _ := hubOf(t, texts(100))
	src := openWith(t, reach(h), hubName)
	release := make(chan struct{})
	h.Change(func() {
		h.Fault = func(*http.Request, int) http.HandlerFunc { <-release; return nil }
	})
	short, cancel := context.WithTimeout(ctx, 30*time.Millisecond)
	defer cancel()
	if _, err := src.Text(short, 0); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	close(release)
	if _, err := src.Text(ctx, 0); err != nil {
		t.Error(err)
	}
}

// TestSteady: a run that opened its text from the cache waits for a server that
// is not there yet; a person is told soon.
func TestSteady(t *testing.T) {
	h, _ := hubOf(t, texts(200))
	r := reach(h)
	r.CacheDir = t.TempDir()
	r.Policy.Strangers = 2
	name := openWith(t, r, hubName).Name()
	for _, steady := range []bool{false, true} {
		up := time.Now().Add(200 * time.Millisecond)
		h.Change(func() {
			h.Fault = func(*http.Request, int) http.HandlerFunc {
				if time.Now().Before(up) {
					return func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
				}
				return nil
			}
		})
		r.Steady = steady
		if _, err := openWith(t, r, name).Text(ctx, 7); (err == nil) != steady {
			t.Errorf("steady %v: %v", steady, err)
		}
	}
}

// TestSteadyWithoutAccess: a run whose rows are in the cache begins although the
// Hub no longer hands out the footer of the first file.
func TestSteadyWithoutAccess(t *testing.T) {
	h, _ := hubOf(t, texts(80), texts(80))
	r := reach(h)
	r.CacheDir = t.TempDir()
	src := openWith(t, r, hubName)
	want, err := src.Text(ctx, 100)
	if err != nil {
		t.Fatal(err)
	}
	r.Steady = true
	for _, status := range []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound} {
		h.Change(func() { h.Fault = always(fakehub.Status(status)) })
		again, err := r.Open(ctx, src.Name())
		if err != nil {
			t.Errorf("%d: %v", status, err)
			continue
		}
		if row, err := again.Text(ctx, 100); err != nil || row != want {
			t.Errorf("%d: %+v, %v", status, row, err)
		}
		again.Close()
	}
	gone, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := r.Open(gone, src.Name()); !errors.Is(err, context.Canceled) {
		t.Errorf("a caller that went away: %v", err)
	}
}
