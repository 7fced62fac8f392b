package stream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

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

func (s *hubSource) headKey(f remote.File) string { return s.fileKey("head/1", f) }

// fileKey names something of a file: by revision and path, and by the digest
// that the Hub lists for its bytes.
func (s *hubSource) fileKey(kind string, f remote.File) string {
	return fmt.Sprintf("hf/%s %s@%s/%s %d %s", kind, s.repo.Name, s.repo.Commit, f.Path, f.Size, f.OID)
}

// pin finds the commit behind the revision, and puts it in the revision's
// place. If the Hub cannot be reached, the error names the one that the cache
// remembers.
func (s *hubSource) pin(ctx context.Context) error {
	repo, err := remote.Pin(ctx, s.client, s.name)
	if data, ok := s.shelf.Get(s.refKey()); ok && err != nil && remote.IsCommit(string(data)) {
		commit := string(data)
		switch {
		case offline(err):
			repo, err = remote.NewRepo(s.client, s.name.Repo, commit), nil
		case unreachable(err):
			last := s.name
			last.Revision = commit
			err = fmt.Errorf("%w; %s was commit %.12s when it was last seen: use %s to go on with that", err, s.name.Revision, commit, last)
		}
	}
	if err != nil {
		return err
	}
	if s.name.Revision != repo.Commit {
		s.shelf.keep(s.refKey(), []byte(repo.Commit))
	}
	s.repo, s.name.Revision = repo, repo.Commit
	return nil
}

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
	data, ok := s.shelf.Get(s.listKey())
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
		s.shelf.keep(s.listKey(), data)
	}
	return err
}

// headWindow is how much of a footer is read for the number of rows: version
// and schema stand before it, which takes some 30 bytes a column.
const headWindow = 2 << 10

// head returns the number of rows of a file, and keeps it. Nothing vouches for it
// before the footer is read: see openFile. What makes no sense is fetched once
// more.
func (s *hubSource) head(ctx context.Context, f remote.File) (h head, err error) {
	if data, ok := s.shelf.Get(s.headKey(f)); ok && json.Unmarshal(data, &h) == nil {
		return h, nil
	}
	h, err = s.fetchHead(ctx, f)
	if undecodable(err) {
		h, err = s.fetchHead(ctx, f)
	}
	if err != nil {
		return head{}, err
	}
	data, err := json.Marshal(h)
	if err == nil {
		s.shelf.keep(s.headKey(f), data)
	}
	return h, err
}

// fetchHead reads the number of rows of a file from the head of its footer.
func (s *hubSource) fetchHead(ctx context.Context, f remote.File) (h head, err error) {
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
	if h.Rows == 0 { // no row will ever lead to its footer
		if _, err := s.fetchFooter(ctx, f, h); err != nil && !asUnfit(err) {
			return head{}, err
		}
	}
	return h, nil
}

// recount drops what the cache knows of the number of rows of files.
func (s *hubSource) recount(files ...remote.File) {
	s.shelf.Remove(s.listKey())
	for _, f := range files {
		s.shelf.Remove(s.headKey(f))
	}
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
