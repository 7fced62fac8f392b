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

	"lockstep/internal/durable"
	"lockstep/internal/fault"
	"lockstep/internal/signed"
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
// that a crash cut off at the end is removed; damage before the end is a
// fault.Damaged error, and the file is left as it is.
func OpenJournal(path string) (*Journal, []reduce.Record, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
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
		err = durable.SyncDir(filepath.Dir(j.path))
	}
	if err != nil {
		return fmt.Errorf("journal %s: %w", j.path, durable.Explain(j.path, err))
	}
	return nil
}

// parseJournal returns the intact records and how many bytes they take. Only
// the last record may be incomplete or fail its checksum.
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
		if size > signed.MaxDocument {
			return nil, 0, fault.Errorf(fault.Damaged, "byte %d: a record of %d bytes", at, size)
		}
		if end > int64(len(rest)) {
			break
		}
		body := rest[recordHeader:end]
		if crc32.Checksum(body, castagnoli) != binary.LittleEndian.Uint32(rest[8:]) {
			if end == int64(len(rest)) {
				break
			}
			return nil, 0, fault.Errorf(fault.Damaged, "byte %d: the record's checksum is wrong, and more records follow", at)
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

// appendRecord appends the bytes of a record to b.
func appendRecord(b []byte, r reduce.Record) []byte {
	body := r.Encode()
	var size [4]byte
	binary.LittleEndian.PutUint32(size[:], uint32(len(body)))
	b = append(b, size[:]...)
	b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(size[:], castagnoli))
	b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(body, castagnoli))
	return append(b, body...)
}

// Append adds a record and returns when it is on the disk. After an error the
// journal takes no more records: open it again.
func (j *Journal) Append(r reduce.Record) error {
	if j.broken != nil {
		return j.broken
	}
	b := appendRecord(nil, r)
	_, err := j.file.WriteAt(b, j.size)
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
		b = appendRecord(b, r)
	}
	f, err := replace(j.path, b)
	if err != nil {
		return fmt.Errorf("journal %s: %w", j.path, durable.Explain(j.path, err))
	}
	j.file.Close() // the old file has no name any more
	j.file, j.size, j.broken = f, int64(len(b)), nil
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
