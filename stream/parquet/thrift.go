package parquet

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Limits of what the metadata of a parquet file may claim.
const (
	maxThriftElements = 1 << 21 // list elements of one structure in all
	maxThriftDepth    = 32
)

// errThrift is metadata that is no Thrift structure, or one beyond the limits.
var errThrift = errors.New("the metadata is not what a parquet writer writes")

// thriftStruct checks the structure at the start of data, which is in Thrift's
// compact protocol, and returns its length. It decodes nothing. It exists
// because a decoder allocates the lists and strings that the bytes announce
// before it sees whether they are there: one flipped bit could ask for all the
// memory of the machine. io.ErrUnexpectedEOF means that data is too short.
//
// The protocol: https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
func thriftStruct(data []byte) (int, error) {
	w := thriftWalk{data: data}
	err := w.structure(0)
	return w.at, err
}

// rowsField is FileMetaData.num_rows, which stands before the row groups.
const rowsField = 3

// RowsOf returns the number of rows of a file from the first bytes of its
// footer: version, schema, rows. io.ErrUnexpectedEOF means that these are too few.
func RowsOf(head []byte) (uint64, error) {
	w := thriftWalk{data: head}
	for field := uint64(0); ; {
		kind, err := w.byte()
		if err != nil {
			return 0, err
		}
		if kind == thriftStop {
			return 0, fmt.Errorf("%w: it names no number of rows", errThrift)
		}
		if field += uint64(kind >> 4); kind>>4 == 0 {
			number, err := w.varint()
			if err != nil {
				return 0, err
			}
			field = number >> 1 // zigzag
		}
		switch kind &= 15; {
		case field == rowsField && kind == thriftInt64:
			rows, err := w.varint()
			if err == nil && rows&1 != 0 {
				err = fmt.Errorf("%w: a negative number of rows", errThrift)
			}
			return rows >> 1, err
		case field >= rowsField:
			return 0, fmt.Errorf("%w: field %d of type %d stands where the number of rows belongs", errThrift, field, kind)
		case kind == thriftTrue || kind == thriftFalse:
		default:
			if err := w.value(kind, 0); err != nil {
				return 0, err
			}
		}
	}
}

type thriftWalk struct {
	data     []byte
	at       int
	elements int
}

// The element types of the compact protocol.
const (
	thriftStop = iota
	thriftTrue
	thriftFalse
	thriftByte
	thriftInt16
	thriftInt32
	thriftInt64
	thriftDouble
	thriftBinary
	thriftList
	thriftSet
	thriftMap
	thriftStructure
)

func (w *thriftWalk) structure(depth int) error {
	for {
		head, err := w.byte()
		if err != nil || head == thriftStop {
			return err
		}
		if head>>4 == 0 { // the field's number follows in full
			if _, err := w.varint(); err != nil {
				return err
			}
		}
		switch kind := head & 15; kind {
		case thriftTrue, thriftFalse: // the type is the value
		default:
			if err := w.value(kind, depth); err != nil {
				return err
			}
		}
	}
}

// value walks over one value of the given type.
func (w *thriftWalk) value(kind byte, depth int) error {
	if depth >= maxThriftDepth {
		return fmt.Errorf("%w: nested deeper than %d", errThrift, maxThriftDepth)
	}
	switch kind {
	case thriftTrue, thriftFalse, thriftByte: // as an element, a boolean is a byte
		return w.skip(1)
	case thriftInt16, thriftInt32, thriftInt64:
		_, err := w.varint()
		return err
	case thriftDouble:
		return w.skip(8)
	case thriftBinary:
		n, err := w.varint()
		if err != nil {
			return err
		}
		return w.skip(n)
	case thriftList, thriftSet:
		return w.list(depth)
	case thriftMap:
		return w.pairs(depth)
	case thriftStructure:
		return w.structure(depth + 1)
	}
	return fmt.Errorf("%w: type %d at byte %d", errThrift, kind, w.at)
}

func (w *thriftWalk) list(depth int) error {
	head, err := w.byte()
	if err != nil {
		return err
	}
	n := uint64(head >> 4)
	if n == 15 {
		if n, err = w.varint(); err != nil {
			return err
		}
	}
	return w.repeat(n, depth, head&15)
}

func (w *thriftWalk) pairs(depth int) error {
	n, err := w.varint()
	if err != nil || n == 0 {
		return err
	}
	kinds, err := w.byte()
	if err != nil {
		return err
	}
	return w.repeat(n, depth, kinds>>4, kinds&15)
}

// repeat walks over n times one value of each kind.
func (w *thriftWalk) repeat(n uint64, depth int, kinds ...byte) error {
	if n > uint64(maxThriftElements-w.elements) {
		return fmt.Errorf("%w: more than %d list elements", errThrift, maxThriftElements)
	}
	w.elements += int(n)
	for range n {
		for _, kind := range kinds {
			if err := w.value(kind, depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *thriftWalk) byte() (byte, error) {
	if w.at >= len(w.data) {
		return 0, io.ErrUnexpectedEOF
	}
	w.at++
	return w.data[w.at-1], nil
}

func (w *thriftWalk) varint() (uint64, error) {
	v, n := binary.Uvarint(w.data[w.at:])
	switch {
	case n == 0:
		return 0, io.ErrUnexpectedEOF
	case n < 0:
		return 0, fmt.Errorf("%w: a number of more than 64 bits", errThrift)
	}
	w.at += n
	return v, nil
}

func (w *thriftWalk) skip(n uint64) error {
	if n > uint64(len(w.data)-w.at) {
		return io.ErrUnexpectedEOF
	}
	w.at += int(n)
	return nil
}
