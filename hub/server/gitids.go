package server

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"lockstep/hub"
	"lockstep/internal/merkle"
)

// gitIDs are git's names for contents, which clients of the Hub use as ETags and
// to see that a file is unchanged. They are computed when first asked for.
type gitIDs struct {
	mu  sync.Mutex
	ids map[merkle.Digest]string
}

const maxGitIDs = 100_000 // remembered; about 10 MB

// oid is the name under which clients compare a file: the SHA-256 of a large
// one, git's of others.
func (r *repo) oid(ctx context.Context, f hub.FileInfo) (string, error) {
	if isLFS(f.Path, f.Size) {
		return f.SHA256.String(), nil
	}
	return r.gitBlob(ctx, f)
}

// blobID is git's name of what git keeps: the content, or the pointer to it.
func (r *repo) blobID(ctx context.Context, f hub.FileInfo) (string, error) {
	if !isLFS(f.Path, f.Size) {
		return r.gitBlob(ctx, f)
	}
	p := pointer(f)
	return gitName("blob", int64(len(p)), strings.NewReader(p))
}

// gitBlob is git's name of the content itself.
func (r *repo) gitBlob(ctx context.Context, f hub.FileInfo) (string, error) {
	r.gits.mu.Lock()
	id, ok := r.gits.ids[f.SHA256]
	r.gits.mu.Unlock()
	if ok {
		return id, nil
	}
	file, err := r.content(ctx, f)
	if err != nil {
		return "", err
	}
	defer file.Close()
	if id, err = gitName("blob", f.Size, file); err != nil {
		return "", err
	}
	r.gits.mu.Lock()
	defer r.gits.mu.Unlock()
	if r.gits.ids == nil || len(r.gits.ids) >= maxGitIDs {
		r.gits.ids = map[merkle.Digest]string{}
	}
	r.gits.ids[f.SHA256] = id
	return id, nil
}

// gitName is SHA-1 of git's header and the content.
func gitName(kind string, size int64, content io.Reader) (string, error) {
	h := sha1.New()
	fmt.Fprintf(h, "%s %d\x00", kind, size)
	if _, err := io.Copy(h, content); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// pointer is what git keeps of a large file.
func pointer(f hub.FileInfo) string {
	return fmt.Sprintf("version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize %d\n", f.SHA256, f.Size)
}

// entry is a file or folder of a commit.
type entry struct {
	hub.FileInfo
	folder bool
	id     string // git's
}

// folders returns all entries of a commit, folders with git's ids of their
// trees, in byte order of their paths.
func (r *repo) folders(ctx context.Context, files []hub.FileInfo) ([]entry, error) {
	var all []entry
	trees := map[string][]entry{"": nil} // folder -> what is in it
	for _, f := range files {
		id, err := r.blobID(ctx, f)
		if err != nil {
			return nil, err
		}
		e := entry{FileInfo: f, id: id}
		all = append(all, e)
		dir := parent(f.Path)
		trees[dir] = append(trees[dir], e)
		for ; dir != ""; dir = parent(dir) {
			if _, ok := trees[dir]; !ok {
				trees[dir] = nil
			}
		}
	}
	dirs := make([]string, 0, len(trees))
	for dir := range trees {
		if dir != "" {
			dirs = append(dirs, dir)
		}
	}
	slices.SortFunc(dirs, func(a, b string) int { return strings.Compare(b, a) }) // children before parents
	for _, dir := range dirs {
		id, err := treeID(trees[dir])
		if err != nil {
			return nil, err
		}
		e := entry{FileInfo: hub.FileInfo{Path: dir}, folder: true, id: id}
		all = append(all, e)
		trees[parent(dir)] = append(trees[parent(dir)], e)
	}
	slices.SortFunc(all, func(a, b entry) int { return strings.Compare(a.Path, b.Path) })
	return all, nil
}

// parent is the folder of a path, "" at the top.
func parent(path string) string { return path[:max(strings.LastIndexByte(path, '/'), 0)] }

// treeID is git's name of a folder.
func treeID(entries []entry) (string, error) {
	key := func(e entry) string { // git sorts folders as if they ended in a slash
		if e.folder {
			return e.Path + "/"
		}
		return e.Path
	}
	entries = slices.Clone(entries)
	slices.SortFunc(entries, func(a, b entry) int { return strings.Compare(key(a), key(b)) })
	var b strings.Builder
	for _, e := range entries {
		mode := "100644"
		if e.folder {
			mode = "40000"
		}
		raw, err := hex.DecodeString(e.id)
		if err != nil {
			return "", err
		}
		b.WriteString(mode + " " + e.Path[strings.LastIndexByte(e.Path, '/')+1:] + "\x00" + string(raw))
	}
	return gitName("tree", int64(b.Len()), strings.NewReader(b.String()))
}
