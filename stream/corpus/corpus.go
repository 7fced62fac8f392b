// Package corpus is lockstep's own text: a million little stories made by a
// grammar, so that a network can train with nothing downloaded and nothing
// borrowed. A row is a pure function of its number. The stories are simple on
// purpose: a small model learns from them within a few steps, and a reader sees
// that it has.
//
// It is no natural language; measure nothing about real text with it.
package corpus

import (
	"crypto/sha256"
	_ "embed"
	"encoding/binary"
	"strings"
	"sync"

	"lockstep/internal/merkle"
	"lockstep/internal/seed"
)

// Name is the corpus's name and version. Any change to a row is a new version.
const Name = "builtin/1"

// Rows is the number of rows.
const Rows = 1 << 20

// sampleRows is the number of rows that Identity covers.
const sampleRows = 16

//go:embed grammar.txt
var grammarText string

// stories is the parsed grammar. A grammar that does not parse is a broken
// build, which the tests would not let pass.
var stories = sync.OnceValue(func() *grammar {
	g, err := parseGrammar(grammarText)
	if err != nil {
		panic("corpus: the embedded grammar does not parse")
	}
	return g
})

// Text returns row number row. It panics unless row < Rows.
func Text(row uint64) string {
	if row >= Rows {
		panic("corpus: row out of range")
	}
	return stories().expand(seed.New(0, Name, row))
}

// Identity is SHA-256 over the grammar and the first rows, so that neither the
// text nor the way of reading it can change unnoticed. FORMATS.md draws it.
var Identity = sync.OnceValue(func() merkle.Digest {
	buf := []byte("lockstep/corpus/1")
	buf = binary.LittleEndian.AppendUint64(buf, Rows)
	buf = appendText(buf, grammarText)
	for row := range uint64(sampleRows) {
		buf = appendText(buf, Text(row))
	}
	return sha256.Sum256(buf)
})

func appendText(buf []byte, s string) []byte {
	buf = binary.LittleEndian.AppendUint64(buf, uint64(len(s)))
	return append(buf, s...)
}

// capital returns s with its first letter in upper case.
func capital(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}
