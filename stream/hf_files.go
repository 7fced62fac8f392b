package stream

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"lockstep/internal/fault"
	"lockstep/internal/merkle"
	"lockstep/stream/parquet"
	"lockstep/stream/remote"
)

// Keys of objects in the cache. What they name never changes, except for the
// commit behind a branch, which is asked for anew unless offline.

func (s *hubSource) refKey() string {
	return fmt.Sprintf("hf/ref/1 %s %s@%s", s.client.Endpoint, s.name.Repo, s.name.Revision)
}

func (s *hubSource) listKey() string {
	return fmt.Sprintf("hf/list/1 %s@%s/%s", s.name.Repo, s.repo.Commit, s.name.Path)
}

// fileKey names something of a file: by revision and path, and by the digest
// that the Hub lists for its bytes.
func (s *hubSource) fileKey(kind string, f remote.File) string {
	return fmt.Sprintf("hf/%s %s@%s/%s %d %s", kind, s.repo.Name, s.repo.Commit, f.Path, f.Size, f.OID)
}

// pin finds the commit behind the revision, and puts it in the revision's
// place.
func (s *hubSource) pin(ctx context.Context) error {
	repo, err := remote.Pin(ctx, s.client, s.name)
	key := s.refKey()
	if commit, ok := s.store.Get(key); ok && offline(err) && remote.IsCommit(string(commit)) {
		repo, err = remote.NewRepo(s.client, s.name.Repo, string(commit)), nil
	}
	if err != nil {
		return err
	}
	if s.name.Revision != repo.Commit {
		s.cache(key, []byte(repo.Commit))
	}
	s.repo, s.name.Revision = repo, repo.Commit
	return nil
}

// cache keeps an object on disk. Where that fails, it is fetched again some
// day, which is no reason to stop.
func (s *hubSource) cache(key string, data []byte) { _ = s.store.Put(key, data) }

// head is what is known of a file without its footer.
type head struct {
	Rows   uint64 `json:"rows"`
	Footer int64  `json:"footer"` // its length
}

// listed is the index of a source: its files, and the rows of each.
type listed struct {
	Files []remote.File `json:"files"`
	Heads []head        `json:"heads"`
}

// index lists the files and counts their rows: two small ranges a file, the
// first time, and none when the cache has the result.
func (s *hubSource) index(ctx context.Context, progress func(string, int, int)) error {
	var known listed
	data, ok := s.store.Get(s.listKey())
	if ok && json.Unmarshal(data, &known) == nil && len(known.Files) == len(known.Heads) && len(known.Files) > 0 {
		s.files, s.heads = known.Files, known.Heads
		return nil
	}
	files, err := s.repo.List(ctx, s.name.Path)
	if err != nil {
		return err
	}
	s.files, s.heads = files, make([]head, len(files))
	var done atomic.Int64
	group, working := errgroup.WithContext(ctx)
	group.SetLimit(cap(s.slots))
	for i, f := range files {
		group.Go(func() (err error) {
			s.heads[i], err = s.head(working, f)
			progress("counting rows", int(done.Add(1)), len(files))
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	data, err = json.Marshal(listed{s.files, s.heads})
	if err == nil {
		s.cache(s.listKey(), data)
	}
	return err
}

// headWindow is how much of a footer is read for the number of rows: version
// and schema stand before it, which takes some 30 bytes a column.
const headWindow = 2 << 10

// head reads the number of rows of a file from the head of its footer.
func (s *hubSource) head(ctx context.Context, f remote.File) (h head, err error) {
	key := s.fileKey("head/1", f)
	if data, ok := s.store.Get(key); ok && json.Unmarshal(data, &h) == nil {
		return h, nil
	}
	tail, err := s.read(ctx, f, max(f.Size-parquet.TailSize, 0), min(f.Size, parquet.TailSize))
	if err != nil {
		return head{}, damage(s.path(f), "end", err)
	}
	if h.Footer, err = parquet.FooterLength(tail, f.Size); err != nil {
		return head{}, damage(s.path(f), "footer", err)
	}
	for window := int64(headWindow); ; window *= 16 {
		n := min(window, h.Footer)
		data, err := s.read(ctx, f, f.Size-parquet.TailSize-h.Footer, n)
		if err != nil {
			return head{}, damage(s.path(f), "footer", err)
		}
		h.Rows, err = parquet.RowsOf(data)
		if errors.Is(err, io.ErrUnexpectedEOF) && n < h.Footer {
			continue
		}
		if err != nil {
			return head{}, damage(s.path(f), "footer", err)
		}
		break
	}
	data, err := json.Marshal(h)
	if err == nil {
		s.cache(key, data)
	}
	return h, err
}

// path names a file in messages.
func (s *hubSource) path(f remote.File) string {
	n := s.name
	n.Path = f.Path
	return n.String()
}

// read fetches a range, as one of the requests in flight.
func (s *hubSource) read(ctx context.Context, f remote.File, offset, n int64) ([]byte, error) {
	select {
	case s.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-s.slots }()
	return s.repo.Range(ctx, f, offset, n)
}

// footer is what is kept of a file's footer: of FineWeb's, with statistics of
// nine columns, about a hundredth.
type footer struct {
	Digest merkle.Digest   `json:"digest"` // SHA-256 of the file from the footer on
	Column *parquet.Column `json:"column"`
}

// openFile reads the footer of a file, and cuts it down to the column of texts.
func (s *hubSource) openFile(ctx context.Context, number int) (*parquetFile, error) {
	f, h := s.files[number], s.heads[number]
	key := s.fileKey("footer/1", f)
	var kept footer
	if data, ok := s.store.Get(key); !ok || json.Unmarshal(data, &kept) != nil || kept.Column == nil || kept.Column.Rows() != h.Rows {
		raw, err := s.read(ctx, f, f.Size-parquet.TailSize-h.Footer, h.Footer+parquet.TailSize)
		if err != nil {
			return nil, damage(s.path(f), "footer", err)
		}
		column, err := parquet.ParseFooter(raw[:h.Footer], f.Size, textColumn)
		if err == nil && column.Rows() != h.Rows {
			err = fmt.Errorf("it has %d rows, and had %d when the source was opened", column.Rows(), h.Rows)
		}
		if err != nil {
			return nil, damage(s.path(f), "footer", err)
		}
		kept = footer{sha256.Sum256(raw), column}
		if data, err = json.Marshal(kept); err != nil {
			return nil, err
		}
		s.cache(key, data)
	}
	p := newParquetFile(s.path(f), f.Size, kept.Digest, kept.Column, s.pages)
	p.chunk = func(ctx context.Context, group int) (parquet.Blob, error) {
		g := &p.column.Groups[group]
		data, err := s.loader.get(ctx, chunk{number, group}, g.End-g.Start)
		return window{g.Start, data}, err
	}
	return p, nil
}

const (
	maxChunk = 512 << 20 // bytes of a row group's column, packed
	piece    = 8 << 20   // bytes of one request
)

// fetch is for the loader: the column of texts of one row group, from the cache
// or the Hub. What comes from the Hub is decoded once before it is kept.
func (s *hubSource) fetch(ctx context.Context, c chunk) ([]byte, error) {
	f := s.files[c.file]
	file, err := s.file(ctx, c.file)
	if err != nil {
		return nil, err
	}
	g := file.column.Groups[c.part]
	key := s.fileKey(fmt.Sprintf("column/1 %s %d-%d", textColumn, g.Start, g.End), f)
	if data, ok := s.store.Get(key); ok && int64(len(data)) == g.End-g.Start {
		return data, nil
	}
	if g.End-g.Start > maxChunk {
		return nil, fault.Errorf(fault.Config, "%s: row group %d has %d MiB of packed text, more than the %d that are read at once; write the file with smaller row groups",
			s.path(f), c.part, (g.End-g.Start)>>20, maxChunk>>20)
	}
	data := make([]byte, g.End-g.Start)
	group, working := errgroup.WithContext(ctx)
	for at := int64(0); at < int64(len(data)); at += piece {
		group.Go(func() error {
			part, err := s.read(working, f, g.Start+at, min(piece, int64(len(data))-at))
			copy(data[at:], part)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	if err := verify(file.column, window{g.Start, data}, c.part); err != nil {
		return nil, damage(s.path(f), fmt.Sprintf("row group %d", c.part), err)
	}
	s.cache(key, data)
	return data, nil
}
