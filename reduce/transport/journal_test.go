package transport

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"lockstep/internal/durable"
	"lockstep/internal/fault"
	"lockstep/internal/signed"
	"lockstep/reduce"
)

func testRecord(b byte) reduce.Record {
	return reduce.Record{Kind: reduce.RecordVote, Envelopes: []signed.Envelope{bytes.Repeat([]byte{b}, int(b))}}
}

// journalBytes returns a journal file of n records and where each ends.
func journalBytes(n int) (raw []byte, ends []int) {
	raw = []byte(journalMagic)
	for i := range n {
		raw, _ = appendRecord(raw, testRecord(byte(i+1)))
		ends = append(ends, len(raw))
	}
	return raw, ends
}

func openJournal(t *testing.T, path string) (*Journal, []reduce.Record) {
	t.Helper()
	j, records, err := OpenJournal(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { j.Close() })
	return j, records
}

func TestJournalRemembers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "deep", "journal")
	j, records := openJournal(t, path)
	if len(records) != 0 {
		t.Fatalf("a new journal has %d records", len(records))
	}
	for i := range 3 {
		if err := j.Append(testRecord(byte(i + 1))); err != nil {
			t.Fatal(err)
		}
	}
	if _, records = openJournal(t, path); len(records) != 3 || !bytes.Equal(records[2].Envelopes[0], testRecord(3).Envelopes[0]) {
		t.Fatalf("read back %d records", len(records))
	}
	if err := j.Rewrite([]reduce.Record{testRecord(9)}); err != nil {
		t.Fatal(err)
	}
	if err := j.Append(testRecord(8)); err != nil {
		t.Fatal(err)
	}
	if _, records = openJournal(t, path); len(records) != 2 || records[0].Envelopes[0][0] != 9 || records[1].Envelopes[0][0] != 8 {
		t.Errorf("after Rewrite and Append: %v", records)
	}
	left, _ := os.ReadDir(filepath.Dir(path))
	if len(left) != 1 {
		t.Errorf("%d files are left in the folder", len(left))
	}
}

// TestJournalSurvivesEveryCut opens a journal cut at each byte: the records
// that are whole come back, and it goes on from there.
func TestJournalSurvivesEveryCut(t *testing.T) {
	raw, ends := journalBytes(3)
	path := filepath.Join(t.TempDir(), "journal")
	for cut := range len(raw) + 1 {
		if err := os.WriteFile(path, raw[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		whole := 0
		for _, end := range ends {
			if end <= cut {
				whole++
			}
		}
		j, records, err := OpenJournal(path)
		if err != nil || len(records) != whole {
			t.Fatalf("cut at %d: %d records, want %d (%v)", cut, len(records), whole, err)
		}
		if err := j.Append(testRecord(7)); err != nil {
			t.Fatal(err)
		}
		j.Close()
		if _, records := openJournal(t, path); len(records) != whole+1 {
			t.Fatalf("cut at %d, then appended: %d records", cut, len(records))
		}
	}
}

// TestJournalSeesDamage flips each bit, in the last record too: a vote that was
// sent must not be forgotten because a bit of it is wrong. The error names file
// and place.
func TestJournalSeesDamage(t *testing.T) {
	raw, ends := journalBytes(3)
	path := filepath.Join(t.TempDir(), "journal")
	for i := range raw {
		bad := bytes.Clone(raw)
		bad[i] ^= 0x10
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		_, _, err := OpenJournal(path)
		if fault.KindOf(err) != fault.Damaged || !strings.Contains(err.Error(), path) {
			t.Fatalf("byte %d: %v", i, err)
		}
		if i > ends[1] && !strings.Contains(err.Error(), fmt.Sprintf("byte %d:", ends[1])) {
			t.Fatalf("byte %d: %v does not name byte %d", i, err, ends[1])
		}
		if left, _ := os.ReadFile(path); !bytes.Equal(left, bad) {
			t.Fatalf("byte %d: the file was changed", i)
		}
	}
	if records, _, err := parseJournal(append(bytes.Clone(raw), make([]byte, 100)...)); err != nil || len(records) != 3 {
		t.Errorf("zeros at the end: %d records, %v", len(records), err)
	}
	if _, _, err := OpenJournal("/dev/null/journal"); err == nil {
		t.Error("an impossible path opens")
	}
}

// TestJournalSurvivesTornSectors zeroes the end of the last record from each
// byte on, as a file system does that had grown the file before the data came.
// From the start of a sector on it is a torn write, if the length and its checksum
// came; elsewhere it is damage.
func TestJournalSurvivesTornSectors(t *testing.T) {
	raw, ends := journalBytes(2)
	long := reduce.Record{Kind: reduce.RecordVote, Envelopes: []signed.Envelope{bytes.Repeat([]byte{7}, 3*sector)}}
	raw, err := appendRecord(raw, long)
	if err != nil {
		t.Fatal(err)
	}
	for from := ends[1]; from < len(raw); from++ {
		bad := bytes.Clone(raw)
		clear(bad[from:])
		records, size, err := parseJournal(bad)
		switch whole := from == ends[1] || from <= (len(raw)-1)/sector*sector && from >= ends[1]+8; {
		case whole && (err != nil || len(records) != 2 || size != int64(ends[1])):
			t.Fatalf("zeros from byte %d: %d records of %d bytes, %v", from, len(records), size, err)
		case !whole && fault.KindOf(err) != fault.Damaged:
			t.Fatalf("zeros from byte %d: %d records, %v", from, len(records), err)
		}
	}
	two, _ := appendRecord(bytes.Clone(raw), long) // both written at once
	for from := len(raw) + 1; from > len(raw)-2*sector; from-- {
		bad := bytes.Clone(two)
		clear(bad[from:])
		whole := from <= (len(raw)-1)/sector*sector || from == len(raw)
		records, size, err := parseJournal(bad)
		switch {
		case whole && (err != nil || from < len(raw) && size != int64(ends[1]) || from == len(raw) && len(records) != 3):
			t.Fatalf("two records, zeros from byte %d: %d records of %d bytes, %v", from, len(records), size, err)
		case !whole && fault.KindOf(err) != fault.Damaged:
			t.Fatalf("two records, zeros from byte %d: %d records, %v", from, len(records), err)
		}
	}
	followed, _ := appendRecord(bytes.Clone(raw), testRecord(3))
	clear(followed[len(raw)-sector : len(raw)])
	if _, _, err := parseJournal(followed); fault.KindOf(err) != fault.Damaged {
		t.Errorf("zeros before another record: %v", err)
	}
}

// TestJournalTakesOnlyWhatItCanRead: a record that would be refused at the next
// start is refused now, and nothing of it is written.
func TestJournalTakesOnlyWhatItCanRead(t *testing.T) {
	huge := reduce.Record{Kind: reduce.RecordRoster, Envelopes: []signed.Envelope{make([]byte, reduce.MaxRecord)}}
	most := reduce.Record{Kind: reduce.RecordRoster, Envelopes: []signed.Envelope{make([]byte, reduce.MaxRecord-16)}}
	for name, r := range map[string]reduce.Record{
		"too large": huge, "of no kind": {Kind: 9, Envelopes: testRecord(1).Envelopes}, "empty": {Kind: reduce.RecordVote},
	} {
		path := filepath.Join(t.TempDir(), "journal")
		j, _ := openJournal(t, path)
		if err := j.Append(testRecord(1)); err != nil {
			t.Fatal(err)
		}
		if err := j.Append(r); err == nil || !strings.Contains(err.Error(), "cannot be read back") {
			t.Errorf("%s: %v", name, err)
		}
		if err := j.Append(testRecord(2)); err == nil {
			t.Errorf("%s: the journal goes on as if nothing had been lost", name)
		}
		if err := j.Rewrite([]reduce.Record{r}); err == nil {
			t.Errorf("%s: Rewrite takes it", name)
		}
		if _, records := openJournal(t, path); len(records) != 1 {
			t.Errorf("%s: %d records are left", name, len(records))
		}
		if err := j.Rewrite([]reduce.Record{most}); err != nil {
			t.Error(err)
		}
		if _, records := openJournal(t, path); len(records) != 1 || len(records[0].Envelopes[0]) != reduce.MaxRecord-16 {
			t.Errorf("the largest record does not come back")
		}
	}
}

// TestNewJournalIsDurable: the names of a new journal and of the folders made
// for it are synced, the upper ones first.
func TestNewJournalIsDurable(t *testing.T) {
	var synced []string
	syncDir = func(dir string) error {
		synced = append(synced, dir)
		return durable.SyncDir(dir)
	}
	t.Cleanup(func() { syncDir = durable.SyncDir })
	top := t.TempDir()
	openJournal(t, filepath.Join(top, "node", "journal", "leader"))
	want := []string{top, filepath.Join(top, "node"), filepath.Join(top, "node", "journal")}
	if !slices.Equal(synced, want) {
		t.Errorf("synced %v, want %v", synced, want)
	}
}

func FuzzParseJournal(f *testing.F) {
	raw, _ := journalBytes(2)
	f.Add(raw)
	f.Add(raw[:len(raw)-3])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		records, size, err := parseJournal(data)
		if err != nil {
			return
		}
		if size > int64(len(data)) {
			t.Fatalf("%d of %d bytes are intact", size, len(data))
		}
		again := []byte(journalMagic)
		for _, r := range records {
			again, _ = appendRecord(again, r)
		}
		if size > 0 && !bytes.Equal(again, data[:size]) {
			t.Fatalf("records re-encode to other bytes")
		}
	})
}
