package stream

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"lockstep/stream/remote/fakehub"
)

// TestCheckRemote: a sample of a remote source, and damage in it.
func TestCheckRemote(t *testing.T) {
	h, _ := hubOf(t, texts(300), texts(100), texts(200))
	for _, name := range []string{hubName, "rows://org/fineweb/default"} {
		read := 0
		report, err := Check(ctx, name, gpt2(t), CheckOptions{Rows: 60, Remote: reach(h), Progress: func(_ string, n int) { read += n }})
		if err != nil || report.Total.Rows != 60 || read != 60 || report.Err() != nil {
			t.Fatalf("%s: %+v, %d rows, %v", name, report, read, err)
		}
		if report.Total.Empty == 0 || report.Total.Tokens < 60 || report.Identity.IsZero() {
			t.Errorf("%s: %+v", name, report)
		}
		if name == hubName && fmt.Sprint(report.Files[0].Rows, report.Files[1].Rows, report.Files[2].Rows) != "30 10 20" {
			t.Errorf("the sample is not spread: %+v", report.Files)
		}
	}
	if report, err := Check(ctx, hubName, gpt2(t), CheckOptions{Rows: 1 << 40, Remote: reach(h)}); err != nil || report.Total.Rows != 600 {
		t.Errorf("more rows than there are: %+v, %v", report, err)
	}
	h.Files["sample/001.parquet"][30] ^= 0x55
	h.Files["sample/001.parquet"][40] ^= 0x55
	report, err := Check(ctx, hubName, gpt2(t), CheckOptions{Rows: 600, Remote: reach(h)})
	if err != nil || report.Damaged != 1 || report.Err() == nil || !strings.Contains(report.Err().Error(), "sample/001.parquet") {
		t.Errorf("%+v, %v", report, err)
	}
}

func TestSpread(t *testing.T) {
	last := uint64(1<<62) - 1
	if got := spread(7, last, 8); got != 4035225266123964415 {
		t.Error(got)
	}
}

// TestPrefill: afterwards the segments are there without a network, and nothing
// was fetched twice.
func TestPrefill(t *testing.T) {
	h, _ := hubOf(t, texts(300), texts(300))
	r := reach(h)
	r.CacheDir = t.TempDir()
	segments := []Segment{{First: 10, Rows: 100}, {First: 290, Rows: 100}, {First: 50, Rows: 30}}
	for _, name := range []string{hubName, "rows://org/fineweb/default"} {
		var last Fetched
		src := openWith(t, r, name)
		if err := Prefill(ctx, src, segments, func(f Fetched) { last = f }); err != nil {
			t.Fatal(err)
		}
		seen := map[string]bool{}
		for _, q := range h.Log() {
			if key := q.Path + q.Range + q.Query; q.Status/100 == 2 && seen[key] {
				t.Errorf("%s: fetched twice: %+v", name, q)
			} else {
				seen[key] = true
			}
		}
		if last.Chunks != last.AllChunks || last.Chunks < 4 || last.Bytes < 1000 {
			t.Errorf("%s: %+v", name, last)
		}
		off := r
		off.Offline = true
		dark := openWith(t, off, name)
		for _, s := range segments {
			for row := s.First; row < s.First+s.Rows; row++ {
				if _, err := dark.Text(ctx, row); err != nil {
					t.Fatalf("%s: %v", name, err)
				}
			}
		}
	}
	if err := Prefill(ctx, open(t, "builtin"), segments, nil); err != nil {
		t.Error(err)
	}
	src := openWith(t, r, hubName)
	h.Change(func() { h.Fault = func(*http.Request, int) http.HandlerFunc { return fakehub.Status(404) } })
	if err := Prefill(ctx, src, []Segment{{First: 400, Rows: 100}}, func(Fetched) {}); err == nil {
		t.Error("nobody is there, and no error")
	}
}

// TestFiles: files follow each other without gaps, in every kind of source.
func TestFiles(t *testing.T) {
	h, folder := hubOf(t, texts(30), texts(50))
	for _, name := range []string{folder, hubName, "rows://org/fineweb/default", "builtin"} {
		src := openWith(t, reach(h), name)
		next := uint64(0)
		for _, f := range Files(src) {
			if f.First != next || f.Name == "" {
				t.Errorf("%s: %+v begins at %d, not %d", name, f, f.First, next)
			}
			next += f.Rows
		}
		if next != src.Rows() {
			t.Errorf("%s: files of %d rows, a source of %d", name, next, src.Rows())
		}
	}
}
