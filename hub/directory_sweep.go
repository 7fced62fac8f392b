package hub

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"lockstep/internal/fault"
	"lockstep/internal/merkle"
)

// Sweep removes the blobs that no commit names and that nobody has stored, copied
// here or asked for since before: uploads whose commit never came. It returns how
// many there were. While somebody writes it does nothing; the next time will do.
// So it does where main has no commit yet, which a folder that is being copied
// gets last; where a commit is named that is not there it is fault.Damaged.
func (d *Directory) Sweep(ctx context.Context, before time.Time) (removed int, err error) {
	s := sweep{named: map[merkle.Digest]bool{}, read: map[string]string{}}
	if err := s.readCommits(ctx, d); err != nil { // all but the newest, while others may write
		return 0, err
	}
	alone, ok, err := tryLock(d.path(writersLock), false)
	if err != nil || !ok {
		return 0, err
	}
	defer alone.unlock()
	if head, err := d.head(mainBranch); err != nil || head == "" {
		return 0, err
	}
	if err := s.readCommits(ctx, d); err != nil {
		return 0, err
	}
	if err := s.checkWhole(ctx, d); err != nil {
		return 0, err
	}
	return s.remove(ctx, d, before)
}

// remove removes what is old and not named. A blob that cannot be removed does
// not keep the others.
func (s *sweep) remove(ctx context.Context, d *Directory, before time.Time) (removed int, err error) {
	entries, err := os.ReadDir(d.path(blobsDir))
	errs := []error{err}
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return removed, errors.Join(append(errs, err)...)
		}
		sum, err := merkle.ParseDigest(e.Name())
		if err != nil || s.named[sum] {
			continue // litter of the file system, or in use
		}
		blob := d.path(blobsDir, e.Name())
		if info, err := e.Info(); err != nil || !arrived(blob, info).Before(before) {
			continue
		}
		switch err := d.disk.Remove(blob); {
		case err == nil:
			removed++
		case !errors.Is(err, fs.ErrNotExist):
			errs = append(errs, err)
		}
	}
	return removed, errors.Join(errs...)
}

// later returns the later of two times.
func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// sweep knows what commits name.
type sweep struct {
	named map[merkle.Digest]bool
	read  map[string]string // commits, which are never changed -> their parents
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
		if !isRecord || !isCommitID(id) {
			continue
		}
		if _, ok := s.read[id]; ok {
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
		s.read[id] = r.parent
	}
	return nil
}

// checkWhole refuses a repository that lacks a commit: it may be a copy of which
// the rest is still to come, and what that names must stay.
func (s *sweep) checkWhole(ctx context.Context, d *Directory) error {
	heads, err := d.Branches(ctx)
	if err != nil {
		return err
	}
	tags, err := d.Tags(ctx)
	if err != nil {
		return err
	}
	needed := make(map[string]string, len(s.read)) // commit -> by what it is named
	for id, parent := range s.read {
		needed[parent] = "the commit " + id
	}
	for _, b := range heads {
		needed[b.Commit] = "the branch " + b.Name
	}
	for _, t := range tags {
		needed[t.Commit] = "the tag " + t.Name
	}
	delete(needed, "") // the first commit's parent
	for _, id := range slices.Sorted(maps.Keys(needed)) {
		if _, ok := s.read[id]; !ok {
			return fault.Errorf(fault.Damaged, "%s is not whole: %s names the commit %s, which is missing; nothing is cleared away until it is restored from another copy", d.root, needed[id], id)
		}
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
