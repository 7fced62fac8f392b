package transport

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"lockstep/internal/durable"
	"lockstep/internal/fault"
	"lockstep/reduce"
)

// journalMagic opens every journal file.
const journalMagic = "lockstep/journal/1\n"

// Each record stands behind u32 length, u32 CRC-32C of the length's bytes, and
// u32 CRC-32C of the record. The length has a checksum of its own so that a
// flipped bit in it cannot pass the rest of the file off as cut away.
const recordHeader = 12

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Journal is a machine's memory across crashes: records appended to one file,
// each durable before Append returns. It serves one goroutine.
type Journal struct {
	path string
	file *os.File
	size int64 // of the intact records
	// compactAt is the size at which the driver rewrites the journal.
	compactAt int64
	broken    error // set once a write has failed: the end of the file is unknown
}

// OpenJournal opens or creates a journal and returns its records. A record
// that a crash cut off at the end is removed; any other damage is a
// fault.Damaged error, and the file is left as it is.
func OpenJournal(path string) (*Journal, []reduce.Record, error) {
	if err := makeFolder(filepath.Dir(path)); err != nil {
		return nil, nil, fmt.Errorf("journal: %w", durable.Explain(path, err))
	}
	raw, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fmt.Errorf("journal: %w", err)
	}
	records, size, err := parseJournal(raw)
	if err != nil {
		return nil, nil, fmt.Errorf("journal %s: %w", path, err)
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, nil, fmt.Errorf("journal: %w", durable.Explain(path, err))
	}
	j := &Journal{path: path, file: f, size: size, compactAt: compactAt}
	if err := j.start(); err != nil {
		f.Close()
		return nil, nil, err
	}
	return j, records, nil
}

// start cuts the file to its intact records, writing the magic of a new one.
func (j *Journal) start() error {
	err := j.file.Truncate(j.size)
	if err == nil && j.size == 0 {
		_, err = j.file.WriteAt([]byte(journalMagic), 0)
		j.size = int64(len(journalMagic))
	}
	if err == nil {
		err = j.file.Sync()
	}
	if err == nil {
		err = syncDir(filepath.Dir(j.path))
	}
	if err != nil {
		return fmt.Errorf("journal %s: %w", j.path, durable.Explain(j.path, err))
	}
	return nil
}

// parseJournal returns the intact records and how many bytes they take. Only
// the last record may be incomplete, where its write was torn: then nobody was
// told of it. A record that is all there, but was changed, may have been
// answered for.
func parseJournal(raw []byte) ([]reduce.Record, int64, error) {
	n := min(len(raw), len(journalMagic))
	if string(raw[:n]) != journalMagic[:n] {
		return nil, 0, fault.Errorf(fault.Damaged, "this is no journal; move it away")
	}
	if n < len(journalMagic) {
		return nil, 0, nil // cut off while it was created
	}
	var records []reduce.Record
	at := int64(n)
	for rest := raw[n:]; len(rest) >= recordHeader; {
		size := int64(binary.LittleEndian.Uint32(rest))
		end := recordHeader + size
		if crc32.Checksum(rest[:4], castagnoli) != binary.LittleEndian.Uint32(rest[4:]) {
			if len(bytes.Trim(rest, "\x00")) == 0 {
				break // a file system's zeros where a write did not arrive
			}
			return nil, 0, fault.Errorf(fault.Damaged, "byte %d: the checksum of a record's length is wrong", at)
		}
		if size > reduce.MaxRecord {
			return nil, 0, fault.Errorf(fault.Damaged, "byte %d: a record of %d bytes; at most %d are written", at, size, reduce.MaxRecord)
		}
		if end > int64(len(rest)) {
			break
		}
		body := rest[recordHeader:end]
		if crc32.Checksum(body, castagnoli) != binary.LittleEndian.Uint32(rest[8:]) {
			if torn(rest, at, end) {
				break
			}
			return nil, 0, fault.Errorf(fault.Damaged, "byte %d: the checksum of a record is wrong; restore the journal from a copy", at)
		}
		r, err := reduce.ParseRecord(body)
		if err != nil {
			return nil, 0, fmt.Errorf("byte %d: %w", at, err)
		}
		records = append(records, r)
		at, rest = at+end, rest[end:]
	}
	return records, at, nil
}

// sector is the unit in which disks write: after a power loss those of an append
// are there or, where the file had grown before, zeros.
const sector = 512

// torn reports whether the write of a record never ended: its last sector and all
// that follows, of records written with it, did not come. rest is what is left of
// the file from place at on, and the record's part of it ends at end.
func torn(rest []byte, at, end int64) bool {
	last := (at + end - 1) / sector * sector
	return len(bytes.Trim(rest[max(0, last-at):], "\x00")) == 0
}

// appendRecord appends the bytes of a record to b. The error is for a record
// that parseJournal would refuse: it must not be taken for remembered.
func appendRecord(b []byte, r reduce.Record) ([]byte, error) {
	body := r.Encode()
	if _, err := reduce.ParseRecord(body); err != nil {
		return b, fmt.Errorf("a record of kind %d cannot be read back: %w", r.Kind, err)
	}
	var size [4]byte
	binary.LittleEndian.PutUint32(size[:], uint32(len(body)))
	b = append(b, size[:]...)
	b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(size[:], castagnoli))
	b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(body, castagnoli))
	return append(b, body...), nil
}

// Append adds records and returns when they are on the disk: after a crash before
// that, the first ones may be there without the others. After an error the
// journal takes no more records: open it again.
func (j *Journal) Append(records ...reduce.Record) error {
	if j.broken != nil {
		return j.broken
	}
	var b []byte
	var err error
	for _, r := range records {
		if b, err = appendRecord(b, r); err != nil {
			break
		}
	}
	if err == nil {
		_, err = j.file.WriteAt(b, j.size)
	}
	if err == nil {
		err = j.file.Sync()
	}
	if err != nil {
		j.broken = fmt.Errorf("journal %s: %w", j.path, durable.Explain(j.path, err))
		return j.broken
	}
	j.size += int64(len(b))
	return nil
}

// Rewrite replaces all records; after a crash either the old or the new ones
// are there.
func (j *Journal) Rewrite(records []reduce.Record) error {
	b := []byte(journalMagic)
	for _, r := range records {
		var err error
		if b, err = appendRecord(b, r); err != nil {
			return fmt.Errorf("journal %s: %w", j.path, err)
		}
	}
	f, err := replace(j.path, b)
	if err != nil {
		return fmt.Errorf("journal %s: %w", j.path, durable.Explain(j.path, err))
	}
	j.file.Close() // the old file has no name any more
	j.file, j.size, j.broken = f, int64(len(b)), nil
	return nil
}

// syncDir is durable.SyncDir; tests look at what is synced.
var syncDir = durable.SyncDir

// makeFolder makes a folder, and what is missing above it, durably: a journal
// whose folder is gone after a power loss is a journal that forgot.
func makeFolder(path string) error {
	var missing []string
	for dir := filepath.Clean(path); ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(dir); err == nil || dir == filepath.Dir(dir) {
			break
		}
		missing = append(missing, dir)
	}
	if err := os.MkdirAll(path, 0o755); err != nil {
		return err
	}
	for _, dir := range slices.Backward(missing) {
		if err := syncDir(filepath.Dir(dir)); err != nil {
			return err
		}
	}
	return nil
}

// Close closes the file.
func (j *Journal) Close() error { return j.file.Close() }

// replace puts a new file in the place of path and returns it open.
func replace(path string, content []byte) (*os.File, error) {
	if err := durable.Replace(path, 0o644, content); err != nil {
		return nil, err
	}
	return os.OpenFile(path, os.O_RDWR, 0o644)
}
