package server

import (
	"context"
	"slices"
	"strings"
	"sync"

	"lockstep/hub"
)

const (
	maxHistory = 100_000  // commits walked for one answer
	maxSteps   = 64 << 20 // bytes of steps remembered, about
)

// step is what a commit did.
type step struct {
	parent  string
	title   string
	changed []string // paths of the files that it added, changed or deleted
}

// bytes is about what a step takes in memory.
func (s step) bytes() int {
	n := 200 + len(s.title)
	for _, path := range s.changed {
		n += 16 + len(path)
	}
	return n
}

// history remembers steps by commit: these are never changed, and equal ones did
// the same in every repository.
type history struct {
	reading sync.Mutex // taken while a step is read: one at a time
	mu      sync.Mutex
	steps   map[string]step
	bytes   int
}

func (h *history) get(commit string) (step, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s, ok := h.steps[commit]
	return s, ok
}

func (h *history) put(commit string, s step) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.bytes += s.bytes(); h.steps == nil || h.bytes > maxSteps {
		h.steps, h.bytes = map[string]step{}, s.bytes()
	}
	h.steps[commit] = s
}

// walk visits a commit and those before it, newest first, until visit says that
// it has seen enough.
func (r *repo) walk(ctx context.Context, commit string, visit func(commit string, s step) (more bool)) error {
	files := map[string][]hub.FileInfo{} // of the commit that is next, if they were read
	for range maxHistory {
		s, err := r.step(ctx, commit, files)
		if err != nil {
			return err
		}
		if !visit(commit, s) || s.parent == "" {
			return nil
		}
		commit = s.parent
	}
	return nil
}

// step is what a commit did, compared with its parent where that was not done
// before. In files it then leaves those of the parent alone, whose turn is next.
func (r *repo) step(ctx context.Context, id string, files map[string][]hub.FileInfo) (step, error) {
	if s, ok := r.history.get(id); ok {
		return s, nil
	}
	r.history.reading.Lock()
	defer r.history.reading.Unlock()
	if s, ok := r.history.get(id); ok { // somebody else read it meanwhile
		return s, nil
	}
	commit, err := r.Resolve(ctx, id)
	if err != nil {
		return step{}, err
	}
	now, ok := files[id]
	if !ok {
		if now, err = r.List(ctx, id); err != nil {
			return step{}, err
		}
	}
	var before []hub.FileInfo
	if commit.Parent != "" {
		if before, err = r.List(ctx, commit.Parent); err != nil {
			return step{}, err
		}
	}
	clear(files)
	files[commit.Parent] = before
	title, _, _ := strings.Cut(commit.Message, "\n")
	s := step{parent: commit.Parent, title: strings.Clone(title), changed: differing(now, before)}
	r.history.put(id, s)
	return s, nil
}

// differing returns the paths at which two lists, sorted by path, differ. The
// paths are copies: they would keep what they were read from.
func differing(a, b []hub.FileInfo) (paths []string) {
	for len(a) > 0 || len(b) > 0 {
		switch {
		case len(b) == 0 || len(a) > 0 && a[0].Path < b[0].Path:
			paths, a = append(paths, strings.Clone(a[0].Path)), a[1:]
		case len(a) == 0 || b[0].Path < a[0].Path:
			paths, b = append(paths, strings.Clone(b[0].Path)), b[1:]
		default:
			if a[0] != b[0] {
				paths = append(paths, strings.Clone(a[0].Path))
			}
			a, b = a[1:], b[1:]
		}
	}
	return slices.Clip(paths)
}

// lastChanges finds, for files and folders of a commit, the newest commits that
// changed them or something in them, in one walk for all of them.
func (r *repo) lastChanges(ctx context.Context, commit string, paths []string) (map[string]string, error) {
	last := map[string]string{}
	wanted := make(map[string]bool, len(paths))
	for _, path := range paths {
		wanted[path] = true
	}
	oldest := ""
	err := r.walk(ctx, commit, func(id string, s step) bool {
		oldest = id
		for _, path := range s.changed {
			for ; path != ""; path = parent(path) {
				if wanted[path] {
					last[path] = id
					delete(wanted, path)
				}
			}
		}
		return len(wanted) > 0
	})
	for path := range wanted { // a history longer than is walked
		last[path] = oldest
	}
	return last, err
}
