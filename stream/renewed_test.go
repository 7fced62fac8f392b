package stream

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"lockstep/stream/parquet"
	"lockstep/stream/remote/fakehub"
)

// codecFlaw returns the first file of a Hub with another codec in the footer for
// the second row group only, and where the footer begins.
func codecFlaw(t *testing.T, h *fakehub.Hub) (broken []byte, start int) {
	t.Helper()
	data := h.Files[firstFile]
	start, sound := footerOf(t, data)
	return flip(t, data, start, func(flipped []byte) bool {
		c, err := parquet.ParseFooter(flipped[start:len(flipped)-parquet.TailSize], int64(len(flipped)), textColumn)
		return err == nil && c.Rows() == sound.Rows() && c.Groups[0] == sound.Groups[0] && c.Groups[1].Codec != sound.Groups[1].Codec
	}), start
}

// evict makes a source forget its files, as if many others had been read.
func (s *hubSource) evict() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.opened = nil
	s.shelf.Remove(s.footerKey(s.files[0]))
}

// TestFooterUnderWayIsNoSecond: a footer that was asked for before the doubt, and
// comes after it, neither confirms the doubted one nor takes its place.
func TestFooterUnderWayIsNoSecond(t *testing.T) {
	h, folder := hubOf(t, texts(120))
	r := reach(h)
	r.CacheDir = t.TempDir()
	broken, start := codecFlaw(t, h)
	src := openWith(t, r, hubName).(*hubSource)
	flawed(h, firstFile, start, broken, 2)
	doubted, err := src.file(ctx, 0)
	if err != nil {
		t.Fatal(err)
	}
	src.evict()
	asked, release := make(chan struct{}), make(chan struct{})
	h.Change(func() {
		second := h.Fault
		var once sync.Once
		h.Fault = func(q *http.Request, n int) http.HandlerFunc {
			answer := second(q, n)
			if answer != nil {
				once.Do(func() { close(asked); <-release })
			}
			return answer
		}
	})
	late := make(chan *hubFile, 1)
	go func() {
		f, _ := src.file(ctx, 0)
		late <- f
	}()
	<-asked
	soon, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	again, err := src.renew(soon, doubted)
	close(release)
	if f := <-late; f == nil || f.footer != doubted.footer {
		t.Error("the footer under way is sound: the test shows nothing")
	}
	if err != nil || again.footer == doubted.footer {
		t.Fatalf("%+v, %v", again, err)
	}
	kept, ok := src.keptFooter(0)
	if f, err := src.file(ctx, 0); err != nil || f != again || !ok || kept.Digest != again.footer {
		t.Errorf("the footer under way took the place of the sound one: %v", err)
	}
	if f, err := src.renew(ctx, doubted); err != nil || f != again {
		t.Errorf("a footer that was replaced is fetched again: %v", err)
	}
	want := all(t, open(t, folder))
	if row, err := src.Text(ctx, 50); err != nil || row.Digest != want[50].Digest {
		t.Errorf("%+v, %v", row, err)
	}
}

// TestFooterBesideTheRenewedOne: when a footer is needed once more, one that is
// not the renewed one is asked for again; if it comes again, rows that it leads to
// are read, and it may be doubted like the first.
func TestFooterBesideTheRenewedOne(t *testing.T) {
	for wrong := range int64(3) {
		h, folder := hubOf(t, texts(120))
		broken, start := codecFlaw(t, h)
		want := all(t, open(t, folder))
		src := openWith(t, reach(h), hubName).(*hubSource)
		flawed(h, firstFile, start, broken, 1)
		if row, err := src.Text(ctx, 50); err != nil || row.Digest != want[50].Digest {
			t.Fatalf("%+v, %v", row, err)
		}
		src.evict()
		asked := flawed(h, firstFile, start, broken, wrong)
		src.loader.forget(0)
		for _, row := range []uint64{5, 90, 50} {
			if got, err := src.Text(ctx, row); err != nil || got.Digest != want[row].Digest {
				t.Errorf("%d wrong: row %d: %+v, %v", wrong, row, got, err)
			}
		}
		if n := asked.Load(); n != wrong+1 {
			t.Errorf("%d wrong: %d footers were fetched", wrong, n)
		}
	}
}

// TestColumnUnderWay: bytes that an old footer asked for, and that come after
// another took its place, are no row group of that.
func TestColumnUnderWay(t *testing.T) {
	h, folder := hubOf(t, texts(120))
	r := reach(h)
	r.CacheDir = t.TempDir()
	want := all(t, open(t, folder))
	src := openWith(t, r, hubName).(*hubSource)
	_, column := footerOf(t, h.Files[firstFile])
	column.Groups[0] = column.Groups[1]
	column.Groups[1].Codec++
	wrong, err := json.Marshal(footer{Column: column})
	if err != nil {
		t.Fatal(err)
	}
	src.shelf.keep(src.footerKey(src.files[0]), wrong)
	asked, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	h.Change(func() {
		h.Fault = func(q *http.Request, _ int) http.HandlerFunc {
			if strings.HasPrefix(q.Header.Get("Range"), fmt.Sprintf("bytes=%d-", column.Groups[0].Start)) {
				wait := false
				once.Do(func() { wait = true })
				if wait {
					close(asked)
					<-release
				}
			}
			return nil
		}
	})
	type result struct {
		row Row
		err error
	}
	first := make(chan result, 1)
	go func() {
		row, err := src.Text(ctx, 0)
		first <- result{row, err}
	}()
	<-asked
	row, err := src.Text(ctx, 50)
	if err != nil || row.Digest != want[50].Digest {
		t.Errorf("%+v, %v", row, err)
	}
	close(release)
	if got := <-first; got.err != nil || got.row.Digest != want[0].Digest {
		t.Errorf("%+v, %v", got.row, got.err)
	}
}
