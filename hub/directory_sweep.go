package hub

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"strings"
	"time"

	"lockstep/internal/merkle"
)

// Sweep removes the blobs that no commit names and nobody has asked for since
// before: uploads whose commit never came. It returns how many there were. While
// somebody writes it does nothing; the next time will do.
func (d *Directory) Sweep(ctx context.Context, before time.Time) (removed int, err error) {
	s := sweep{named: map[merkle.Digest]bool{}, read: map[string]bool{}}
	if err := s.readCommits(ctx, d); err != nil { // all but the newest, while others may write
		return 0, err
	}
	alone, ok, err := tryLock(d.path(writersLock), false)
	if err != nil || !ok {
		return 0, err
	}
	defer alone.unlock()
	if err := s.readCommits(ctx, d); err != nil {
		return 0, err
	}
	entries, err := os.ReadDir(d.path(blobsDir))
	for _, e := range entries {
		sum, perr := merkle.ParseDigest(e.Name())
		if perr != nil || s.named[sum] {
			continue // litter of the file system, or in use
		}
		if info, err := e.Info(); err != nil || !info.ModTime().Before(before) {
			continue
		}
		if err := d.disk.Remove(d.path(blobsDir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return removed, err
		}
		removed++
	}
	return removed, err
}

// sweep knows what commits name.
type sweep struct {
	named map[merkle.Digest]bool
	read  map[string]bool // commits; they are never changed
}

// readCommits reads the commit files that were not read before. One that cannot
// be read is an error: it may name anything.
func (s *sweep) readCommits(ctx context.Context, d *Directory) error {
	entries, err := os.ReadDir(d.path(commitsDir))
	if err != nil {
		return err
	}
	for _, e := range entries {
		id, isRecord := strings.CutSuffix(e.Name(), ".json")
		if !isRecord || !isCommitID(id) || s.read[id] {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		r, err := d.record(id)
		if err != nil {
			return err
		}
		for _, f := range r.files {
			s.named[f.SHA256] = true
		}
		s.read[id] = true
	}
	return nil
}

// Renew is Stored for those who are going to commit what is there already: it
// keeps the content from Sweep for another while.
func (d *Directory) Renew(ctx context.Context, sum merkle.Digest) (size int64, ok bool, err error) {
	if size, ok = d.Stored(sum); !ok {
		return 0, false, nil
	}
	writers, err := d.enterWriters(ctx)
	if err != nil {
		return 0, false, err
	}
	defer writers.unlock()
	return size, d.renew(sum, size), nil
}
