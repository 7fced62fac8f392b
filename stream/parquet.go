package stream

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sort"
	"sync"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"

	"lockstep/internal/merkle"
)

// textColumn is the column that training reads; all others are never touched.
const textColumn = "text"

const (
	maxFooter = 64 << 20 // bytes of a footer; FineWeb's largest have some 2 MiB
	minFile   = 12       // bytes of magic, footer length, magic

	// readBuffer is how much is asked of the file at once. With parquet-go's
	// default of 4 KiB a page is read in dozens of small pieces.
	readBuffer = 1 << 20
)

// parquetFile reads one column of a parquet file, page by page. Between the
// footer, which says where a row group lies, and parquet-go, which decodes a
// page, it walks the page headers itself (pages.go): so a row is found without
// decoding what lies before it, and no size is believed before it is checked.
type parquetFile struct {
	disk   *disk
	footer merkle.Digest
	pages  *pageCache
	groups []*rowGroup
	ends   []uint64 // rows up to and with each group

	mu sync.Mutex // guards the page tables of the groups
}

// rowGroup is the text column of one row group.
type rowGroup struct {
	number int
	rows   int64
	chunk  *parquet.FileColumnChunk
	codec  format.CompressionCodec
	start  int64 // offset of the first page, a dictionary or data
	end    int64 // offset behind the last page
	table  *pageTable
	broken error // why there is no table
}

// openParquet reads the footer of a parquet file and finds the column.
func openParquet(d *disk, column string, pages *pageCache) (*parquetFile, error) {
	footer, err := readFooter(d)
	if err != nil {
		return nil, damage(d.path, "footer", err)
	}
	p := &parquetFile{disk: d, pages: pages, footer: sha256.Sum256(footer)}
	var file *parquet.File
	err = guard(func() (err error) {
		file, err = parquet.OpenFile(d, d.size,
			parquet.OptimisticRead(true), parquet.ReadBufferSize(readBuffer),
			parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true))
		return err
	})
	if err != nil {
		return nil, damage(d.path, "footer", err)
	}
	err = guard(func() error { return p.addGroups(file, column, d.size-int64(len(footer))) })
	if err != nil {
		return nil, damage(d.path, "", err)
	}
	return p, nil
}

// readFooter returns the file's end from the footer on: the metadata, their
// length and the magic number.
func readFooter(d *disk) ([]byte, error) {
	if d.size < minFile {
		return nil, fmt.Errorf("%d bytes are too few for parquet; the file was cut off", d.size)
	}
	tail, err := d.bytesAt(d.size-8, 8)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(tail[4:], []byte("PAR1")) {
		return nil, fmt.Errorf("the file ends in %q, not in \"PAR1\"; it was cut off, or is not parquet", tail[4:])
	}
	length := int64(binary.LittleEndian.Uint32(tail))
	if length > maxFooter || length > d.size-minFile {
		return nil, fmt.Errorf("a footer of %d bytes does not fit into %d bytes of file", length, d.size)
	}
	footer, err := d.bytesAt(d.size-8-length, length+8)
	if err != nil {
		return nil, err
	}
	n, err := thriftStruct(footer[:length])
	if err == nil && int64(n) != length {
		err = fmt.Errorf("%w: %d bytes behind its end", errThrift, length-int64(n))
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = fmt.Errorf("%w: it ends too early", errThrift)
	}
	return footer, err
}

// addGroups checks what the footer says about the column. The pages must lie
// before limit, where the footer begins.
func (p *parquetFile) addGroups(file *parquet.File, column string, limit int64) error {
	leaf := file.Root().Column(column)
	if leaf == nil {
		return unfit("there is no column %q; the columns are %s", column, columnNames(file))
	}
	if !leaf.Leaf() || leaf.Type().Kind() != parquet.ByteArray || leaf.Repeated() {
		return unfit("column %q is not text (one BYTE_ARRAY a row)", column)
	}
	total := int64(0)
	for i, g := range file.RowGroups() {
		chunk := g.ColumnChunks()[leaf.Index()].(*parquet.FileColumnChunk)
		described := &file.Metadata().RowGroups[i].Columns[leaf.Index()]
		group, err := newRowGroup(i, g.NumRows(), chunk, described, limit)
		if err != nil {
			return fmt.Errorf("row group %d: %w", i, err)
		}
		if i > 0 && group.codec != p.groups[0].codec { // parquet-go uses the first group's for all
			return unfit("row group %d is compressed with %s, the first with %s; one file can have only one codec here", i, group.codec, p.groups[0].codec)
		}
		total += group.rows
		p.groups = append(p.groups, group)
		p.ends = append(p.ends, uint64(total))
	}
	if total != file.NumRows() {
		return fmt.Errorf("the row groups have %d rows, the file says %d", total, file.NumRows())
	}
	return nil
}

// newRowGroup checks the description of a column chunk.
func newRowGroup(number int, rows int64, chunk *parquet.FileColumnChunk, described *format.ColumnChunk, limit int64) (*rowGroup, error) {
	m := &described.MetaData
	g := &rowGroup{number: number, rows: rows, chunk: chunk, codec: m.Codec, start: m.DataPageOffset}
	if m.DictionaryPageOffset != 0 {
		g.start = m.DictionaryPageOffset
	}
	g.end = g.start + m.TotalCompressedSize
	switch {
	case described.FilePath != "":
		return nil, unfit("its text lies in another file, %q", described.FilePath)
	case described.CryptoMetadata.Value != nil:
		return nil, unfit("its text is encrypted")
	case m.Codec != format.Uncompressed && m.Codec != format.Snappy && m.Codec != format.Zstd:
		return nil, unfit("its text is compressed with %s; SNAPPY, ZSTD and no compression can be read", m.Codec)
	case m.NumValues != rows:
		return nil, fmt.Errorf("it has %d rows but %d texts", rows, m.NumValues)
	case g.start < 4 || m.DataPageOffset < g.start || m.TotalCompressedSize < 0 || g.end > limit || g.end < m.DataPageOffset:
		return nil, fmt.Errorf("its pages would lie in bytes %d to %d of a file whose footer begins at %d", g.start, g.end, limit)
	}
	return g, nil
}

func columnNames(file *parquet.File) string {
	var names []string
	for _, c := range file.Root().Columns() {
		names = append(names, c.Name())
	}
	if len(names) > 20 {
		names = append(names[:20], "...")
	}
	return fmt.Sprintf("%q", names)
}

func (p *parquetFile) size() int64 { return p.disk.size }

func (p *parquetFile) rows() uint64 {
	if len(p.ends) == 0 {
		return 0
	}
	return p.ends[len(p.ends)-1]
}

// digest is that of the footer: sizes, offsets and statistics of every column,
// but not the pages, which would mean reading the whole file at every start. A
// page that differs shows in the digests of its rows.
func (p *parquetFile) digest() merkle.Digest { return p.footer }

// text returns a row, decoding its page unless the cache has it.
func (p *parquetFile) text(row uint64) (string, bool, error) {
	i := sort.Search(len(p.ends), func(i int) bool { return row < p.ends[i] })
	g := p.groups[i]
	inside := int64(row - (p.ends[i] - uint64(g.rows)))
	place := fmt.Sprintf("row group %d, row %d", g.number, inside)
	table, err := p.tableOf(g)
	if err != nil {
		return "", false, damage(p.disk.path, place, err)
	}
	page := table.find(inside)
	texts, err := p.pages.get(pageKey{p, g.number, page.first}, func() ([]cell, error) {
		return readPage(p.disk, g, table, page)
	})
	if err != nil {
		return "", false, damage(p.disk.path, place, err)
	}
	c := texts[inside-page.first]
	return c.text, c.null, nil
}

// tableOf walks a row group's page headers the first time it is asked.
func (p *parquetFile) tableOf(g *rowGroup) (*pageTable, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if g.table != nil || g.broken != nil {
		return g.table, g.broken
	}
	table, err := walkPages(p.disk, g)
	g.table = table
	if lasting(err) {
		g.broken = err
	}
	return table, err
}
