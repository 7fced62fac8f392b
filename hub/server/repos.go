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
	"lockstep/internal/merkle"
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
	// checking has the blobs that are being compared: digest -> chan struct{},
	// closed at the end.
	checking sync.Map
	marker   fs.FileInfo // of the folder that was opened
}

// isThere reports whether the repository's folder is the one that was opened.
func (r *repo) isThere(folder string) bool {
	info, err := hub.Marker(folder)
	return err == nil && os.SameFile(info, r.marker) && info.ModTime().Equal(r.marker.ModTime())
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
		s.mu.Lock()
		delete(s.open, name)
		s.mu.Unlock()
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
	_, err = os.Stat(s.privateMark(name))
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open[name] == nil {
		s.open[name] = &repo{Directory: dir, repoName: name, private: !errors.Is(err, fs.ErrNotExist), gits: &s.gits, history: &s.past, marker: marker}
	}
	return s.open[name], nil
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
	if _, err := s.find(ctx, name); !errors.Is(err, fs.ErrNotExist) {
		return false, err
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

// content opens stored content, compared whole once since the server started:
// reading a file by ranges must not hash it for each.
func (r *repo) content(ctx context.Context, info hub.FileInfo) (*os.File, error) {
	if err := r.compare(ctx, info); err != nil {
		return nil, err
	}
	return r.OpenStored(info)
}

// compare compares stored content whole, unless that was done; of several
// callers one does it. It goes on when that one's client has left: who asks
// again for a large file finds it done.
func (r *repo) compare(ctx context.Context, info hub.FileInfo) error {
	done := make(chan struct{})
	for {
		if _, ok := r.checked.Load(info.SHA256); ok {
			return nil
		}
		other, busy := r.checking.LoadOrStore(info.SHA256, done)
		if !busy {
			break
		}
		select {
		case <-other.(chan struct{}):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	defer close(done)
	defer r.checking.Delete(info.SHA256)
	err := r.Verify(context.WithoutCancel(ctx), info)
	if err == nil {
		r.trust(info.SHA256)
	}
	return err
}

// trust notes that content with this digest was compared whole.
func (r *repo) trust(sum merkle.Digest) { r.checked.Store(sum, true) }
