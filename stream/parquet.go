package stream

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sort"
	"sync"

	"lockstep/internal/merkle"
	"lockstep/stream/parquet"
)

// textColumn is the column that training reads; all others are never touched.
const textColumn = "text"

// parquetFile reads the texts of a parquet file. Where its bytes come from is
// the business of chunk.
type parquetFile struct {
	path   string // for messages
	bytes  int64
	footer merkle.Digest
	column *parquet.Column
	ends   []uint64 // rows up to and with each row group
	pages  *pageCache

	// chunk returns the bytes of the column in a row group.
	chunk func(ctx context.Context, group int) (parquet.Blob, error)

	mu     sync.Mutex
	tables []tableOrError // of the row groups that were asked for
}

// tableOrError is the result of walking a row group's pages.
type tableOrError struct {
	table *parquet.Table
	err   error // of the bytes, which will not change
}

// newParquetFile joins the parts of an opened file.
func newParquetFile(path string, size int64, footer merkle.Digest, column *parquet.Column, pages *pageCache) *parquetFile {
	p := &parquetFile{
		path: path, bytes: size, footer: footer, column: column, pages: pages,
		tables: make([]tableOrError, len(column.Groups)),
	}
	total := uint64(0)
	for _, g := range column.Groups {
		total += uint64(g.Rows)
		p.ends = append(p.ends, total)
	}
	return p
}

// openParquet reads the footer of a parquet file on disk and finds the column.
func openParquet(d *disk, column string, pages *pageCache) (*parquetFile, error) {
	footer, err := readFooter(d)
	if err != nil {
		return nil, damage(d.path, "footer", err)
	}
	found, err := parquet.ParseFooter(footer[:len(footer)-parquet.TailSize], d.size, column)
	if err != nil {
		return nil, damage(d.path, "footer", err)
	}
	p := newParquetFile(d.path, d.size, sha256.Sum256(footer), found, pages)
	p.chunk = func(context.Context, int) (parquet.Blob, error) { return d, nil }
	return p, nil
}

// readFooter returns the file's end from the footer on: the metadata, their
// length and the magic number.
func readFooter(d *disk) ([]byte, error) {
	tail, err := d.Bytes(max(d.size-parquet.TailSize, 0), min(d.size, parquet.TailSize))
	if err != nil {
		return nil, err
	}
	length, err := parquet.FooterLength(tail, d.size)
	if err != nil {
		return nil, err
	}
	return d.Bytes(d.size-parquet.TailSize-length, length+parquet.TailSize)
}

func (p *parquetFile) size() int64 { return p.bytes }

func (p *parquetFile) rows() uint64 { return p.column.Rows() }

// digest is that of the footer: sizes, offsets and statistics of every column,
// but not the pages, which would mean reading the whole file at every start. A
// page that differs shows in the digests of its rows.
func (p *parquetFile) digest() merkle.Digest { return p.footer }

// find returns the row group that holds a row, and the row's place in it.
func (p *parquetFile) find(row uint64) (group int, inside int64) {
	group = sort.Search(len(p.ends), func(i int) bool { return row < p.ends[i] })
	return group, int64(row - (p.ends[group] - uint64(p.column.Groups[group].Rows)))
}

// text returns a row, decoding its page unless the cache has it.
func (p *parquetFile) text(ctx context.Context, row uint64) (string, bool, error) {
	group, inside := p.find(row)
	place := fmt.Sprintf("row group %d, row %d", group, inside)
	c, err := p.cell(ctx, group, inside)
	if err != nil {
		return "", false, damage(p.path, place, err)
	}
	return c.Text, c.Null, nil
}

func (p *parquetFile) cell(ctx context.Context, group int, row int64) (parquet.Cell, error) {
	if table := p.known(group).table; table != nil {
		page, inside := table.Find(row)
		if cells, ok, err := p.pages.look(pageKey{p, group, page}); ok || err != nil {
			return cellAt(cells, inside), err
		}
	}
	bytes, err := p.chunk(ctx, group)
	if err != nil {
		return parquet.Cell{}, err
	}
	table, err := p.table(bytes, group)
	if err != nil {
		return parquet.Cell{}, err
	}
	page, inside := table.Find(row)
	cells, err := p.pages.get(pageKey{p, group, page}, func() ([]parquet.Cell, error) {
		return p.column.Read(bytes, group, table, page)
	})
	return cellAt(cells, inside), err
}

func cellAt(cells []parquet.Cell, i int64) parquet.Cell {
	if int64(len(cells)) <= i {
		return parquet.Cell{}
	}
	return cells[i]
}

func (p *parquetFile) known(group int) tableOrError {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.tables[group]
}

// table walks a row group's page headers the first time it is asked.
func (p *parquetFile) table(bytes parquet.Blob, group int) (*parquet.Table, error) {
	if t := p.known(group); t.table != nil || t.err != nil {
		return t.table, t.err
	}
	table, err := p.column.Walk(bytes, group)
	if err == nil || lasting(err) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.tables[group] = tableOrError{table, err}
	}
	return table, err
}

// verify decodes every page of a row group and keeps nothing: what passes may
// be kept on disk.
func verify(column *parquet.Column, bytes parquet.Blob, group int) error {
	table, err := column.Walk(bytes, group)
	for i := 0; err == nil && i < table.Pages(); i++ {
		_, err = column.Read(bytes, group, table, i)
	}
	return err
}

// asUnfit says whether err is about the kind of a file rather than its bytes.
func asUnfit(err error) bool {
	return errors.As(err, new(unfitError)) || errors.As(err, new(parquet.Unfit))
}
