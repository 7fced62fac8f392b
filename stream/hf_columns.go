package stream

import (
	"context"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"

	"lockstep/internal/fault"
	"lockstep/stream/remote"
)

// columnKey names the column of texts in a row group, as a footer describes it.
func (s *hubSource) columnKey(f remote.File, p *hubFile, group int) string {
	g := &p.column.Groups[group]
	return s.fileKey(fmt.Sprintf("column/2 %s %d-%d %s", textColumn, g.Start, g.End, p.footer), f)
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
	again, err := s.renew(ctx, file)
	if err != nil {
		return nil, err
	}
	data, err = s.column(ctx, c, again)
	if undecodable(err) && again.footer != file.footer {
		s.drop(again)
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
func (s *hubSource) column(ctx context.Context, c chunk, file *hubFile) ([]byte, error) {
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
