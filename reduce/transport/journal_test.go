package transport

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

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
		raw = appendRecord(raw, testRecord(byte(i+1)))
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

// TestJournalSeesDamage flips each bit: the file is refused, or only the last
// record is taken for cut off. Never does a changed record come back.
func TestJournalSeesDamage(t *testing.T) {
	raw, ends := journalBytes(3)
	for i := range raw {
		bad := bytes.Clone(raw)
		bad[i] ^= 0x10
		records, _, err := parseJournal(bad)
		if err != nil {
			if fault.KindOf(err) != fault.Damaged {
				t.Fatalf("byte %d: %v", i, err)
			}
			continue
		}
		for r, rec := range records {
			if !bytes.Equal(rec.Encode(), testRecord(byte(r+1)).Encode()) {
				t.Fatalf("byte %d: record %d came back changed", i, r)
			}
		}
		if i < ends[1] || len(records) != 2 {
			t.Fatalf("byte %d: %d records and no error", i, len(records))
		}
	}
	if records, _, err := parseJournal(append(bytes.Clone(raw), make([]byte, 100)...)); err != nil || len(records) != 3 {
		t.Errorf("zeros at the end: %d records, %v", len(records), err)
	}
	if _, _, err := OpenJournal("/dev/null/journal"); err == nil {
		t.Error("an impossible path opens")
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
			again = appendRecord(again, r)
		}
		if size > 0 && !bytes.Equal(again, data[:size]) {
			t.Fatalf("records re-encode to other bytes")
		}
	})
}
