package stream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"

	"lockstep/internal/fault"
	"lockstep/internal/httpx"
	"lockstep/internal/testdata"
	"lockstep/stream/remote"
	"lockstep/stream/remote/fakehub"
)

// quick tries as often as the real policy does, without its waits.
var quick = httpx.Policy{First: time.Millisecond, Longest: 2 * time.Millisecond, Patience: 10 * time.Second}

// reach returns settings for a fake Hub.
func reach(h *fakehub.Hub) Remote {
	return Remote{Endpoint: h.Hub.URL, RowsEndpoint: h.Hub.URL, Token: h.Token, Policy: quick}
}

const hubName = "hf://datasets/org/fineweb/sample"

func openWith(t testing.TB, r Remote, name string) Source {
	t.Helper()
	src, err := r.Open(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { src.Close() })
	return src
}

// wide is a row with columns that training does not read.
type wide struct {
	Text  string `parquet:"text"`
	ID    string `parquet:"id"`
	Noise []byte `parquet:"noise"`
}

// wideFile has row groups of perGroup rows, in which other columns take most
// of the bytes.
func wideFile(t testing.TB, rows []string, perGroup int) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := parquet.NewGenericWriter[wide](&buf, parquet.Compression(&parquet.Snappy))
	x := uint32(len(rows))
	for i, text := range rows {
		if i > 0 && i%perGroup == 0 {
			if err := w.Flush(); err != nil {
				t.Fatal(err)
			}
		}
		noise := make([]byte, 500)
		for j := range noise {
			x = x*1664525 + 1013904223
			noise[j] = byte(x >> 24)
		}
		if _, err := w.Write([]wide{{text, fmt.Sprint("<urn:uuid:", i, ">"), noise}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// hubOf serves files of rows under sample/, and the same rows as a folder and
// through the rows API.
func hubOf(t testing.TB, files ...[]string) (h *fakehub.Hub, folder string) {
	t.Helper()
	h = fakehub.New(t)
	folder = t.TempDir()
	for i, rows := range files {
		name := fmt.Sprintf("sample/%03d.parquet", i)
		h.Files[name] = wideFile(t, rows, 40)
		write(t, folder, name, h.Files[name])
		for _, row := range rows {
			h.Rows = append(h.Rows, row)
		}
	}
	return h, folder
}

// TestSourcesAgree: the same rows from a folder, from the Hub and from the rows
// API have the same numbers, texts and digests.
func TestSourcesAgree(t *testing.T) {
	noLeak(t)
	h, folder := hubOf(t, texts(130), texts(7), texts(95))
	h.Token = "hf_x"
	want := all(t, open(t, folder))
	for _, direct := range []bool{false, true} {
		h.Change(func() { h.Direct = direct })
		for _, name := range []string{hubName, "rows://org/fineweb/default", "rows://org/fineweb/default/train"} {
			got := all(t, openWith(t, reach(h), name))
			if len(got) != len(want) {
				t.Fatalf("%s: %d rows, not %d", name, len(got), len(want))
			}
			for i := range got {
				if got[i].Text != want[i].Text || got[i].Digest != want[i].Digest || got[i].Defect != want[i].Defect {
					t.Fatalf("%s: row %d is %+v, not %+v", name, i, got[i], want[i])
				}
			}
		}
	}
	row, err := openWith(t, reach(h), hubName).Text(ctx, 135)
	if err != nil || row.File != "sample/001.parquet" || row.Number != 5 {
		t.Errorf("row 135 is row %d of %s, %v", row.Number, row.File, err)
	}
}

// TestFineWebOverHTTP reads real documents as three programs wrote them, over
// HTTP and from disk.
func TestFineWebOverHTTP(t *testing.T) {
	folder := testdata.Path(t, "fineweb_layout")
	h := fakehub.New(t)
	copied := t.TempDir()
	for _, name := range []string{"fineweb_200_zstd.parquet", "fineweb_200_snappy.parquet", "fineweb_20_uncompressed.parquet"} {
		data, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			t.Fatal(err)
		}
		h.Files["sample/"+name] = data
		write(t, copied, name, data)
	}
	want, got := all(t, open(t, copied)), all(t, openWith(t, reach(h), hubName))
	for i := range want {
		if got[i].Digest != want[i].Digest {
			t.Fatalf("row %d", i)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d rows, not %d", len(got), len(want))
	}
}

// TestHubIdentity: a name is pinned to a commit, which the identity covers; so are
// the files.
func TestHubIdentity(t *testing.T) {
	h, _ := hubOf(t, texts(20), texts(30))
	first := openWith(t, reach(h), hubName)
	if want := "hf://datasets/org/fineweb@" + h.Commit + "/sample"; first.Name() != want {
		t.Errorf("%s, not %s", first.Name(), want)
	}
	pinned := openWith(t, reach(h), first.Name())
	if pinned.Identity() != first.Identity() || pinned.Rows() != 50 {
		t.Error("the pinned name leads to another source")
	}
	for name, change := range map[string]func(){
		"another commit": func() { h.Commit = strings.Repeat("f", 40) },
		"another file":   func() { h.Files["sample/001.parquet"] = wideFile(t, texts(31), 40) },
		"one file less":  func() { delete(h.Files, "sample/000.parquet") },
	} {
		h.Change(change)
		if openWith(t, reach(h), hubName).Identity() == first.Identity() {
			t.Errorf("%s has the same identity", name)
		}
	}
	if _, err := reach(h).Open(ctx, first.Name()); fault.KindOf(err) != fault.Refused {
		t.Errorf("the commit is gone: %v", err)
	}
}

// traffic sums up a log.
func traffic(h *fakehub.Hub) (requests int, bytes int64) {
	for _, q := range h.Log() {
		requests++
		bytes += q.Bytes
	}
	return requests, bytes
}

// TestCost counts requests and bytes: to open a source, to read a row, to read
// its neighbours, and to do all that again with a cache.
func TestCost(t *testing.T) {
	var files [][]string
	for i := range 12 {
		files = append(files, texts(400+i))
	}
	h, _ := hubOf(t, files...)
	r := reach(h)
	r.CacheDir = t.TempDir()
	src := openWith(t, r, hubName)
	if n, bytes := traffic(h); n != 2+3*len(files) || bytes > int64(len(files))*(headWindow+8+400)+2000 {
		t.Errorf("opening 12 files took %d requests and %d bytes", n, bytes)
	}
	row, err := src.Text(ctx, 1690)
	if err != nil {
		t.Fatal(err)
	}
	hub := src.(*hubSource)
	number, inside := hub.find(1690)
	file, err := hub.file(ctx, number)
	if err != nil {
		t.Fatal(err)
	}
	group, _ := file.find(inside)
	g := file.column.Groups[group]
	want := hub.heads[number].Footer + 8 + g.End - g.Start
	if n, bytes := traffic(h); n != 2 || bytes != want {
		t.Errorf("a row took %d requests and %d bytes; footer and row group's text have %d", n, bytes, want)
	}
	if size := int64(len(h.Files[row.File])); want > size/8 {
		t.Errorf("%d of %d bytes of the file: the test shows nothing", want, size)
	}
	for i := range uint64(30) {
		if _, err := src.Text(ctx, 1691+i); err != nil {
			t.Fatal(err)
		}
	}
	if n, _ := traffic(h); n > 0 {
		t.Errorf("thirty neighbours took %d requests", n)
	}
	again := openWith(t, r, src.Name())
	if got, err := again.Text(ctx, 1690); err != nil || got != row || again.Identity() != src.Identity() {
		t.Errorf("%+v, %v", got, err)
	}
	if n, _ := traffic(h); n != 0 {
		t.Errorf("all in the cache, and %d requests", n)
	}
}

// TestManyFiles: as many files as FineWeb's sample has, pages of the tree, and
// two small ranges a file.
func TestManyFiles(t *testing.T) {
	h := fakehub.New(t)
	h.PageSize = 100
	data := wideFile(t, texts(50), 10)
	for i := range 510 {
		h.Files[fmt.Sprintf("sample/%03d_%05d.parquet", i/34, i%34)] = data
	}
	var told atomic.Int64
	r := reach(h)
	r.Progress = func(_ string, done, total int) {
		if told.Add(1); total != 510 || done < 1 || done > 510 {
			t.Errorf("%d of %d", done, total)
		}
	}
	src := openWith(t, r, hubName)
	if src.Rows() != 510*50 || told.Load() != 510 {
		t.Errorf("%d rows, told %d times", src.Rows(), told.Load())
	}
	n, bytes := traffic(h)
	if n != 1+6+3*510 || bytes > 510*(headWindow+8+400) {
		t.Errorf("%d requests, %d bytes", n, bytes)
	}
	if row, err := src.Text(ctx, 509*50+49); err != nil || row.File != "sample/014_00033.parquet" || row.Number != 49 {
		t.Errorf("%+v, %v", row, err)
	}
}

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
}

// TestChangedInUse: the source notices another file under the pinned commit,
// and another revision of rows.
func TestChangedInUse(t *testing.T) {
	h, _ := hubOf(t, texts(300))
	src, rows := openWith(t, reach(h), hubName), openWith(t, reach(h), "rows://org/fineweb/default")
	if _, err := src.Text(ctx, 0); err != nil {
		t.Fatal(err)
	}
	h.Change(func() {
		h.Files["sample/000.parquet"] = wideFile(t, texts(301), 40)
		h.Commit = strings.Repeat("e", 40)
	})
	var changed *remote.ChangedError
	if _, err := src.Text(ctx, 200); !errors.As(err, &changed) && fault.KindOf(err) != fault.Refused {
		t.Errorf("%v", err)
	}
	if _, err := rows.Text(ctx, 200); fault.KindOf(err) != fault.Damaged || !strings.Contains(err.Error(), "changed from revision") {
		t.Errorf("%v", err)
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
