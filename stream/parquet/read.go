package parquet

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/parquet-go/parquet-go/format"
)

// Cell is one decoded value of the column.
type Cell struct {
	Text string
	Null bool
}

// plainDictionary is an old name: for RLE_DICTIONARY in a data page, for PLAIN
// in a dictionary's.
const plainDictionary format.Encoding = 2

// errCut is a page whose bytes end before its values do.
var errCut = fmt.Errorf("the page ends before its values do: %w", io.ErrUnexpectedEOF)

// Read decodes the page number page of a table. The texts of a page share
// memory.
func (c *Column) Read(b Blob, group int, t *Table, page int) ([]Cell, error) {
	g := &c.Groups[group]
	span := t.pages[page]
	header, packed, err := body(b, g, span)
	if err != nil {
		return nil, err
	}
	p, err := unpackPage(g, header, packed)
	if err != nil {
		return nil, err
	}
	present, texts, err := p.levels(c.Optional, int(span.rows))
	if err != nil {
		return nil, err
	}
	found, err := values(b, g, t, p.encoding, texts, present.count)
	if err != nil {
		return nil, err
	}
	cells := make([]Cell, span.rows)
	next := 0
	for i := range cells {
		if cells[i].Null = !present.at(i); !cells[i].Null {
			cells[i].Text = found[next]
			next++
		}
	}
	return cells, nil
}

// body returns header and body of a page, whose checksum holds if it has one.
func body(b Blob, g *Group, span pageSpan) (*format.PageHeader, []byte, error) {
	header, at, err := readHeader(b, span.offset, g.End)
	if err != nil {
		return nil, nil, err
	}
	rows, err := checkPage(g, header, at, span.rows)
	if err != nil {
		return nil, nil, err
	}
	if rows != span.rows || at != span.body || at+int64(header.CompressedPageSize) != span.end {
		return nil, nil, errors.New("the page header is no longer what it was")
	}
	body, err := b.Bytes(at, span.end-at)
	if err != nil {
		return nil, nil, err
	}
	if sum := crc32.ChecksumIEEE(body); header.CRC != 0 && uint32(header.CRC) != sum {
		return nil, nil, fmt.Errorf("the page's checksum is %08x, its bytes have %08x", uint32(header.CRC), sum)
	}
	return header, body, nil
}

// plainPage is a data page without compression.
type plainPage struct {
	encoding format.Encoding
	data     []byte // levels and values of version 1, values of version 2
	defined  []byte // definition levels of version 2
	version  int
	nulls    int // by the header of version 2
	levelsAs format.Encoding
}

func unpackPage(g *Group, h *format.PageHeader, body []byte) (*plainPage, error) {
	size := int64(h.UncompressedPageSize)
	if h.Type == format.DataPage {
		v := &h.DataPageHeader.V
		data, err := unpack(g.Codec, body, size)
		return &plainPage{encoding: v.Encoding, data: data, version: 1, levelsAs: v.DefinitionLevelEncoding}, err
	}
	v := &h.DataPageHeaderV2.V
	repeated, defined := int64(v.RepetitionLevelsByteLength), int64(v.DefinitionLevelsByteLength)
	codec := g.Codec
	if v.IsCompressed.Valid && !v.IsCompressed.V {
		codec = format.Uncompressed
	}
	p := &plainPage{encoding: v.Encoding, version: 2, nulls: int(v.NumNulls), defined: body[repeated : repeated+defined]}
	var err error
	if packed := body[repeated+defined:]; len(packed) > 0 || size > repeated+defined {
		p.data, err = unpack(codec, packed, size-repeated-defined)
	}
	return p, err
}

// presence says which rows of a page have a value.
type presence struct {
	levels []uint32 // 1 for a value, 0 for a null; nil if all have one
	count  int      // of values
}

func (p presence) at(i int) bool { return p.levels == nil || p.levels[i] != 0 }

// levels splits a page into the rows' presence and the bytes of the values.
func (p *plainPage) levels(optional bool, rows int) (presence, []byte, error) {
	if !optional {
		return presence{count: rows}, p.data, nil
	}
	defined, texts := p.defined, p.data
	if p.version == 1 {
		if p.levelsAs != format.RLE {
			return presence{}, nil, unfit("its definition levels are encoded as %s", p.levelsAs)
		}
		if len(p.data) < 4 || uint64(binary.LittleEndian.Uint32(p.data)) > uint64(len(p.data)-4) {
			return presence{}, nil, errCut
		}
		n := binary.LittleEndian.Uint32(p.data)
		defined, texts = p.data[4:4+n], p.data[4+n:]
	}
	levels, err := hybrid(defined, 1, rows)
	if err != nil {
		return presence{}, nil, fmt.Errorf("definition levels: %w", err)
	}
	present := presence{levels: levels}
	for _, l := range levels {
		present.count += int(l)
	}
	if p.version == 2 && present.count != rows-p.nulls {
		return presence{}, nil, fmt.Errorf("%d of %d rows have a value, though the header counts %d nulls", present.count, rows, p.nulls)
	}
	return present, texts, nil
}

// values decodes n values.
func values(b Blob, g *Group, t *Table, encoding format.Encoding, data []byte, n int) ([]string, error) {
	switch encoding {
	case format.Plain:
		return plain(data, n)
	case format.DeltaLengthByteArray:
		return deltaLength(data, n)
	case format.DeltaByteArray:
		return deltaStrings(data, n)
	case plainDictionary, format.RLEDictionary:
		if t.dictionary == nil {
			return nil, errors.New("the page has places in a dictionary, and there is none")
		}
		entries, err := dictionary(b, g, *t.dictionary)
		if err != nil {
			return nil, fmt.Errorf("dictionary: %w", err)
		}
		return lookUp(entries, data, n)
	}
	return nil, unfit("its texts are encoded as %s", encoding)
}

// dictionary decodes the dictionary page.
func dictionary(b Blob, g *Group, span pageSpan) ([]string, error) {
	header, packed, err := body(b, g, span)
	if err != nil {
		return nil, err
	}
	v := &header.DictionaryPageHeader.V
	if v.Encoding != format.Plain && v.Encoding != plainDictionary {
		return nil, unfit("it is encoded as %s", v.Encoding)
	}
	data, err := unpack(g.Codec, packed, int64(header.UncompressedPageSize))
	if err != nil {
		return nil, err
	}
	return plain(data, int(v.NumValues))
}
