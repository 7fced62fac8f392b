package server

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"lockstep/hub"
	"lockstep/internal/durable"
	"lockstep/internal/fault"
)

const (
	privateDir = "private"
	createLock = "lock" // no mark: it has no "--"
)

// kinds are those of repositories, as paths and folders name them.
var kinds = []string{"models", "datasets"}

// repoName names a repository.
type repoName struct {
	kind  string // "models" or "datasets"
	owner string
	name  string
}

// id is OWNER/NAME.
func (n repoName) id() string { return n.owner + "/" + n.name }

// prefix is what stands before the id in addresses for people and files.
func (n repoName) prefix() string {
	if n.kind == "models" {
		return ""
	}
	return n.kind + "/"
}

func (n repoName) valid() bool {
	return slices.Contains(kinds, n.kind) && validPart(n.owner) && validPart(n.name)
}

// validPart is the Hub's rule for each half of an id, which also makes it a safe
// file name.
func validPart(p string) bool {
	if p == "" || len(p) > 96 || strings.ContainsAny(p[:1]+p[len(p)-1:], "-.") || strings.Contains(p, "--") ||
		strings.Contains(p, "..") || strings.HasSuffix(p, ".git") {
		return false
	}
	return !strings.ContainsFunc(p, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("._-", r)
	})
}

// repos opens the repositories of a folder, each once.
type repos struct {
	root string
	gits gitIDs
	past history
	mu   sync.Mutex
	open map[repoName]*repo
}

func newRepos(root string) *repos { return &repos{root: root, open: map[repoName]*repo{}} }

// repo is one repository.
type repo struct {
	*hub.Directory
	repoName
	private bool
	gits    *gitIDs
	history *history
	checked sync.Map // digest -> true: blobs compared whole since the start
	// damaged has the files that were not what they should be: digest -> comparison.
	damaged sync.Map
	// checking has the blobs that are being compared: digest -> chan struct{},
	// closed at the end.
	checking sync.Map
	marker   fs.FileInfo // of the folder that was opened
}

// isThere reports whether the repository's folder is the one that was opened.
func (r *repo) isThere(folder string) bool {
	info, err := hub.Marker(folder)
	return err == nil && sameFile(info, r.marker)
}

// sameFile reports whether two descriptions are of one file, unchanged.
func sameFile(a, b fs.FileInfo) bool {
	return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
}

// find opens a repository; *hub.NotFoundError if there is none.
func (s *repos) find(ctx context.Context, name repoName) (*repo, error) {
	missing := &hub.NotFoundError{What: "repository", Name: name.prefix() + name.id(), Where: "this server"}
	if !name.valid() {
		return nil, missing
	}
	s.mu.Lock()
	r := s.open[name]
	s.mu.Unlock()
	if r != nil && r.isThere(s.path(name)) {
		return r, nil
	}
	dir, err := hub.OpenDirectory(s.path(name))
	if r != nil { // somebody removed its folder
		s.forget(r)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, missing
	}
	if err != nil {
		return nil, err
	}
	return s.keep(ctx, name, dir)
}

// keep remembers an opened repository. A crash between making one and its first
// commit is mended here: clients need a head.
func (s *repos) keep(ctx context.Context, name repoName, dir *hub.Directory) (*repo, error) {
	if _, err := dir.Resolve(ctx, ""); errors.Is(err, fs.ErrNotExist) {
		_, err = dir.Commit(ctx, hub.CommitRequest{Message: "initial commit", Add: []hub.Content{hub.Bytes(".gitattributes", attributes())}})
		var moved *hub.HeadMovedError
		if err != nil && !errors.As(err, &moved) {
			return nil, err
		}
	} else if err != nil {
		return nil, err
	}
	marker, err := hub.Marker(s.path(name))
	if err != nil {
		return nil, err
	}
	r := s.share(&repo{Directory: dir, repoName: name, private: s.isPrivate(name), gits: &s.gits, history: &s.past, marker: marker})
	if !r.isThere(s.path(name)) || r.private != s.isPrivate(name) { // whose mark was read is not known
		s.forget(r)
		return nil, fault.Errorf(fault.Environment, "%s%s was replaced while it was opened; try again", name.prefix(), name.id())
	}
	return r, nil
}

// share returns what another goroutine opened of the same folder meanwhile, or
// else remembers r.
func (s *repos) share(r *repo) *repo {
	s.mu.Lock()
	defer s.mu.Unlock()
	if other := s.open[r.repoName]; other != nil && sameFile(other.marker, r.marker) {
		return other
	}
	s.open[r.repoName] = r
	return r
}

// forget has a repository opened anew, unless that was done.
func (s *repos) forget(r *repo) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open[r.repoName] == r {
		delete(s.open, r.repoName)
	}
}

// create makes a repository, unless it is there. The mark of a private one comes
// first: no crash may show it to everyone. One that a crash left without its
// repository means nothing.
func (s *repos) create(ctx context.Context, name repoName, private bool) (created bool, err error) {
	unlock, err := hub.Lock(ctx, filepath.Join(s.root, privateDir, createLock))
	if err != nil {
		return false, err
	}
	defer unlock()
	_, missing := s.find(ctx, name)
	if !errors.Is(missing, fs.ErrNotExist) {
		return false, missing
	}
	if _, err := hub.Marker(s.path(name)); !errors.Is(err, fs.ErrNotExist) { // then its mark stays
		return false, fault.Errorf(fault.Damaged, "%s%s is there, but not whole: %v", name.prefix(), name.id(), errors.Join(missing, err))
	}
	mark := s.privateMark(name)
	if err := os.Remove(mark); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	if private {
		err = writeNew(mark, nil)
	}
	if err == nil {
		err = durable.SyncDir(filepath.Dir(mark))
	}
	if err != nil {
		return false, err
	}
	dir, err := hub.CreateDirectory(s.path(name))
	if err == nil {
		_, err = s.keep(ctx, name, dir)
	}
	return err == nil, err
}

func (s *repos) path(n repoName) string { return filepath.Join(s.root, n.kind, n.owner, n.name) }

// privateMark is unambiguous because no part of an id has "--" in it.
func (s *repos) privateMark(n repoName) string {
	return filepath.Join(s.root, privateDir, n.kind+"--"+n.owner+"--"+n.name)
}

// isPrivate reports whether only those with a token may know of a repository;
// where that cannot be found out, it is so.
func (s *repos) isPrivate(n repoName) bool {
	_, err := os.Stat(s.privateMark(n))
	return !errors.Is(err, fs.ErrNotExist)
}

// list returns the repositories of a kind by id.
func (s *repos) list(kind string) ([]repoName, error) {
	owners, err := os.ReadDir(filepath.Join(s.root, kind))
	if err != nil {
		return nil, err
	}
	var names []repoName
	for _, o := range owners {
		if !o.IsDir() {
			continue
		}
		entries, err := os.ReadDir(filepath.Join(s.root, kind, o.Name()))
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if n := (repoName{kind, o.Name(), e.Name()}); n.valid() && hub.IsRepository(s.path(n)) {
				names = append(names, n)
			}
		}
	}
	slices.SortFunc(names, func(a, b repoName) int { return strings.Compare(a.id(), b.id()) })
	return names, nil
}
