package stream

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"lockstep/internal/fault"
	"lockstep/stream/parquet"
	"lockstep/stream/remote/fakehub"
)

// flawed lets a proxy that keeps the headers serve other bytes in answer to the
// first n requests for ranges from first on, and returns what counts these.
func flawed(h *fakehub.Hub, name string, first int, broken []byte, n int64) *atomic.Int64 {
	sound := h.Files[name]
	asked := new(atomic.Int64)
	h.Change(func() {
		h.Fault = func(q *http.Request, _ int) http.HandlerFunc {
			from := fmt.Sprintf("bytes=%d-", first)
			if q.URL.Path != "/"+name || !strings.HasPrefix(q.Header.Get("Range"), from) || asked.Add(1) > n {
				return nil
			}
			return func(w http.ResponseWriter, q *http.Request) {
				w.Header().Set("ETag", `"`+fakehub.Digest(sound)[:32]+`"`)
				http.ServeContent(w, q, "", time.Time{}, bytes.NewReader(broken))
			}
		}
	})
	return asked
}

// footerOf returns where the footer of a file begins, and what it says.
func footerOf(t *testing.T, data []byte) (int, *parquet.Column) {
	t.Helper()
	size := int64(len(data))
	length, err := parquet.FooterLength(data[size-parquet.TailSize:], size)
	if err != nil {
		t.Fatal(err)
	}
	start := size - parquet.TailSize - length
	column, err := parquet.ParseFooter(data[start:size-parquet.TailSize], size, textColumn)
	if err != nil {
		t.Fatal(err)
	}
	return int(start), column
}

// flip returns data with the first bit from byte from on flipped for which
// wanted holds.
func flip(t *testing.T, data []byte, from int, wanted func(flipped []byte) bool) []byte {
	t.Helper()
	for bit := from * 8; bit < len(data)*8; bit++ {
		flipped := bytes.Clone(data)
		flipped[bit/8] ^= 1 << (bit % 8)
		if wanted(flipped) {
			return flipped
		}
	}
	t.Fatal("no bit does that")
	return nil
}

const firstFile = "sample/000.parquet"

// TestWrongCountIsForgotten: a bit of a row count that was wrong once does not
// stay in the cache.
func TestWrongCountIsForgotten(t *testing.T) {
	h, _ := hubOf(t, texts(80), texts(30))
	r := reach(h)
	r.CacheDir = t.TempDir()
	data := h.Files[firstFile]
	start, _ := footerOf(t, data)
	broken := flip(t, data, start, func(flipped []byte) bool {
		n, err := parquet.RowsOf(flipped[start : len(flipped)-parquet.TailSize])
		return err == nil && n > 80
	})
	flawed(h, firstFile, start, broken, 1)
	src := openWith(t, r, hubName)
	if src.Rows() <= 110 {
		t.Fatalf("%d rows: the test shows nothing", src.Rows())
	}
	_, err := src.Text(ctx, 5)
	if fault.KindOf(err) != fault.Damaged || !strings.Contains(err.Error(), "it has 80 rows") || !strings.Contains(err.Error(), "start again") {
		t.Errorf("%v", err)
	}
	again := openWith(t, r, hubName)
	if again.Rows() != 110 {
		t.Errorf("%d rows", again.Rows())
	}
	if _, err := again.Text(ctx, 5); err != nil {
		t.Error(err)
	}
}

// TestCountsWithoutFooters: counts from which no row leads to a footer.
func TestCountsWithoutFooters(t *testing.T) {
	h, _ := hubOf(t, texts(1), texts(30))
	r := reach(h)
	r.CacheDir = t.TempDir()
	data := h.Files[firstFile]
	start, _ := footerOf(t, data)
	none := flip(t, data, start, func(flipped []byte) bool {
		n, err := parquet.RowsOf(flipped[start : len(flipped)-parquet.TailSize])
		return err == nil && n == 0
	})
	flawed(h, firstFile, start, none, 1<<30)
	if _, err := reach(h).Open(ctx, hubName); fault.KindOf(err) != fault.Damaged {
		t.Errorf("none, always: %v", err)
	}
	asked := flawed(h, firstFile, start, none, 1)
	src := openWith(t, r, hubName).(*hubSource)
	if n := asked.Load(); src.Rows() != 31 || n != 3 {
		t.Errorf("none, once: %d rows after %d requests", src.Rows(), n)
	}
	for name, rows := range map[string]uint64{"too many": 1 << 63, "nothing": 0} {
		heads := []head{{Rows: rows, Footer: src.heads[0].Footer}, {Footer: src.heads[1].Footer}}
		list, err := json.Marshal(listed{src.files, heads})
		if err != nil {
			t.Fatal(err)
		}
		src.shelf.keep(src.listKey(), list)
		if _, err := r.Open(ctx, hubName); err == nil {
			t.Errorf("%s: no error", name)
		}
		if again := openWith(t, r, hubName); again.Rows() != 31 {
			t.Errorf("%s, the next time: %d rows", name, again.Rows())
		}
	}
}

// TestWrongFooterIsFetchedAgain: a footer that leads to the wrong bytes, or that
// cannot be read, is fetched once more by who needs it.
func TestWrongFooterIsFetchedAgain(t *testing.T) {
	for name, wrong := range map[string]func(c, sound *parquet.Column, err error) bool{
		"other pages": func(c, sound *parquet.Column, err error) bool {
			return err == nil && c.Rows() == sound.Rows() && c.Groups[0] == sound.Groups[0] && c.Groups[1].Start != sound.Groups[1].Start
		},
		"other codec": func(c, sound *parquet.Column, err error) bool {
			return err == nil && c.Rows() == sound.Rows() && c.Groups[1].Codec != sound.Groups[1].Codec
		},
		"no footer": func(_, _ *parquet.Column, err error) bool { return err != nil && !asUnfit(err) },
	} {
		h, folder := hubOf(t, texts(120))
		r := reach(h)
		r.CacheDir = t.TempDir()
		data := h.Files[firstFile]
		start, sound := footerOf(t, data)
		broken := flip(t, data, start, func(flipped []byte) bool {
			c, err := parquet.ParseFooter(flipped[start:len(flipped)-parquet.TailSize], int64(len(flipped)), textColumn)
			return wrong(c, sound, err)
		})
		src := openWith(t, r, hubName)
		want := all(t, open(t, folder))
		asked := flawed(h, firstFile, start, broken, 1)
		if name != "no footer" { // a row group that the flaw does not touch
			if row, err := src.Text(ctx, 5); err != nil || row.Digest != want[5].Digest {
				t.Fatalf("%s: %+v, %v", name, row, err)
			}
		}
		if row, err := src.Text(ctx, 50); err != nil || row.Digest != want[50].Digest {
			t.Errorf("%s: %+v, %v", name, row, err)
		}
		if n := asked.Load(); n != 2 {
			t.Errorf("%s: the footer was fetched %d times", name, n)
		}
		off := r
		off.Offline = true
		if row, err := openWith(t, off, hubName).Text(ctx, 50); err != nil || row.Digest != want[50].Digest {
			t.Errorf("%s: from the cache: %+v, %v", name, row, err)
		}
	}
}

// TestColumnsBelongToTheirFooter: a column that is in the cache is no proof of
// another footer than the one that it was decoded by.
func TestColumnsBelongToTheirFooter(t *testing.T) {
	h, folder := hubOf(t, texts(120))
	r := reach(h)
	r.CacheDir = t.TempDir()
	src := openWith(t, r, hubName).(*hubSource)
	want := all(t, open(t, folder))
	all(t, src)
	src.shelf.Remove(src.footerKey(src.files[0]))
	data := h.Files[firstFile]
	start, sound := footerOf(t, data)
	broken := flip(t, data, start, func(flipped []byte) bool {
		c, err := parquet.ParseFooter(flipped[start:len(flipped)-parquet.TailSize], int64(len(flipped)), textColumn)
		return err == nil && c.Rows() == 120 && c.Groups[1].Codec != sound.Groups[1].Codec
	})
	asked := flawed(h, firstFile, start, broken, 1)
	if row, err := openWith(t, r, hubName).Text(ctx, 50); err != nil || row.Digest != want[50].Digest || asked.Load() != 2 {
		t.Errorf("%+v, %v, %d footers", row, err, asked.Load())
	}
}

// TestDamagedOnce: bytes that do not decode are fetched once more in the same
// call; those that never do cost no further footers.
func TestDamagedOnce(t *testing.T) {
	h, folder := hubOf(t, texts(80))
	r := reach(h)
	data := h.Files[firstFile]
	start, column := footerOf(t, data)
	g := column.Groups[1]
	broken := bytes.Clone(data)
	for i := g.Start + 30; i < g.End; i += 3 {
		broken[i] ^= 0x55
	}
	flawed(h, firstFile, int(g.Start), broken, 1)
	want := all(t, open(t, folder))
	if row, err := openWith(t, r, hubName).Text(ctx, 50); err != nil || row.Digest != want[50].Digest {
		t.Errorf("%+v, %v", row, err)
	}
	src := openWith(t, r, hubName)
	flawed(h, firstFile, int(g.Start), broken, 1<<30)
	for range 5 {
		if _, err := src.Text(ctx, 50); !errors.As(err, new(*DamageError)) {
			t.Fatalf("%v", err)
		}
	}
	footers := 0
	for _, q := range h.Log() {
		if q.Server == "cdn" && q.Range == fmt.Sprintf("bytes=%d-%d", start, len(data)-1) {
			footers++
		}
	}
	if footers != 2+2 {
		t.Errorf("%d footers were fetched", footers)
	}
	if row, err := src.Text(ctx, 5); err != nil || row.Digest != want[5].Digest {
		t.Errorf("a sound row group: %+v, %v", row, err)
	}
}

// TestDamagedPageOnce: the same for a page of the rows API.
func TestDamagedPageOnce(t *testing.T) {
	h, _ := hubOf(t, texts(300))
	src := openWith(t, reach(h), "rows://org/fineweb/default")
	var asked atomic.Int64
	h.Change(func() {
		h.Fault = func(*http.Request, int) http.HandlerFunc {
			if asked.Add(1) > 1 {
				return nil
			}
			return func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("X-Revision", h.Commit)
				_, _ = w.Write([]byte(`{"error":"The server is busier than usual"}`))
			}
		}
	})
	if row, err := src.Text(ctx, 200); err != nil || row.Number != 200 {
		t.Errorf("%+v, %v", row, err)
	}
}

// TestPagesInARun: web pages in the place of everything, for a while, cost time
// only.
func TestPagesInARun(t *testing.T) {
	for _, name := range []string{hubName, "rows://org/fineweb/default"} {
		h, _ := hubOf(t, texts(200))
		src := openWith(t, reach(h), name)
		down := time.Now().Add(200 * time.Millisecond)
		h.Change(func() {
			h.Fault = func(*http.Request, int) http.HandlerFunc {
				if time.Now().Before(down) {
					return fakehub.Page
				}
				return nil
			}
		})
		if _, err := src.Text(ctx, 150); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
