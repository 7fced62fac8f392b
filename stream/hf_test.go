package stream

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"

	"lockstep/internal/fault"
	"lockstep/internal/httpx"
	"lockstep/internal/testdata"
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
