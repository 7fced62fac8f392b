package ledger

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"lockstep/internal/fault"
	"lockstep/internal/signed"
)

func entry(epoch uint64, kind string, n int) Entry {
	return Entry{
		Epoch: epoch, Kind: kind,
		View:   json.RawMessage(fmt.Sprintf(`{"n":%d}`, n)),
		Signed: signed.Envelope{1, 2, byte(n)},
	}
}

// sample writes epochs of three entries each, over more than one file.
func sample(t testing.TB) (dir string, want []Entry) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "ledger")
	l := open(t, dir)
	for _, epoch := range []uint64{0, 1, 99, 100, 101, 250} {
		piece := []Entry{entry(epoch, "roster", len(want)), entry(epoch, "verdict", len(want)+1), entry(epoch, "weights", len(want)+2)}
		if err := l.Append(piece...); err != nil {
			t.Fatal(err)
		}
		want = append(want, piece...)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return dir, want
}

func open(t testing.TB, dir string) *Ledger {
	t.Helper()
	l, _, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func read(t testing.TB, dir string) ([]Entry, Report) {
	t.Helper()
	var got []Entry
	r, err := Walk(dir, func(e Entry) error { got = append(got, e); return nil })
	if err != nil {
		t.Fatal(err)
	}
	return got, r
}

func equal(a, b []Entry) bool {
	x, _ := json.Marshal(a)
	y, _ := json.Marshal(b)
	return bytes.Equal(x, y)
}

func TestRoundTrip(t *testing.T) {
	dir, want := sample(t)
	got, r := read(t, dir)
	if !equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if r.Files != 3 || r.Entries != uint64(len(want)) || r.Epoch != 250 || r.Torn != nil {
		t.Errorf("report %+v", r)
	}

	for n := uint64(1); n <= r.Entries; n++ {
		h, err := HeadAt(dir, n)
		if ends := n%3 == 0; err != nil || (h != Head{}) != ends || (ends && (h.Entries != n || h.Epoch != want[n-1].Epoch)) {
			t.Errorf("after %d entries: head %+v, %v", n, h, err)
		}
	}
	if h, err := HeadAt(dir, r.Entries); err != nil || h != r.Head {
		t.Errorf("head %+v at the end, %v; want %+v", h, err, r.Head)
	}

	l := open(t, dir)
	if l.Head() != r.Head {
		t.Errorf("head %+v after opening, %+v after reading", l.Head(), r.Head)
	}
	if err := l.Append(entry(249, "roster", 1)); err == nil {
		t.Error("an earlier epoch was appended")
	}
	if err := l.Append(entry(250, "Roster", 1)); err == nil {
		t.Error("a strange kind was appended")
	}
	if err := l.Append(entry(251, "roster", 1)); err != nil {
		t.Error(err)
	}
	if again, _ := read(t, dir); len(again) != len(want)+1 {
		t.Errorf("%d entries after one more than %d", len(again), len(want))
	}
}

// TestReadableWithoutLockstep follows the chain as a person with jq and
// sha256sum would.
func TestReadableWithoutLockstep(t *testing.T) {
	dir, want := sample(t)
	prev := strings.Repeat("0", 64)
	n := 0
	for _, name := range []string{"00000000000000000000.jsonl", "00000000000000000100.jsonl", "00000000000000000200.jsonl"} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(b)) {
			line = strings.TrimSuffix(line, "\n")
			var v map[string]any
			if err := json.Unmarshal([]byte(line), &v); err != nil {
				t.Fatal(err)
			}
			if v["prev"] != prev || v["seq"] != float64(n) || v["kind"] != want[n].Kind {
				t.Fatalf("line %d: %s", n, line)
			}
			sum := sha256.Sum256([]byte(line))
			prev, n = hex.EncodeToString(sum[:]), n+1
		}
	}
	if n != len(want) {
		t.Errorf("%d lines for %d entries", n, len(want))
	}
}

// stride is 1, or more where a short test has to do.
func stride() int {
	if testing.Short() {
		return 11
	}
	return 1
}

// TestEveryCutIsTorn cuts the last file at every byte: what was acknowledged
// before the last piece stays, the rest is reported, and appending goes on.
func TestEveryCutIsTorn(t *testing.T) {
	dir, want := sample(t)
	last := filepath.Join(dir, "00000000000000000200.jsonl")
	whole, err := os.ReadFile(last)
	if err != nil {
		t.Fatal(err)
	}
	for cut := 0; cut < len(whole); cut += stride() {
		if err := os.WriteFile(last, whole[:cut], 0o644); err != nil {
			t.Fatal(err)
		}
		got, r := read(t, dir)
		if !equal(got, want[:15]) {
			t.Fatalf("cut at %d: %d entries", cut, len(got))
		}
		if (r.Torn == nil) != (cut == 0) || (r.Torn != nil && (r.Torn.Offset != 0 || r.Torn.Bytes != int64(cut))) {
			t.Fatalf("cut at %d: torn %+v", cut, r.Torn)
		}
		l := open(t, dir)
		if err := l.Append(entry(250, "roster", 15), entry(250, "verdict", 16), entry(250, "weights", 17)); err != nil {
			t.Fatal(err)
		}
		l.Close()
		if got, r := read(t, dir); !equal(got, want) || r.Torn != nil {
			t.Fatalf("cut at %d and written again: %d entries, torn %+v", cut, len(got), r.Torn)
		}
	}
}

// TestEveryFlipIsFound changes one byte at a time. Only the last line has none
// behind it that would carry its digest.
func TestEveryFlipIsFound(t *testing.T) {
	dir, _ := sample(t)
	for _, name := range []string{"00000000000000000000.jsonl", "00000000000000000100.jsonl"} {
		path := filepath.Join(dir, name)
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(whole); i += stride() {
			spoilt := slices.Clone(whole)
			spoilt[i] ^= 1
			if err := os.WriteFile(path, spoilt, 0o644); err != nil {
				t.Fatal(err)
			}
			if _, err := Check(dir); fault.KindOf(err) != fault.Damaged || !strings.Contains(err.Error(), "at byte") {
				t.Fatalf("%s, byte %d (%q): %v", name, i, whole[i], err)
			}
		}
		if err := os.WriteFile(path, whole, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestDamage(t *testing.T) {
	tests := map[string]func(t *testing.T, dir string){
		"file missing":  func(t *testing.T, dir string) { remove(t, dir, "00000000000000000100.jsonl") },
		"first missing": func(t *testing.T, dir string) { remove(t, dir, "00000000000000000000.jsonl") },
		"cut in an earlier file": func(t *testing.T, dir string) {
			truncate(t, filepath.Join(dir, "00000000000000000100.jsonl"), 100)
		},
		"line dropped": func(t *testing.T, dir string) {
			edit(t, dir, func(lines []string) []string { return slices.Delete(lines, 4, 5) })
		},
		"lines swapped": func(t *testing.T, dir string) {
			edit(t, dir, func(lines []string) []string { lines[3], lines[4] = lines[4], lines[3]; return lines })
		},
		"line of spaces": func(t *testing.T, dir string) {
			edit(t, dir, func(lines []string) []string { return append(lines[:2:2], "   \n") })
		},
		"line without end": func(t *testing.T, dir string) {
			edit(t, dir, func(lines []string) []string { return append(lines[:2:2], strings.Repeat("x", MaxLine+1)) })
		},
		"file of another epoch": func(t *testing.T, dir string) {
			if err := os.Rename(filepath.Join(dir, "00000000000000000200.jsonl"), filepath.Join(dir, "00000000000000000300.jsonl")); err != nil {
				t.Fatal(err)
			}
		},
	}
	for name, spoil := range tests {
		t.Run(name, func(t *testing.T) {
			dir, _ := sample(t)
			spoil(t, dir)
			if _, err := Check(dir); fault.KindOf(err) != fault.Damaged {
				t.Errorf("Check: %v", err)
			}
			if _, _, err := Open(dir); fault.KindOf(err) != fault.Damaged {
				t.Errorf("Open: %v", err)
			}
		})
	}
}

func remove(t *testing.T, dir, name string) {
	t.Helper()
	if err := os.Remove(filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
}

func truncate(t *testing.T, path string, size int64) {
	t.Helper()
	if err := os.Truncate(path, size); err != nil {
		t.Fatal(err)
	}
}

// edit rewrites the lines of the first file.
func edit(t *testing.T, dir string, change func([]string) []string) {
	t.Helper()
	path := filepath.Join(dir, "00000000000000000000.jsonl")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := change(slices.Collect(strings.Lines(string(b))))
	if err := os.WriteFile(path, []byte(strings.Join(lines, "")), 0o644); err != nil {
		t.Fatal(err)
	}
}

// fullDisk takes some bytes and then returns ENOSPC; it may also fail to give
// the bytes back.
type fullDisk struct {
	file
	left     int
	noRepair bool
}

func (f *fullDisk) Write(b []byte) (int, error) {
	n, err := f.file.Write(b[:min(len(b), f.left)])
	f.left -= n
	if err == nil && n < len(b) {
		err = syscall.ENOSPC
	}
	return n, err
}

func (f *fullDisk) Truncate(size int64) error {
	if f.noRepair {
		return syscall.EIO
	}
	return f.file.Truncate(size)
}

func TestFullDisk(t *testing.T) {
	for _, noRepair := range []bool{false, true} {
		dir, want := sample(t)
		l := open(t, dir)
		l.open = func(path string) (file, error) {
			f, err := openFile(path)
			return &fullDisk{file: f, left: 150, noRepair: noRepair}, err
		}
		before := l.Head()
		err := l.Append(entry(251, "roster", 1), entry(251, "verdict", 2))
		if fault.KindOf(err) != fault.Environment || !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "no space is left for "+dir) {
			t.Fatalf("a full disk gives %v", err)
		}
		if l.Head() != before {
			t.Error("the head moved")
		}
		if noRepair {
			if err := l.Append(entry(251, "roster", 1)); err == nil {
				t.Error("appended behind a torn piece")
			}
		}
		l.Close()
		l = open(t, dir) // there is room again
		if err := l.Append(entry(251, "roster", 1)); err != nil {
			t.Fatal(err)
		}
		if got, _ := read(t, dir); len(got) != len(want)+1 {
			t.Errorf("%d entries", len(got))
		}
	}
}

func TestEmpty(t *testing.T) {
	r, err := Check(filepath.Join(t.TempDir(), "none"))
	if err != nil || r.Entries != 0 {
		t.Errorf("%+v, %v", r, err)
	}
}

// FuzzCheck: foreign bytes are refused or read, never a panic, and what is read
// is a chain.
func FuzzCheck(f *testing.F) {
	dir, _ := sample(f)
	b, err := os.ReadFile(filepath.Join(dir, "00000000000000000000.jsonl"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add(b[:len(b)-5])
	f.Add([]byte(`{"seq":0,"prev":"","epoch":1,"kind":"x"}` + "\n"))
	f.Add([]byte("\n\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		n := uint64(0)
		w := walker{name: fileName(0), last: true, visit: func(Entry) error { n++; return nil }}
		head, torn, err := w.pieces(bytes.NewReader(b), Head{})
		if err != nil {
			return
		}
		if n != head.Entries {
			t.Fatalf("%d entries visited, %d reported", n, head.Entries)
		}
		end := int64(len(b))
		if torn != nil {
			end = torn.Offset
		}
		if got := int64(bytes.Count(b[:end], []byte("\n"))); got != int64(n) {
			t.Fatalf("%d lines, %d entries", got, n)
		}
	})
}
