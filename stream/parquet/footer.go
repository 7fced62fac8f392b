package parquet

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// Limits and fixed sizes of a file's end: footer, its length as u32, magic.
const (
	MaxFooter = 64 << 20 // bytes of a footer; FineWeb's, of 1,045 row groups, have some 10 MB
	TailSize  = 8        // length and magic
	minFile   = 12       // magic, length and magic
)

// Unfit is a file that is whole, but not of a kind that can be read.
type Unfit struct{ error }

func unfit(format string, args ...any) error { return Unfit{fmt.Errorf(format, args...)} }

// Column says where the texts of a file lie. It holds nothing of the file, and
// is small enough to be kept for each of many files.
type Column struct {
	Optional bool    `json:"optional"` // nulls are possible
	Groups   []Group `json:"groups"`
}

// Group is the column in one row group.
type Group struct {
	Rows  int64                   `json:"rows"`
	Start int64                   `json:"start"` // offset of the first page, a dictionary or data
	End   int64                   `json:"end"`   // offset behind the last page
	Codec format.CompressionCodec `json:"codec"`
}

// Rows is the number of rows of all groups.
func (c *Column) Rows() (n uint64) {
	for _, g := range c.Groups {
		n += uint64(g.Rows)
	}
	return n
}

// FooterLength reads the last TailSize bytes of a file of size bytes.
func FooterLength(tail []byte, size int64) (int64, error) {
	if size < minFile || len(tail) != TailSize {
		return 0, fmt.Errorf("%d bytes are too few for parquet; the file was cut off", size)
	}
	if !bytes.Equal(tail[4:], []byte("PAR1")) {
		return 0, fmt.Errorf("the file ends in %q, not in \"PAR1\"; it was cut off, or is not parquet", tail[4:])
	}
	length := int64(binary.LittleEndian.Uint32(tail))
	if length > MaxFooter || length > size-minFile {
		return 0, fmt.Errorf("a footer of %d bytes does not fit into %d bytes of file", length, size)
	}
	return length, nil
}

// ParseFooter finds a top-level column of text in the footer of a file of size
// bytes.
func ParseFooter(footer []byte, size int64, column string) (*Column, error) {
	n, err := thriftStruct(footer)
	if err == nil && n != len(footer) {
		err = fmt.Errorf("%w: %d bytes behind its end", errThrift, len(footer)-n)
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = fmt.Errorf("%w: it ends too early", errThrift)
	}
	if err != nil {
		return nil, err
	}
	var m format.FileMetaData
	if err := decode(footer, &m); err != nil {
		return nil, err
	}
	if m.EncryptionAlgorithm.Value != nil {
		return nil, unfit("it is encrypted")
	}
	leaf, leaves, optional, err := findLeaf(m.Schema, column)
	if err != nil {
		return nil, err
	}
	c := &Column{Optional: optional}
	total, limit := int64(0), size-TailSize-int64(len(footer))
	for i, g := range m.RowGroups {
		if len(g.Columns) != leaves {
			return nil, fmt.Errorf("row group %d: %d columns, where the schema has %d", i, len(g.Columns), leaves)
		}
		group, err := newGroup(g.NumRows, &g.Columns[leaf], limit)
		if err != nil {
			return nil, fmt.Errorf("row group %d: %w", i, err)
		}
		if group.Rows > m.NumRows-total {
			return nil, fmt.Errorf("the row groups have more rows than the %d of the file", m.NumRows)
		}
		total += group.Rows
		c.Groups = append(c.Groups, group)
	}
	if total != m.NumRows {
		return nil, fmt.Errorf("the row groups have %d rows, the file says %d", total, m.NumRows)
	}
	return c, nil
}

// decode decodes a structure that thriftStruct has walked over.
func decode(data []byte, into any) (err error) {
	defer func() {
		if v := recover(); v != nil { // no byte of a file may end the process
			err = fmt.Errorf("%w: %v", errThrift, v)
		}
	}()
	return thrift.Unmarshal(new(thrift.CompactProtocol), data, into)
}

// findLeaf looks for a column among the children of the schema's root, which is
// a tree laid out depth first. leaf is its place among the leaves.
func findLeaf(schema []format.SchemaElement, column string) (leaf, leaves int, optional bool, err error) {
	leaf = -1
	var names []string
	next := 1
	for next < len(schema) {
		e := &schema[next]
		names = append(names, e.Name)
		if e.Name == column {
			if leaf >= 0 {
				return 0, 0, false, unfit("there are two columns %q", column)
			}
			if e.NumChildren.V != 0 || e.Type.V != format.ByteArray || !e.Type.Valid || e.RepetitionType.V == format.Repeated {
				return 0, 0, false, unfit("column %q is not text (one BYTE_ARRAY a row)", column)
			}
			leaf, optional = leaves, e.RepetitionType.V == format.Optional
		}
		n, below := subtree(schema, next)
		next, leaves = n, leaves+below
	}
	if len(names) > 20 {
		names = append(names[:20], "...")
	}
	switch {
	case len(schema) == 0 || int(schema[0].NumChildren.V) < 0:
		return 0, 0, false, fmt.Errorf("%w: there is no schema", errThrift)
	case leaf < 0:
		return 0, 0, false, unfit("there is no column %q; the columns are %.1000q", column, names)
	}
	return leaf, leaves, optional, nil
}

// subtree returns the place behind the element at and what is below it, and how
// many leaves that is. It needs no recursion: open counts the elements due.
func subtree(schema []format.SchemaElement, at int) (next, leaves int) {
	for open := int64(1); open > 0 && at < len(schema); at++ {
		children := int64(schema[at].NumChildren.V)
		if children <= 0 {
			leaves++
			children = 0
		}
		open += children - 1
	}
	return at, leaves
}

// newGroup checks the description of a column chunk, whose pages must lie
// before limit, where the footer begins.
func newGroup(rows int64, described *format.ColumnChunk, limit int64) (Group, error) {
	m := &described.MetaData
	g := Group{Rows: rows, Codec: m.Codec, Start: m.DataPageOffset}
	if m.DictionaryPageOffset != 0 {
		g.Start = m.DictionaryPageOffset
	}
	g.End = g.Start + m.TotalCompressedSize
	switch {
	case described.FilePath != "":
		return g, unfit("its text lies in another file, %.200q", described.FilePath)
	case described.CryptoMetadata.Value != nil:
		return g, unfit("its text is encrypted")
	case !readable(m.Codec):
		return g, unfit("its text is compressed with %s; SNAPPY, ZSTD and no compression can be read", m.Codec)
	case rows < 0 || m.NumValues != rows:
		return g, fmt.Errorf("it has %d rows but %d texts", rows, m.NumValues)
	case g.Start < 4 || m.DataPageOffset < g.Start || m.TotalCompressedSize < 0 || g.End > limit || g.End < m.DataPageOffset:
		return g, fmt.Errorf("its pages would lie in bytes %d to %d of a file whose footer begins at %d", g.Start, g.End, limit)
	}
	return g, nil
}
