package stream

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sort"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

const (
	maxPage       = 256 << 20 // bytes of a page, compressed or not
	headerWindow  = 1 << 12   // bytes read for a page header at first
	maxPageHeader = 16 << 20  // statistics may hold long texts
)

// pageTable says where the data pages of one column chunk lie.
type pageTable struct {
	dataStart int64 // offset of the first page that is no dictionary
	pages     []pageSpan
}

// pageSpan is a data page: header and body, and the rows it holds.
type pageSpan struct {
	offset, end int64
	first, rows int64 // first is counted from the start of the row group
}

// find returns the page that holds row, which the table must hold.
func (t *pageTable) find(row int64) pageSpan {
	return t.pages[sort.Search(len(t.pages), func(i int) bool {
		return row < t.pages[i].first+t.pages[i].rows
	})]
}

// walkPages reads the page headers of a row group, from one to the next, and
// checks every size in them. It decodes no page.
func walkPages(d *disk, g *rowGroup) (*pageTable, error) {
	t := &pageTable{dataStart: -1}
	rows := int64(0)
	for at := g.start; at < g.end && rows < g.rows; {
		header, body, err := readPageHeader(d, at, g.end)
		if err != nil {
			return nil, fmt.Errorf("page header at byte %d: %w", at, err)
		}
		span := pageSpan{offset: at, end: body + int64(header.CompressedPageSize), first: rows}
		if span.rows, err = checkPage(d, g, header, body, g.rows-rows); err != nil {
			return nil, fmt.Errorf("page at byte %d: %w", at, err)
		}
		switch dictionary := header.Type == format.DictionaryPage; {
		case dictionary && t.dataStart >= 0:
			return nil, fmt.Errorf("page at byte %d: a dictionary behind the data", at)
		case !dictionary && t.dataStart < 0:
			t.dataStart = at
		}
		if span.rows > 0 {
			t.pages = append(t.pages, span)
		}
		at, rows = span.end, rows+span.rows
	}
	if rows != g.rows {
		return nil, fmt.Errorf("its pages have %d rows, the footer says %d", rows, g.rows)
	}
	return t, nil
}

// readPageHeader decodes the header at offset at, and returns where its body
// begins. It asks for more bytes only while the header goes on.
func readPageHeader(d *disk, at, end int64) (*format.PageHeader, int64, error) {
	for window := int64(headerWindow); ; window *= 16 {
		n := min(window, end-at)
		data, err := d.bytesAt(at, n)
		if err != nil {
			return nil, 0, err
		}
		length, err := thriftStruct(data)
		if errors.Is(err, io.ErrUnexpectedEOF) && n == window && window < maxPageHeader {
			continue
		}
		if errors.Is(err, io.ErrUnexpectedEOF) {
			err = fmt.Errorf("%w: it does not end", errThrift)
		}
		if err != nil {
			return nil, 0, err
		}
		header := new(format.PageHeader)
		err = guard(func() error { return thrift.Unmarshal(new(thrift.CompactProtocol), data[:length], header) })
		return header, at + int64(length), err
	}
}

// checkPage returns the number of rows that a page holds, at most left; 0 for
// pages without rows. In a column without lists, values and rows are the same.
func checkPage(d *disk, g *rowGroup, h *format.PageHeader, body, left int64) (int64, error) {
	packed, plain := int64(h.CompressedPageSize), int64(h.UncompressedPageSize)
	if packed < 0 || packed > g.end-body || plain < 0 || plain > maxPage {
		return 0, fmt.Errorf("%d bytes that would be %d unpacked, where %d are left", packed, plain, g.end-body)
	}
	rows, levels, compressed := int64(0), int64(0), g.codec != format.Uncompressed
	switch {
	case h.Type == format.DictionaryPage && h.DictionaryPageHeader.Valid:
		// A value of a dictionary takes at least the four bytes of its length.
		if n := int64(h.DictionaryPageHeader.V.NumValues); n < 0 || n > plain/4 {
			return 0, fmt.Errorf("a dictionary of %d values in %d bytes", n, plain)
		}
	case h.Type == format.DataPage && h.DataPageHeader.Valid:
		rows = int64(h.DataPageHeader.V.NumValues)
	case h.Type == format.DataPageV2 && h.DataPageHeaderV2.Valid:
		v := &h.DataPageHeaderV2.V
		rows = int64(v.NumValues)
		levels = int64(v.RepetitionLevelsByteLength) + int64(v.DefinitionLevelsByteLength)
		if v.NumRows != v.NumValues || v.NumNulls < 0 || v.NumNulls > v.NumValues {
			return 0, fmt.Errorf("%d rows, %d values and %d nulls in a column without lists", v.NumRows, v.NumValues, v.NumNulls)
		}
		if v.RepetitionLevelsByteLength < 0 || v.DefinitionLevelsByteLength < 0 || levels > packed || levels > plain {
			return 0, fmt.Errorf("%d bytes of levels in a page of %d", levels, packed)
		}
		compressed = compressed && (!v.IsCompressed.Valid || v.IsCompressed.V)
	case h.Type != format.IndexPage:
		return 0, fmt.Errorf("a page of type %d without its header", h.Type)
	}
	if rows < 0 || rows > left {
		return 0, fmt.Errorf("%d rows, where %d are left in the row group", rows, left)
	}
	switch {
	case h.Type == format.IndexPage:
		return 0, nil
	case compressed:
		return rows, checkPacked(d, g.codec, body+levels, packed-levels, plain-levels)
	case packed != plain:
		return 0, fmt.Errorf("%d bytes that would be %d without compression", packed, plain)
	}
	return rows, nil
}

// checkPacked compares the size that compressed bytes give for themselves with
// the page header's, since the decoders allocate what they read there.
func checkPacked(d *disk, codec format.CompressionCodec, at, packed, plain int64) error {
	head, err := d.bytesAt(at, min(packed, 18))
	if err != nil {
		return err
	}
	size, known := snappySize(head)
	if codec == format.Zstd {
		size, known = zstdSize(head)
	}
	if known && size != uint64(plain) && packed > 0 {
		return fmt.Errorf("%s data that unpack to %d bytes, where the page header says %d", codec, size, plain)
	}
	return nil
}

// snappySize reads the varint at the head of a snappy block.
func snappySize(head []byte) (uint64, bool) {
	v, n := binary.Uvarint(head)
	if n <= 0 {
		return ^uint64(0), true // never a valid block
	}
	return v, true
}

// zstdSize reads the frame header of RFC 8878, section 3.1.1.1. Encoders that
// stream leave the size out.
func zstdSize(head []byte) (uint64, bool) {
	if len(head) < 5 || binary.LittleEndian.Uint32(head) != 0xFD2FB528 {
		return 0, false // not a frame, or one to skip: the decoder's business
	}
	descriptor := head[4]
	at := 5
	single := descriptor&0x20 != 0
	if !single {
		at++ // window descriptor
	}
	at += []int{0, 1, 2, 4}[descriptor&3] // dictionary
	width := []int{0, 2, 4, 8}[descriptor>>6]
	if width == 0 && single {
		width = 1
	}
	if width == 0 || len(head) < at+width {
		return 0, false
	}
	var field [8]byte
	copy(field[:], head[at:at+width])
	size := binary.LittleEndian.Uint64(field[:])
	if width == 2 {
		size += 256
	}
	return size, true
}

// cell is one decoded value of the column.
type cell struct {
	text string
	null bool
}

// readPage decodes one data page.
func readPage(d *disk, g *rowGroup, t *pageTable, span pageSpan) (cells []cell, err error) {
	err = guard(func() error {
		pages := g.chunk.PagesFrom(&pageWindow{disk: d, dataStart: t.dataStart, span: span})
		defer pages.Close()
		page, err := pages.ReadPage()
		if err != nil {
			return err
		}
		defer parquet.Release(page)
		cells, err = readCells(page, span.rows)
		return err
	})
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return cells, err
}

// readCells copies the texts out of a page, whose memory is used again.
func readCells(page parquet.Page, rows int64) ([]cell, error) {
	if page.NumRows() != rows {
		return nil, fmt.Errorf("the page has %d rows, its header says %d", page.NumRows(), rows)
	}
	cells := make([]cell, 0, rows)
	values := page.Values()
	var buffer [256]parquet.Value
	for {
		n, err := values.ReadValues(buffer[:])
		for _, v := range buffer[:n] {
			cells = append(cells, cell{text: string(v.ByteArray()), null: v.IsNull()})
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		if n == 0 {
			return nil, io.ErrNoProgress
		}
	}
	if int64(len(cells)) != rows {
		return nil, fmt.Errorf("the page has %d values, its header says %d", len(cells), rows)
	}
	return cells, nil
}

// pageWindow shows parquet-go a column chunk that has its dictionary and, right
// behind it, one data page: the one to be read. Without it parquet-go would
// decode all pages before that one.
type pageWindow struct {
	disk      *disk
	dataStart int64
	span      pageSpan
}

func (w *pageWindow) ReadAt(p []byte, offset int64) (int, error) {
	shift := w.span.offset - w.dataStart
	end := w.span.end - shift
	n := 0
	if offset < w.dataStart {
		n = int(min(int64(len(p)), w.dataStart-offset))
		if m, err := w.disk.ReadAt(p[:n], offset); m < n {
			return m, err
		}
		offset += int64(n)
	}
	rest := p[n:]
	if left := max(end-offset, 0); int64(len(rest)) > left {
		rest = rest[:left]
	}
	if len(rest) > 0 {
		m, err := w.disk.ReadAt(rest, offset+shift)
		n += m
		if m < len(rest) {
			return n, err
		}
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}
