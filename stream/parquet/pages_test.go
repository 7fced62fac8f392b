package parquet

import (
	"testing"

	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// page is a sound header of a data page of 5 rows in 100 bytes, 200 unpacked,
// with a change. Version 2 has 10 bytes of levels.
func page(version int, change func(h *format.PageHeader)) *format.PageHeader {
	h := &format.PageHeader{CompressedPageSize: 100, UncompressedPageSize: 200}
	switch version {
	case 0:
		h.Type = format.DictionaryPage
		h.DictionaryPageHeader = thrift.New(format.DictionaryPageHeader{NumValues: 5})
	case 1:
		h.Type = format.DataPage
		h.DataPageHeader = thrift.New(format.DataPageHeader{NumValues: 5})
	case 2:
		h.Type = format.DataPageV2
		h.DataPageHeaderV2 = thrift.New(format.DataPageHeaderV2{NumValues: 5, NumRows: 5, DefinitionLevelsByteLength: 10})
	}
	if change != nil {
		change(h)
	}
	return h
}

// TestCheckPage feeds headers that a writer would not write.
func TestCheckPage(t *testing.T) {
	g := &Group{Rows: 8, Codec: format.Snappy, Start: 4, End: 300}
	check := func(h *format.PageHeader, at, left int64) (int64, error) { return checkPage(g, h, at, left) }
	for version, want := range []int64{0, 5, 5} {
		if rows, err := check(page(version, nil), 50, 8); err != nil || rows != want {
			t.Errorf("sound page of version %d: %d rows, %v", version, rows, err)
		}
	}
	for name, h := range map[string]*format.PageHeader{
		"negative size":          page(1, func(h *format.PageHeader) { h.CompressedPageSize = -1 }),
		"negative plain size":    page(1, func(h *format.PageHeader) { h.UncompressedPageSize = -1 }),
		"beyond the chunk":       page(1, func(h *format.PageHeader) { h.CompressedPageSize = 251 }),
		"beyond any page":        page(1, func(h *format.PageHeader) { h.UncompressedPageSize = maxPage + 1 }),
		"more rows than left":    page(1, func(h *format.PageHeader) { h.DataPageHeader.V.NumValues = 9 }),
		"negative rows":          page(1, func(h *format.PageHeader) { h.DataPageHeader.V.NumValues = -1 }),
		"no header of its type":  page(1, func(h *format.PageHeader) { h.Type = format.DataPageV2 }),
		"unknown type":           page(1, func(h *format.PageHeader) { h.Type = 9 }),
		"values are not rows":    page(2, func(h *format.PageHeader) { h.DataPageHeaderV2.V.NumRows = 4 }),
		"more nulls than values": page(2, func(h *format.PageHeader) { h.DataPageHeaderV2.V.NumNulls = 6 }),
		"more levels than bytes": page(2, func(h *format.PageHeader) { h.DataPageHeaderV2.V.DefinitionLevelsByteLength = 101 }),
		"negative levels":        page(2, func(h *format.PageHeader) { h.DataPageHeaderV2.V.RepetitionLevelsByteLength = -1 }),
		"not compressed, though": page(2, func(h *format.PageHeader) { h.DataPageHeaderV2.V.IsCompressed = thrift.New(false) }),
		"dictionary too large":   page(0, func(h *format.PageHeader) { h.DictionaryPageHeader.V.NumValues = 51 }),
		"dictionary below zero":  page(0, func(h *format.PageHeader) { h.DictionaryPageHeader.V.NumValues = -1 }),
	} {
		if rows, err := check(h, 50, 8); err == nil {
			t.Errorf("%s: accepted with %d rows", name, rows)
		}
	}
	g.Codec = format.Uncompressed
	if _, err := check(page(1, nil), 50, 8); err == nil {
		t.Error("a page of two sizes without compression was accepted")
	}
}

// TestNewGroup feeds descriptions of column chunks that cannot be read.
func TestNewGroup(t *testing.T) {
	chunk := func(change func(c *format.ColumnChunk)) *format.ColumnChunk {
		c := &format.ColumnChunk{MetaData: format.ColumnMetaData{
			Codec: format.Zstd, NumValues: 8, DataPageOffset: 40, DictionaryPageOffset: 4, TotalCompressedSize: 96,
		}}
		if change != nil {
			change(c)
		}
		return c
	}
	if g, err := newGroup(8, chunk(nil), 100); err != nil || g.Start != 4 || g.End != 100 {
		t.Fatalf("a sound chunk: %+v, %v", g, err)
	}
	for name, c := range map[string]*format.ColumnChunk{
		"another file":       chunk(func(c *format.ColumnChunk) { c.FilePath = "x" }),
		"brotli":             chunk(func(c *format.ColumnChunk) { c.MetaData.Codec = format.Brotli }),
		"rows":               chunk(func(c *format.ColumnChunk) { c.MetaData.NumValues = 7 }),
		"into the footer":    chunk(func(c *format.ColumnChunk) { c.MetaData.TotalCompressedSize = 97 }),
		"negative size":      chunk(func(c *format.ColumnChunk) { c.MetaData.TotalCompressedSize = -5 }),
		"overflow":           chunk(func(c *format.ColumnChunk) { c.MetaData.TotalCompressedSize = 1<<63 - 1 }),
		"in the magic":       chunk(func(c *format.ColumnChunk) { c.MetaData.DictionaryPageOffset = 3 }),
		"data before it":     chunk(func(c *format.ColumnChunk) { c.MetaData.DataPageOffset = 2 }),
		"data behind it":     chunk(func(c *format.ColumnChunk) { c.MetaData.DataPageOffset = 101 }),
		"encrypted":          chunk(func(c *format.ColumnChunk) { c.CryptoMetadata.Value = &format.EncryptionWithFooterKey{} }),
		"offset of 2^63 - 1": chunk(func(c *format.ColumnChunk) { c.MetaData.DictionaryPageOffset = 1<<63 - 1 }),
	} {
		if g, err := newGroup(8, c, 100); err == nil {
			t.Errorf("%s: accepted as %+v", name, g)
		}
	}
}
