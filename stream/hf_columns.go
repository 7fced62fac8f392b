package stream

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"

	"lockstep/internal/fault"
	"lockstep/internal/merkle"
	"lockstep/stream/parquet"
	"lockstep/stream/remote"
)

// footer is what is kept of a file's footer: of FineWeb's, with statistics of
// nine columns, about a hundredth.
type footer struct {
	Digest merkle.Digest   `json:"digest"` // SHA-256 of the file from the footer on
	Column *parquet.Column `json:"column"`
}

func (s *hubSource) footerKey(f remote.File) string { return s.fileKey("footer/1", f) }

// columnKey names the column of texts in a row group, as a footer describes it.
func (s *hubSource) columnKey(f remote.File, p *parquetFile, group int) string {
	g := &p.column.Groups[group]
	return s.fileKey(fmt.Sprintf("column/2 %s %d-%d %s", textColumn, g.Start, g.End, p.footer), f)
}

// openFile reads the footer of a file, and cuts it down to the column of texts.
// One that makes no sense is fetched once more; if that is no better, the count
// of rows may be what is wrong, and is forgotten for those who come next.
func (s *hubSource) openFile(ctx context.Context, number int) (*parquetFile, error) {
	f, h := s.files[number], s.heads[number]
	var kept footer
	if data, ok := s.shelf.Get(s.footerKey(f)); !ok || json.Unmarshal(data, &kept) != nil || kept.Column == nil || kept.Column.Rows() != h.Rows {
		var err error
		kept, err = s.fetchFooter(ctx, f, h)
		if undecodable(err) {
			kept, err = s.fetchFooter(ctx, f, h)
		}
		if undecodable(err) {
			s.recount(f)
		}
		if err != nil {
			return nil, err
		}
		if data, err = json.Marshal(kept); err != nil {
			return nil, err
		}
		s.shelf.keep(s.footerKey(f), data)
	}
	p := newParquetFile(s.path(f), f.Size, kept.Digest, kept.Column, s.pages)
	p.chunk = func(ctx context.Context, group int) (parquet.Blob, error) {
		g := &p.column.Groups[group]
		data, err := s.loader.get(ctx, chunk{number, group}, g.End-g.Start)
		if err == nil && s.outdated(number, p) {
			err = errRenewed
		}
		return window{g.Start, data}, err
	}
	return p, nil
}

// fetchFooter fetches a footer, which must have as many rows as were counted.
func (s *hubSource) fetchFooter(ctx context.Context, f remote.File, h head) (footer, error) {
	raw, err := s.read(ctx, f, f.Size-parquet.TailSize-h.Footer, h.Footer+parquet.TailSize)
	if err != nil {
		return footer{}, damage(s.path(f), "footer", err)
	}
	column, err := parquet.ParseFooter(raw[:h.Footer], f.Size, textColumn)
	if err != nil {
		return footer{}, damage(s.path(f), "footer", err)
	}
	if n := column.Rows(); n != h.Rows {
		err := fmt.Errorf("it has %d rows, and %d were counted before the source was opened", n, h.Rows)
		return footer{}, &DamageError{File: s.path(f), Place: "footer", Err: err, Advice: adviceCount}
	}
	return footer{sha256.Sum256(raw), column}, nil
}

// errRenewed says that a row group was decoded by another footer than the one
// that the caller holds: look the row up again.
var errRenewed = errors.New("its footer differs from fetch to fetch")

// maxRenewals is how many times in a row a caller looks again.
const maxRenewals = 2

// outdated says whether the footer of a file was fetched again and is another.
func (s *hubSource) outdated(number int, p *parquetFile) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	digest, ok := s.renewed[number]
	return ok && digest != p.footer
}

// renew fetches the footer of a file again, which may have led to the wrong
// bytes. A footer that came twice alike is right and is not fetched again.
func (s *hubSource) renew(ctx context.Context, number int, doubted *parquetFile) (*parquetFile, error) {
	s.mu.Lock()
	digest, ok := s.renewed[number]
	s.mu.Unlock()
	if ok && digest == doubted.footer {
		return doubted, nil
	}
	s.drop(number)
	again, err := s.file(ctx, number)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.renewed[number] = again.footer
	s.mu.Unlock()
	if again.footer != doubted.footer {
		s.loader.forget(number)
	}
	return again, nil
}

// drop forgets the footer of a file, in memory and on disk.
func (s *hubSource) drop(number int) {
	s.shelf.Remove(s.footerKey(s.files[number]))
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.renewed, number)
	s.opened = slices.DeleteFunc(s.opened, func(o openedFile) bool { return o.number == number })
}

// fetch is for the loader: the column of texts of one row group, from the cache
// or the Hub. What cannot be decoded is fetched once more, and so is the footer
// that says where it lies.
func (s *hubSource) fetch(ctx context.Context, c chunk) ([]byte, error) {
	file, err := s.file(ctx, c.file)
	if err != nil {
		return nil, err
	}
	data, err := s.column(ctx, c, file)
	if !undecodable(err) {
		return data, err
	}
	again, err := s.renew(ctx, c.file, file)
	if err != nil {
		return nil, err
	}
	data, err = s.column(ctx, c, again)
	if undecodable(err) && again.footer != file.footer {
		s.drop(c.file)
	}
	return data, err
}

const (
	maxChunk = 512 << 20 // bytes of a row group's column, packed
	piece    = 8 << 20   // bytes of one request
)

// column returns the column of texts of a row group where a footer says it
// lies. What comes from the Hub is decoded once before it is kept. Memory is
// taken for the pieces that came.
func (s *hubSource) column(ctx context.Context, c chunk, file *parquetFile) ([]byte, error) {
	if c.part >= len(file.column.Groups) {
		return nil, errRenewed
	}
	f, g := s.files[c.file], file.column.Groups[c.part]
	size := g.End - g.Start
	key := s.columnKey(f, file, c.part)
	if data, ok := s.shelf.Get(key); ok && int64(len(data)) == size {
		return data, nil
	}
	if size > maxChunk {
		return nil, fault.Errorf(fault.Config, "%s: row group %d has %d MiB of packed text, more than the %d that are read at once; write the file with smaller row groups",
			s.path(f), c.part, size>>20, maxChunk>>20)
	}
	parts := make([][]byte, (size+piece-1)/piece)
	group, working := errgroup.WithContext(ctx)
	for i := range parts {
		group.Go(func() (err error) {
			at := int64(i) * piece
			parts[i], err = s.read(working, f, g.Start+at, min(piece, size-at))
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	data := slices.Concat(parts...)
	if err := verify(file.column, window{g.Start, data}, c.part); err != nil {
		return nil, damage(s.path(f), fmt.Sprintf("row group %d", c.part), err)
	}
	s.shelf.keep(key, data)
	return data, nil
}
