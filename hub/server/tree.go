package server

import (
	"context"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"lockstep/hub"
)

const (
	treePage     = 1000
	treeExpanded = 50 // entries a page when each tells its last commit
	maxPaths     = 1000
	maxPathsBody = 4 << 20
)

// treeEntry is a file or folder as clients read it.
type treeEntry struct {
	Type       string      `json:"type"`
	Path       string      `json:"path"`
	Size       int64       `json:"size"`
	OID        string      `json:"oid"`
	LFS        *treeLFS    `json:"lfs,omitempty"`
	LastCommit *lastCommit `json:"lastCommit,omitempty"`
}

// treeLFS differs from siblingLFS: clients read oid here and sha256 there.
type treeLFS struct {
	OID         string `json:"oid"`
	Size        int64  `json:"size"`
	PointerSize int    `json:"pointerSize"`
}

type lastCommit struct {
	ID    string `json:"id"`
	Title string `json:"title"`
	Date  string `json:"date"`
}

// treeView lists a commit's entries for clients.
type treeView struct {
	c      *call
	commit hub.Commit
	all    []entry
	expand bool
}

func (c *call) openTree(ctx context.Context, revision string, expand bool) (*treeView, error) {
	commit, err := c.repo.Resolve(ctx, revision)
	if err != nil {
		return nil, err
	}
	files, err := c.repo.List(ctx, commit.ID)
	if err != nil {
		return nil, err
	}
	all, err := c.repo.folders(ctx, files)
	return &treeView{c, commit, all, expand}, err
}

func (t *treeView) find(path string) (entry, bool) {
	i, ok := slices.BinarySearchFunc(t.all, path, func(e entry, p string) int { return strings.Compare(e.Path, p) })
	if !ok {
		return entry{}, false
	}
	return t.all[i], true
}

func (t *treeView) show(e entry) treeEntry {
	out := treeEntry{Type: "file", Path: e.Path, Size: e.Size, OID: e.id}
	if e.folder {
		out.Type = "directory"
	} else if isLFS(e.Path, e.Size) {
		out.LFS = &treeLFS{e.SHA256.String(), e.Size, len(pointer(e.FileInfo))}
	}
	return out
}

// answer sends entries, with the last commit of each if that was asked for.
func (t *treeView) answer(list []treeEntry) {
	if t.expand {
		if err := t.addLastCommits(list); err != nil {
			t.c.failWith(t.c.w, t.c.r, err)
			return
		}
	}
	writeJSON(t.c.w, list)
}

func (t *treeView) addLastCommits(list []treeEntry) error {
	repo, ctx := t.c.repo, t.c.r.Context()
	paths := make([]string, len(list))
	for i, e := range list {
		paths[i] = e.Path
	}
	last, err := repo.lastChanges(ctx, t.commit.ID, paths)
	if err != nil {
		return err
	}
	for i, e := range list {
		id := last[e.Path]
		s, err := repo.step(ctx, id, map[string][]hub.FileInfo{})
		if err != nil {
			return err
		}
		written, err := repo.Written(id)
		if err != nil {
			return err
		}
		list[i].LastCommit = &lastCommit{id, s.title, formatTime(written)}
	}
	return nil
}

// below keeps a file, or the files of a folder.
func below(files []hub.FileInfo, path string) (kept []hub.FileInfo) {
	for _, f := range files {
		if f.Path == path || strings.HasPrefix(f.Path, path+"/") {
			kept = append(kept, f)
		}
	}
	return kept
}

// tree is GET tree/REVISION/FOLDER?recursive&expand&limit&cursor. The cursor is
// the last path of the page before.
func (c *call) tree(revision, folder string) {
	q := c.r.URL.Query()
	folder = strings.Trim(folder, "/")
	t, err := c.openTree(c.r.Context(), revision, isTrue(q.Get("expand")))
	if err == nil && folder != "" {
		if e, ok := t.find(folder); !ok || !e.folder {
			err = &hub.NotFoundError{What: "file", Name: folder, Where: c.repo.id()}
		}
	}
	if err != nil {
		c.failWith(c.w, c.r, err)
		return
	}
	page := treePage
	if t.expand {
		page = treeExpanded
	}
	page = number(q.Get("limit"), page, 1, page)
	list := []treeEntry{}
	for _, e := range t.all {
		in := folder == "" || strings.HasPrefix(e.Path, folder+"/")
		if !in || e.Path <= q.Get("cursor") || !isTrue(q.Get("recursive")) && parent(e.Path) != folder {
			continue
		}
		if len(list) == page {
			c.linkNext("cursor", list[page-1].Path)
			break
		}
		list = append(list, t.show(e))
	}
	t.answer(list)
}

// pathsInfo is POST paths-info/REVISION: one client sends a form, another JSON.
// Paths that are not there are left out, and so are those that come again.
func (c *call) pathsInfo(revision string) {
	paths, expand, ok := c.readPaths()
	if !ok {
		return
	}
	if len(paths) > maxPaths {
		fail(c.w, c.r, http.StatusRequestEntityTooLarge, "", "%d paths, at most %d are answered at once", len(paths), maxPaths)
		return
	}
	t, err := c.openTree(c.r.Context(), revision, expand)
	if err != nil {
		c.failWith(c.w, c.r, err)
		return
	}
	list := []treeEntry{}
	shown := map[string]bool{}
	for _, p := range paths {
		e, ok := t.find(strings.Trim(p, "/"))
		if !ok || shown[e.Path] {
			continue
		}
		shown[e.Path] = true
		list = append(list, t.show(e))
	}
	t.answer(list)
}

func (c *call) readPaths() (paths []string, expand, ok bool) {
	kind, _, _ := mime.ParseMediaType(c.r.Header.Get("Content-Type"))
	if kind != "application/x-www-form-urlencoded" {
		var q struct {
			Paths  []string
			Expand bool
		}
		ok = readJSON(c.w, c.r, maxPathsBody, &q)
		return q.Paths, q.Expand, ok
	}
	text, err := readAll(c.r, maxPathsBody)
	var form url.Values
	if err == nil {
		form, err = url.ParseQuery(string(text))
	}
	if err != nil {
		fail(c.w, c.r, http.StatusBadRequest, "", "reading the form: %v", err)
		return nil, false, false
	}
	return form["paths"], isTrue(form.Get("expand")), true
}
