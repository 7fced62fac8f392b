package parquet

import (
	"errors"
	"fmt"
	"io"
	"sort"

	"github.com/parquet-go/parquet-go/format"
)

const (
	maxPage       = 256 << 20 // bytes of a page, compressed or not
	maxPageRows   = 1 << 22   // few bytes can stand for any number of equal texts
	headerWindow  = 1 << 12   // bytes read for a page header at first
	maxPageHeader = 16 << 20  // statistics may hold long texts
)

// Blob is the bytes of a file, or those of them that are at hand.
type Blob interface {
	// Bytes returns exactly n bytes at offset, which the caller does not change.
	Bytes(offset, n int64) ([]byte, error)
}

// Table says where the pages of one row group lie.
type Table struct {
	dictionary *pageSpan
	pages      []pageSpan
}

// Pages is the number of pages that hold rows.
func (t *Table) Pages() int { return len(t.pages) }

// pageSpan is a page: where its header and body are, and the rows it holds.
type pageSpan struct {
	offset, body, end int64
	first, rows       int64 // first is counted from the start of the row group
}

// Find returns the page that holds a row of the group, and the row's place in it.
func (t *Table) Find(row int64) (page int, inside int64) {
	page = sort.Search(len(t.pages), func(i int) bool {
		return row < t.pages[i].first+t.pages[i].rows
	})
	return page, row - t.pages[page].first
}

// Walk reads the page headers of a row group, from one to the next, and checks
// every size in them. It decodes no page.
func (c *Column) Walk(b Blob, group int) (*Table, error) {
	g := &c.Groups[group]
	t := &Table{}
	rows := int64(0)
	for at := g.Start; at < g.End && rows < g.Rows; {
		header, body, err := readHeader(b, at, g.End)
		if err != nil {
			return nil, fmt.Errorf("page header at byte %d: %w", at, err)
		}
		span := pageSpan{offset: at, body: body, end: body + int64(header.CompressedPageSize), first: rows}
		if span.rows, err = checkPage(g, header, body, g.Rows-rows); err != nil {
			return nil, fmt.Errorf("page at byte %d: %w", at, err)
		}
		switch {
		case header.Type == format.DictionaryPage && (t.dictionary != nil || len(t.pages) > 0):
			return nil, fmt.Errorf("page at byte %d: a dictionary behind the data", at)
		case header.Type == format.DictionaryPage:
			t.dictionary = &span
		case span.rows > 0:
			t.pages = append(t.pages, span)
		}
		at, rows = span.end, rows+span.rows
	}
	if rows != g.Rows {
		return nil, fmt.Errorf("its pages have %d rows, the footer says %d", rows, g.Rows)
	}
	return t, nil
}

// readHeader decodes the header at offset at, and returns where its body
// begins. It asks for more bytes only while the header goes on.
func readHeader(b Blob, at, end int64) (*format.PageHeader, int64, error) {
	for window := int64(headerWindow); ; window *= 16 {
		n := min(window, end-at)
		data, err := b.Bytes(at, n)
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
		return header, at + int64(length), decode(data[:length], header)
	}
}

// checkPage returns the number of rows that a page holds, at most left; 0 for
// pages without rows. In a column without lists, values and rows are the same.
func checkPage(g *Group, h *format.PageHeader, body, left int64) (int64, error) {
	packed, plain := int64(h.CompressedPageSize), int64(h.UncompressedPageSize)
	if packed < 0 || packed > g.End-body || plain < 0 || plain > maxPage {
		return 0, fmt.Errorf("%d bytes that would be %d unpacked, where %d are left", packed, plain, g.End-body)
	}
	rows, compressed := int64(0), g.Codec != format.Uncompressed
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
		levels := int64(v.RepetitionLevelsByteLength) + int64(v.DefinitionLevelsByteLength)
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
	if rows < 0 || rows > left || rows > maxPageRows {
		return 0, fmt.Errorf("%d rows, where %d are left in the row group and %d fit into a page", rows, left, maxPageRows)
	}
	if h.Type != format.IndexPage && !compressed && packed != plain {
		return 0, fmt.Errorf("%d bytes that would be %d without compression", packed, plain)
	}
	return rows, nil
}
