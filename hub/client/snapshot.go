package client

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"lockstep/hub"
	"lockstep/internal/fault"
	"lockstep/internal/merkle"
)

// Snapshot pins a branch, tag or commit ("" is main): later commits do not
// change what it shows. Offline, or when the Hub cannot be reached, it is the
// commit that the cache knows by this name, with the files that the cache has;
// in the latter case that is told.
func (r *Repo) Snapshot(ctx context.Context, revision string) (hub.Snapshot, error) {
	revision = orMain(revision)
	s := snapshot{r, r.cache().ref(revision), r.client.config.Offline}
	if !isCommit(revision) && !s.alone {
		commit, err := r.head(ctx, revision)
		s.alone = fault.KindOf(err) == fault.Network && ctx.Err() == nil && s.commit != ""
		switch {
		case s.alone:
			r.client.notice(fmt.Sprintf("%s cannot be reached: using %s from the cache", r.client.Endpoint(), s.Name()))
		case err != nil:
			return nil, err
		default:
			s.commit = commit
		}
	}
	if s.commit == "" {
		return nil, &hub.NotFoundError{What: "revision", Name: revision, Where: "the cache's copy of " + r.id}
	}
	if err := r.cache().setRef(revision, s.commit); err != nil {
		return nil, fault.Wrap(fault.Environment, err)
	}
	return s, nil
}

// snapshot is a commit of a repository.
type snapshot struct {
	repo   *Repo
	commit string
	alone  bool // the Hub was not there to ask
}

func (s snapshot) Name() string     { return s.repo.id + "@" + s.commit[:10] }
func (s snapshot) Revision() string { return s.commit }

// List implements hub.Snapshot. What it takes from the cache, where the Hub
// cannot be asked, may be less than the commit has, and that is told.
func (s snapshot) List(ctx context.Context) ([]hub.FileInfo, error) {
	missing := error(&hub.NotFoundError{What: "revision", Name: s.commit, Where: "the cache's copy of " + s.repo.id})
	if !s.alone {
		files, err := s.repo.List(ctx, s.commit)
		if fault.KindOf(err) != fault.Network || ctx.Err() != nil {
			return files, err
		}
		missing = err
	}
	files, err := s.repo.cache().list(s.commit)
	if err == nil && len(files) == 0 {
		err = missing
	}
	if err == nil {
		s.repo.client.notice(fmt.Sprintf("the cache has %d files of %s, which may not be all", len(files), s.Name()))
	}
	return files, err
}

func (s snapshot) Open(ctx context.Context, path string) (hub.File, error) {
	if s.alone && hub.CheckPath(path) == nil {
		if f, err := s.repo.openCached(ctx, s.commit, path); err == nil {
			return f, nil
		}
	}
	return s.repo.Open(ctx, s.commit, path)
}

// list names the files of a commit that the cache has, in byte order of their
// paths. Of a copy no digest is known. A link to a blob that was removed, and
// what is renamed meanwhile, is not there.
func (c cache) list(commit string) ([]hub.FileInfo, error) {
	root := c.path("snapshots", commit)
	var files []hub.FileInfo
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || d.IsDir() || isTemp(name) {
			return err
		}
		info, err := os.Stat(name)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return fault.Errorf(fault.Damaged, "the cached snapshot: %w", err)
		}
		path, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		path = filepath.ToSlash(path)
		etag, err := c.etagOf(commit, path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		f := hub.FileInfo{Path: path, Size: info.Size()}
		if f.SHA256, err = merkle.ParseDigest(etag); err != nil && etag != "" {
			f.GitID = etag
		}
		files = append(files, f)
		return nil
	})
	slices.SortFunc(files, func(a, b hub.FileInfo) int { return strings.Compare(a.Path, b.Path) })
	return files, err
}
