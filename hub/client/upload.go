package client

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"lockstep/hub"
	"lockstep/internal/fault"
)

const (
	lfsType     = "application/vnd.git-lfs+json"
	uploadBatch = 100 // files asked about at once; the Hub takes 256
	maxParts    = 10_000
)

// planned is a file and how the server wants it.
type planned struct {
	measured
	large bool
}

// plan asks how files are to be sent and leaves out those that are there
// already with the same bytes.
func (r *Repo) plan(ctx context.Context, branch string, files []measured) ([]planned, error) {
	var out []planned
	for len(files) > 0 {
		batch := files[:min(len(files), uploadBatch)]
		files = files[len(batch):]
		modes, err := r.preupload(ctx, branch, batch)
		if err != nil {
			return nil, err
		}
		for _, f := range batch {
			m, ok := modes[f.Path]
			if !ok || m.UploadMode != "lfs" && m.UploadMode != "regular" {
				return nil, fault.Errorf(fault.Refused, "%s: the server does not say how %s is to be sent", r.id, f.Path)
			}
			large := m.UploadMode == "lfs" && f.Size > 0 // storage hosts refuse empty objects
			if m.OID != "" && (m.OID == f.SHA256.String() || m.OID == f.gitID) {
				continue
			}
			if m.ShouldIgnore {
				return nil, fault.Errorf(fault.Refused, "%s: the repository's .gitignore keeps %s out", r.id, f.Path)
			}
			out = append(out, planned{f, large})
		}
	}
	return out, nil
}

type uploadMode struct {
	Path, UploadMode, OID string
	ShouldIgnore          bool
}

func (r *Repo) preupload(ctx context.Context, branch string, files []measured) (map[string]uploadMode, error) {
	type entry struct {
		Path   string `json:"path"`
		Size   int64  `json:"size"`
		Sample []byte `json:"sample"` // base64 in JSON
	}
	var q struct {
		Files []entry `json:"files"`
	}
	for _, f := range files {
		q.Files = append(q.Files, entry{f.Path, f.Size, f.sample})
	}
	var answer struct{ Files []uploadMode }
	if err := r.client.postJSON(ctx, r.api("preupload", branch), jsonType, q, &answer); err != nil {
		return nil, notFound(err, r.id, branch, "")
	}
	modes := make(map[string]uploadMode, len(answer.Files))
	for _, m := range answer.Files {
		modes[m.Path] = m
	}
	return modes, nil
}

// action is where to send an object, or to ask about it.
type action struct {
	Href   string
	Header map[string]string
}

type lfsObject struct {
	OID     string
	Size    int64
	Actions *struct{ Upload, Verify *action }
	Error   *struct {
		Code    int
		Message string
	}
}

// upload stores a large file. It is repeated from the beginning, with new
// addresses: they may have expired, and what arrived though its answer was lost
// is not asked for again.
func (r *Repo) upload(ctx context.Context, branch string, f measured) error {
	return r.client.repeat(ctx, func() error {
		o, err := r.lfsBatch(ctx, branch, f)
		if err != nil || o.Actions == nil || o.Actions.Upload == nil {
			return err
		}
		if err := r.client.transfer(ctx, f, *o.Actions.Upload); err != nil {
			return fmt.Errorf("uploading %s: %w", f.Path, expired(err))
		}
		if v := o.Actions.Verify; v != nil {
			q := struct {
				OID  string `json:"oid"`
				Size int64  `json:"size"`
			}{o.OID, o.Size}
			return again(r.client.postJSON(ctx, v.Href, jsonType, q, nil))
		}
		return nil
	})
}

// again makes the answer that an object is not there, after it was sent, one
// that sending it anew may mend.
func again(err error) error {
	if refusedWith(err, http.StatusNotFound) {
		return fault.Wrap(fault.Network, err)
	}
	return err
}

// expired makes the refusal of a storage host one that new addresses may mend.
func expired(err error) error {
	if refusedWith(err, http.StatusForbidden) {
		return fault.Wrap(fault.Network, err)
	}
	return err
}

func (r *Repo) lfsBatch(ctx context.Context, branch string, f measured) (lfsObject, error) {
	type object struct {
		OID  string `json:"oid"`
		Size int64  `json:"size"`
	}
	q := map[string]any{
		"operation": "upload", "transfers": []string{"basic", "multipart"}, "hash_algo": "sha256",
		"ref": map[string]string{"name": branch}, "objects": []object{{f.SHA256.String(), f.Size}},
	}
	var answer struct {
		Transfer string
		Objects  []lfsObject
	}
	if err := r.client.postJSON(ctx, r.page()+".git/info/lfs/objects/batch", lfsType, q, &answer); err != nil {
		return lfsObject{}, notFound(err, r.id, branch, "")
	}
	switch {
	case len(answer.Objects) != 1 || answer.Objects[0].OID != f.SHA256.String():
		return lfsObject{}, fault.Errorf(fault.Refused, "%s: the server answers about other objects than %s", r.id, f.Path)
	case answer.Objects[0].Error != nil:
		e := answer.Objects[0].Error
		return lfsObject{}, fault.Errorf(fault.Refused, "%s: the server refuses %s: %d %s", r.id, f.Path, e.Code, printable(e.Message, maxErrorText))
	case answer.Transfer != "" && answer.Transfer != "basic" && answer.Transfer != "multipart":
		return lfsObject{}, fault.Errorf(fault.Refused, "%s: the server wants %s by %q, which was not offered", r.id, f.Path, printable(answer.Transfer, 40))
	}
	return answer.Objects[0], nil
}

// transfer sends the bytes of a file to where the server wants them, in one
// piece or in parts.
func (k *Client) transfer(ctx context.Context, f measured, to action) error {
	ctx = bare(ctx) // such addresses carry their own signature
	file := &feed{content: f.Content}
	defer file.close()
	report := k.reporter(f.Path, f.Size, true)
	if to.Header["chunk_size"] == "" {
		_, err := k.put(ctx, to.Href, file, 0, f.Size, report)
		return err
	}
	size, urls, err := partAddresses(f.Size, to.Header)
	if err != nil {
		return err
	}
	type part struct {
		Number int    `json:"partNumber"`
		ETag   string `json:"etag"`
	}
	parts := make([]part, len(urls))
	for i, address := range urls {
		offset := int64(i) * size
		err := k.repeat(ctx, func() error {
			etag, err := k.put(ctx, address, file, offset, min(size, f.Size-offset), report)
			parts[i] = part{i + 1, etag}
			return err
		})
		if err != nil {
			return err
		}
	}
	return k.postJSON(ctx, to.Href, lfsType, map[string]any{"oid": f.SHA256.String(), "parts": parts}, nil)
}

// partAddresses reads the parts out of an upload action: chunk_size, and under
// numbers the address of each part.
func partAddresses(total int64, header map[string]string) (size int64, urls []string, err error) {
	size, err = strconv.ParseInt(header["chunk_size"], 10, 64)
	if err != nil || size < 1 {
		return 0, nil, fault.Errorf(fault.Refused, "chunk_size %q is no size", printable(header["chunk_size"], 40))
	}
	count := (total + size - 1) / size
	if count > maxParts {
		return 0, nil, fault.Errorf(fault.Refused, "%d parts, at most %d are sent", count, maxParts)
	}
	urls = make([]string, count)
	for key, address := range header {
		n, err := strconv.ParseInt(key, 10, 64)
		if err != nil {
			continue
		}
		if n < 1 || n > count || urls[n-1] != "" {
			return 0, nil, fault.Errorf(fault.Refused, "part %d of %d", n, count)
		}
		urls[n-1] = address
	}
	for i, address := range urls {
		if address == "" {
			return 0, nil, fault.Errorf(fault.Refused, "part %d of %d has no address", i+1, count)
		}
	}
	return size, urls, nil
}

// put sends a section of a file and returns the ETag of the answer.
func (k *Client) put(ctx context.Context, address string, file *feed, offset, size int64, report func(int64)) (string, error) {
	open := func() (io.ReadCloser, error) {
		s, err := file.section(offset, size)
		if err != nil {
			return nil, err
		}
		return &counted{s, offset, report}, nil
	}
	r, err := k.send(ctx, http.MethodPut, address, "application/octet-stream", open, size, nil)
	if err != nil {
		return "", err
	}
	_, header, err := k.finish(ctx, r)
	return header.Get("ETag"), err
}

// counted reports what was read of a file.
type counted struct {
	io.ReadCloser
	at     int64
	report func(int64)
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.at += int64(n)
	c.report(c.at)
	return n, err
}

// commitBody writes the lines of a commit: small files inline, large ones by
// digest.
func commitBody(w io.Writer, q hub.CommitRequest, files []planned) error {
	summary, description := cutMessage(q.Message)
	var b bytes.Buffer
	b.Write(marshalLine(map[string]any{"key": "header", "value": map[string]string{"summary": summary, "description": description, "parentCommit": q.Parent}}))
	for _, f := range files {
		if f.large {
			b.Write(marshalLine(map[string]any{"key": "lfsFile", "value": map[string]any{"path": f.Path, "algo": "sha256", "oid": f.SHA256.String(), "size": f.Size}}))
		}
	}
	for _, path := range q.Delete {
		b.Write(marshalLine(map[string]any{"key": "deletedFile", "value": map[string]string{"path": path}}))
	}
	if _, err := w.Write(b.Bytes()); err != nil {
		return err
	}
	for _, f := range files {
		if !f.large {
			if err := inlineLine(w, f); err != nil {
				return err
			}
		}
	}
	return nil
}
