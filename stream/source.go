package stream

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"unicode/utf8"

	"lockstep/internal/merkle"
)

// Source is text in rows, addressed by number. All methods are safe for
// concurrent use.
type Source interface {
	// Name is the kind of source: "builtin/1", "parquet", "jsonl", "txt" or
	// "mixed", which says nothing of where the files lie; of text elsewhere it
	// is the address, with the commit if it has one.
	Name() string
	// Identity covers what the source holds; peers compare it before they
	// train together.
	Identity() merkle.Digest
	// Rows is the number of rows.
	Rows() uint64
	// Text returns one row. Damaged bytes are a *DamageError; a row number
	// that is not below Rows is a fault.Config error.
	Text(ctx context.Context, row uint64) (Row, error)
	// Close frees the memory that the source holds.
	Close() error
}

// Row is one row of a source.
type Row struct {
	Text   string
	Defect Defect        // why Text is empty although the row is there
	Digest merkle.Digest // of Text, the same from every kind of source
	File   string        // the file's name inside the source
	Number uint64        // the row's number inside File, from 0
}

// Defect says why a row counts as empty text. Such rows stay in their place, so
// that row numbers do not depend on what the rows hold.
type Defect uint8

const (
	Intact  Defect = iota
	Empty          // the text has no bytes
	Null           // there is no text: a null in parquet or JSON
	NotUTF8        // the bytes are not UTF-8
)

var defectNames = [...]string{"intact", "empty", "null", "not UTF-8"}

func (d Defect) String() string { return defectNames[d] }

// newRow applies the rule for defects to the bytes of a row.
func newRow(text string, null bool, file string, number uint64) Row {
	r := Row{Text: text, File: file, Number: number}
	switch {
	case null:
		r.Defect = Null
	case text == "":
		r.Defect = Empty
	case !utf8.ValidString(text):
		r.Defect = NotUTF8
	}
	if r.Defect != Intact {
		r.Text = ""
	}
	r.Digest = RowDigest(r.Text)
	return r
}

// RowDigest is SHA-256("lockstep/row/1" ‖ u64 length ‖ text).
func RowDigest(text string) merkle.Digest {
	h := sha256.New()
	h.Write(binary.LittleEndian.AppendUint64([]byte("lockstep/row/1"), uint64(len(text))))
	h.Write([]byte(text))
	return merkle.Digest(h.Sum(nil))
}
