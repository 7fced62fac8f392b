package client

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"lockstep/hub"
	"lockstep/internal/fault"
)

// Commit implements hub.Repository. Contents are sent first; the commit itself
// names its parent, so that it happens once or not at all.
func (r *Repo) Commit(ctx context.Context, q hub.CommitRequest) (hub.Commit, error) {
	q.Branch = cmp.Or(q.Branch, "main")
	if err := r.checkHead(ctx, q); err != nil {
		return hub.Commit{}, err
	}
	files := make([]measured, len(q.Add))
	for i, c := range q.Add {
		if err := hub.CheckPath(c.Path); err != nil {
			return hub.Commit{}, fault.Wrap(fault.Usage, err)
		}
		var err error
		if files[i], err = measure(ctx, c); err != nil {
			return hub.Commit{}, err
		}
	}
	plan, err := r.plan(ctx, q.Branch, files)
	if err != nil {
		return hub.Commit{}, err
	}
	for _, f := range plan {
		if f.large {
			if err := r.upload(ctx, q.Branch, f.measured); err != nil {
				return hub.Commit{}, err
			}
		}
	}
	if len(plan) == 0 && len(q.Delete) == 0 { // nothing would change, so no commit
		if err := r.checkHead(ctx, q); err != nil {
			return hub.Commit{}, err
		}
		return r.Resolve(ctx, q.Parent)
	}
	return r.commit(ctx, q, files, plan)
}

// checkHead fails early, before megabytes are sent for a commit that cannot be.
func (r *Repo) checkHead(ctx context.Context, q hub.CommitRequest) error {
	head, err := r.head(ctx, q.Branch)
	if err == nil && head != q.Parent {
		err = &hub.HeadMovedError{Expected: q.Parent, Head: head}
	}
	return err
}

// commit posts the commit. When an answer is lost, or the second try is told
// that the head has moved, the head may be the commit that was asked for: that
// is looked up before anything is said or repeated.
func (r *Repo) commit(ctx context.Context, q hub.CommitRequest, files []measured, plan []planned) (hub.Commit, error) {
	var done hub.Commit
	tries := 0
	err := r.client.repeat(ctx, func() error {
		if tries++; tries > 1 {
			commit, ok, err := r.committed(ctx, q, files)
			if ok || err != nil {
				done = commit
				return err
			}
		}
		id, err := r.post(ctx, q, plan)
		if refusedWith(err, http.StatusPreconditionFailed) {
			return r.moved(ctx, q)
		}
		done = hub.Commit{ID: id, Parent: q.Parent, Message: q.Message}
		return err
	})
	var moved *hub.HeadMovedError
	if errors.As(err, &moved) && tries > 1 || err != nil && fault.KindOf(err) == fault.Network {
		if commit, ok, lerr := r.committed(ctx, q, files); ok && lerr == nil {
			return commit, nil
		}
	}
	if err != nil {
		return hub.Commit{}, err
	}
	return done, nil
}

// moved tells where the branch is now.
func (r *Repo) moved(ctx context.Context, q hub.CommitRequest) error {
	head, err := r.head(ctx, q.Branch)
	if err != nil {
		return err
	}
	return &hub.HeadMovedError{Expected: q.Parent, Head: head}
}

// committed reports whether the branch's head is what the request asks for: a
// commit on its parent, with its files and without those to be deleted. A head
// that is elsewhere and is not that is a *hub.HeadMovedError.
func (r *Repo) committed(ctx context.Context, q hub.CommitRequest, files []measured) (hub.Commit, bool, error) {
	head, err := r.Resolve(ctx, q.Branch)
	if err != nil || head.ID == q.Parent {
		return hub.Commit{}, false, err
	}
	movedOn := &hub.HeadMovedError{Expected: q.Parent, Head: head.ID}
	if head.Parent != q.Parent {
		return hub.Commit{}, false, movedOn
	}
	have, err := r.List(ctx, head.ID)
	if err != nil {
		return hub.Commit{}, false, err
	}
	find := func(path string) int {
		return slices.IndexFunc(have, func(f hub.FileInfo) bool { return f.Path == path })
	}
	for _, f := range files {
		i := find(f.Path)
		if i < 0 || have[i].Size != f.Size || have[i].SHA256 != f.SHA256 && have[i].GitID != f.gitID {
			return hub.Commit{}, false, movedOn
		}
	}
	for _, path := range q.Delete {
		if find(path) >= 0 {
			return hub.Commit{}, false, movedOn
		}
	}
	return head, true, nil
}

// post sends the commit once and returns its id.
func (r *Repo) post(ctx context.Context, q hub.CommitRequest, plan []planned) (string, error) {
	open := func() (io.ReadCloser, error) {
		read, write := io.Pipe()
		go func() { write.CloseWithError(commitBody(write, q, plan)) }()
		return read, nil
	}
	var size counter
	if err := commitBody(&size, q, withoutBytes(plan)); err != nil {
		return "", err
	}
	for _, f := range plan {
		if !f.large {
			size += counter(base64.StdEncoding.EncodedLen(int(f.Size)))
		}
	}
	response, err := r.client.send(ctx, http.MethodPost, r.api("commit", q.Branch), "application/x-ndjson", open, int64(size), nil)
	if err != nil {
		return "", err
	}
	body, _, err := r.client.finish(ctx, response)
	if err != nil {
		return "", notFound(err, r.id, q.Branch, "")
	}
	var answer struct{ CommitOID string }
	if err := decode(r.api("commit", q.Branch), body, &answer); err != nil {
		return "", err
	}
	if !isCommit(answer.CommitOID) {
		return "", fault.Errorf(fault.Network, "%s: the answer to a commit names none", r.id)
	}
	return answer.CommitOID, nil
}

// counter counts what is written.
type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

// withoutBytes is the plan with empty small files, to measure what is around
// them.
func withoutBytes(plan []planned) []planned {
	plan = slices.Clone(plan)
	for i := range plan {
		if !plan[i].large {
			plan[i].Write = func(io.Writer) error { return nil }
		}
	}
	return plan
}

// inlineLine writes a file's line, its content encoded as it is read.
func inlineLine(w io.Writer, f planned) error {
	path, err := json.Marshal(f.Path)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(w, `{"key":"file","value":{"path":%s,"encoding":"base64","content":"`, path); err != nil {
		return err
	}
	encoder := base64.NewEncoder(base64.StdEncoding, w)
	if err := f.Write(encoder); err != nil {
		return err
	}
	if err := encoder.Close(); err != nil {
		return err
	}
	_, err = io.WriteString(w, "\"}}\n")
	return err
}

// cutMessage splits a message into the line that lists show and the rest. The
// Hub wants the former.
func cutMessage(message string) (summary, description string) {
	summary, description, _ = strings.Cut(message, "\n")
	return cmp.Or(strings.TrimSpace(summary), "commit"), strings.TrimLeft(description, "\n")
}
