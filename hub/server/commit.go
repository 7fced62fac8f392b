package server

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"path/filepath"
	"strings"

	"lockstep/hub"
	"lockstep/internal/fault"
)

// commitTries bounds how often a commit that names no parent is tried again
// after another one came in between.
const commitTries = 20

// maxCommit caps the contents that come inside one commit, in bytes as they are
// sent: one file of MaxInline in base64, and small ones.
func (o Options) maxCommit() int64 { return max(o.MaxInline, 0)/3*4 + 256<<20 }

// commit is POST commit/BRANCH, one JSON object a line.
func (c *call) commit(branch string) {
	if !c.mayWrite() {
		return
	}
	if c.r.URL.Query().Get("create_pr") != "" {
		fail(c.w, c.r, http.StatusBadRequest, "", "there are no pull requests here: commit to a branch")
		return
	}
	body := http.MaxBytesReader(c.w, io.NopCloser(c.r.Body), c.options.maxCommit()+(64<<20))
	ops, err := readOperations(body, filepath.Join(c.root, uploadsDir), c.options.maxCommit())
	if err != nil {
		c.failReading(err)
		return
	}
	defer ops.close()
	commit, err := c.apply(branch, ops)
	if err != nil {
		c.failWith(c.w, c.r, err)
		return
	}
	writeJSON(c.w, map[string]any{
		"success": true, "commitOid": commit.ID, "hookOutput": "",
		"commitUrl": fmt.Sprintf("%s/%s%s/commit/%s", c.origin(), c.repo.prefix(), c.repo.id(), commit.ID),
	})
}

// failReading answers a commit that could not be read: it is not what it should
// be, unless the disk did not take it.
func (c *call) failReading(err error) {
	var tooLarge *http.MaxBytesError
	var disk *fs.PathError
	switch {
	case errors.As(err, &disk):
		c.failWith(c.w, c.r, err)
	case errors.Is(err, errTooLarge), errors.As(err, &tooLarge):
		fail(c.w, c.r, http.StatusRequestEntityTooLarge, "", "%v", err)
	default:
		fail(c.w, c.r, http.StatusBadRequest, "", "%v", err)
	}
}

// apply commits on the parent that the client named; without one on whatever is
// newest, as the Hub does: then a file counts as the last writer had it.
func (c *call) apply(branch string, ops *operations) (hub.Commit, error) {
	ctx := c.r.Context()
	request, err := c.request(branch, ops)
	if err != nil {
		return hub.Commit{}, err
	}
	for try := 1; ; try++ {
		head, err := c.branchHead(branch)
		if err != nil {
			return hub.Commit{}, err
		}
		if ops.parent != "" && (len(ops.parent) < 5 || !strings.HasPrefix(head, ops.parent)) {
			return hub.Commit{}, &hub.HeadMovedError{Expected: ops.parent, Head: head}
		}
		request.Parent = head
		if request.Delete, err = c.deletions(head, ops); err != nil {
			return hub.Commit{}, err
		}
		commit, err := c.repo.Commit(ctx, request)
		var moved *hub.HeadMovedError
		if !errors.As(err, &moved) || ops.parent != "" || try == commitTries {
			return commit, err
		}
		if try == 1 {
			if err := c.storeAll(request.Add); err != nil {
				return hub.Commit{}, err
			}
		}
	}
}

// storeAll stores contents ahead of their commit, which then names them by
// digest: so that no further try decodes and writes them again.
func (c *call) storeAll(contents []hub.Content) error {
	for i, content := range contents {
		info, err := c.repo.Store(c.r.Context(), content)
		if err != nil {
			return err
		}
		contents[i] = stored(info)
	}
	return nil
}

// branchHead is where a branch is. Only branches take commits.
func (c *call) branchHead(branch string) (string, error) {
	branches, err := c.repo.Branches(c.r.Context())
	if err != nil {
		return "", err
	}
	for _, b := range branches {
		if b.Name == branch {
			return b.Commit, nil
		}
	}
	return "", &hub.NotFoundError{What: "branch", Name: clip(branch), Where: c.repo.id()}
}

// request is the commit but for what depends on its parent.
func (c *call) request(branch string, ops *operations) (hub.CommitRequest, error) {
	q := hub.CommitRequest{Branch: branch, Message: ops.summary}
	if ops.description != "" {
		q.Message += "\n\n" + ops.description
	}
	for _, f := range ops.files {
		content, err := f.decoded()
		if err != nil {
			return q, err
		}
		q.Add = append(q.Add, content)
	}
	for _, f := range ops.large {
		size, ok := c.repo.Stored(f.SHA256)
		if !ok || f.Size >= 0 && f.Size != size {
			return q, &missingObject{f}
		}
		f.Size = size
		q.Add = append(q.Add, stored(f))
	}
	return q, nil
}

// stored is content that the repository has.
func stored(f hub.FileInfo) hub.Content {
	return hub.Content{Path: f.Path, Size: f.Size, SHA256: f.SHA256, Write: func(io.Writer) error {
		return &missingObject{f}
	}}
}

// missingObject says that a commit names a large file that was not uploaded.
type missingObject struct{ file hub.FileInfo }

func (e *missingObject) Error() string {
	return fmt.Sprintf("%s: the object %s was not uploaded, or has another size", e.file.Path, e.file.SHA256)
}

// Fault says that the request is wrong.
func (e *missingObject) Fault() fault.Kind { return fault.Usage }

// deletions lists the files to delete. Deleting what is not there is an error,
// for a folder as for a file.
func (c *call) deletions(head string, ops *operations) ([]string, error) {
	paths := append([]string(nil), ops.deleteFiles...)
	if len(ops.deleteFolders) == 0 {
		return paths, nil
	}
	files, err := c.repo.List(c.r.Context(), head)
	if err != nil {
		return nil, err
	}
	for _, folder := range ops.deleteFolders {
		inside := below(files, strings.Trim(folder, "/"))
		if len(inside) == 0 {
			return nil, &hub.NotFoundError{What: "file", Name: folder, Where: c.repo.id()}
		}
		for _, f := range inside {
			paths = append(paths, f.Path)
		}
	}
	return paths, nil
}
