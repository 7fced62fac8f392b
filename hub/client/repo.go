package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"lockstep/hub"
	"lockstep/internal/fault"
	"lockstep/internal/merkle"
)

// Kind is what a repository holds.
type Kind string

// The kinds of repositories.
const (
	Model   Kind = "models"
	Dataset Kind = "datasets"
)

// Repo is a repository of the Hub.
type Repo struct {
	client *Client
	kind   Kind
	id     string
}

var _ hub.Repository = (*Repo)(nil)

// Repo names a repository by its id, "owner/name" or, for old ones, "name". It
// sends nothing.
func (k *Client) Repo(kind Kind, id string) (*Repo, error) {
	if kind != Model && kind != Dataset {
		return nil, fault.Errorf(fault.Usage, "no kind of repository is called %q", kind)
	}
	name, err := hub.HubID(id)
	if err != nil {
		return nil, err
	}
	return &Repo{k, kind, name}, nil
}

// ID is the repository's id.
func (r *Repo) ID() string { return r.id }

// api is an address below the repository's.
func (r *Repo) api(elem ...string) string {
	path := "/api/" + string(r.kind) + "/" + r.id
	for _, e := range elem {
		path += "/" + url.PathEscape(e)
	}
	return path
}

// page is the repository's address for files and for Git LFS.
func (r *Repo) page() string {
	if r.kind == Model {
		return "/" + r.id
	}
	return "/" + string(r.kind) + "/" + r.id
}

// Create makes the repository; one that is there already is success.
func (r *Repo) Create(ctx context.Context, private bool) error {
	owner, name, ok := strings.Cut(r.id, "/")
	if !ok {
		return fault.Errorf(fault.Usage, "%s: a new repository needs an owner: OWNER/%s", r.id, r.id)
	}
	q := struct {
		Name         string `json:"name"`
		Organization string `json:"organization,omitempty"`
		Type         string `json:"type"`
		Private      bool   `json:"private"`
	}{name, owner, strings.TrimSuffix(string(r.kind), "s"), private}
	me, err := r.client.WhoAmI(ctx)
	if err != nil {
		return err
	}
	if me == owner {
		q.Organization = "" // one's own repositories have no organization
	}
	err = r.client.postJSON(ctx, "/api/repos/create", jsonType, q, nil)
	if refusedWith(err, http.StatusConflict) {
		return nil
	}
	return err
}

const jsonType = "application/json"

// WhoAmI returns the name of the token's owner. It is asked once: the route has
// a small quota.
func (k *Client) WhoAmI(ctx context.Context) (string, error) {
	k.who.Lock()
	defer k.who.Unlock()
	if k.who.name != "" {
		return k.who.name, nil
	}
	var q struct{ Name string }
	if _, err := k.getJSON(ctx, "/api/whoami-v2", &q); err != nil {
		return "", err
	}
	k.who.name = q.Name
	return q.Name, nil
}

// Resolve implements hub.Repository.
func (r *Repo) Resolve(ctx context.Context, revision string) (hub.Commit, error) {
	var page []struct{ ID, Title, Message string }
	revision = orMain(revision)
	if _, err := r.client.getJSON(ctx, r.api("commits", revision)+"?limit=2", &page); err != nil {
		return hub.Commit{}, notFound(err, r.id, revision, "")
	}
	if len(page) == 0 || !isCommit(page[0].ID) {
		return hub.Commit{}, fault.Errorf(fault.Network, "%s: the answer about revision %s names no commit", r.id, revision)
	}
	c := hub.Commit{ID: page[0].ID, Message: page[0].Title}
	if page[0].Message != "" {
		c.Message += "\n\n" + page[0].Message
	}
	if len(page) > 1 && isCommit(page[1].ID) {
		c.Parent = page[1].ID
	}
	return c, nil
}

func orMain(revision string) string {
	if revision == "" || revision == "HEAD" {
		return "main"
	}
	return revision
}

func isCommit(id string) bool { return isHex(id, 40) }

func isHex(s string, length int) bool {
	return len(s) == length && !strings.ContainsFunc(s, func(r rune) bool { return (r < '0' || r > '9') && (r < 'a' || r > 'f') })
}

// head is where a branch is, by the short route.
func (r *Repo) head(ctx context.Context, branch string) (string, error) {
	var q struct{ SHA string }
	if _, err := r.client.getJSON(ctx, r.api("revision", branch), &q); err != nil {
		return "", notFound(err, r.id, branch, "")
	}
	if !isCommit(q.SHA) {
		return "", fault.Errorf(fault.Network, "%s: the answer about branch %s names no commit", r.id, branch)
	}
	return q.SHA, nil
}

// Tags implements hub.Repository.
func (r *Repo) Tags(ctx context.Context) ([]hub.Tag, error) {
	var q struct {
		Tags []struct{ Name, TargetCommit string }
	}
	if _, err := r.client.getJSON(ctx, r.api("refs"), &q); err != nil {
		return nil, notFound(err, r.id, "", "")
	}
	tags := make([]hub.Tag, 0, len(q.Tags))
	for _, t := range q.Tags {
		if isCommit(t.TargetCommit) {
			tags = append(tags, hub.Tag{Name: t.Name, Commit: t.TargetCommit})
		}
	}
	hub.SortTags(tags)
	return tags, nil
}

// Tag implements hub.Repository. The server says only that a tag is there; what
// it names is then looked up, which also covers an answer that was lost.
func (r *Repo) Tag(ctx context.Context, name, commit string) error {
	q := struct {
		Tag string `json:"tag"`
	}{name}
	err := r.client.postJSON(ctx, r.api("tag", commit), jsonType, q, nil)
	if !refusedWith(err, http.StatusConflict) {
		return notFound(err, r.id, commit, "")
	}
	tags, terr := r.Tags(ctx)
	if terr != nil {
		return terr
	}
	i := slices.IndexFunc(tags, func(t hub.Tag) bool { return t.Name == name })
	switch {
	case i < 0:
		return err
	case tags[i].Commit == commit:
		return nil
	}
	return &hub.TagExistsError{Tag: name, Commit: tags[i].Commit}
}

// treeFile is an entry of a tree.
type treeFile struct {
	Type, Path, OID string
	Size            int64
	LFS             *struct {
		OID  string
		Size int64
	}
}

const (
	maxPages = 10_000
	maxFiles = 1_000_000
)

// List implements hub.Repository.
func (r *Repo) List(ctx context.Context, revision string) ([]hub.FileInfo, error) {
	var files []hub.FileInfo
	next := r.api("tree", orMain(revision)) + "?recursive=true&expand=false"
	for page := 0; next != ""; page++ {
		if page == maxPages || len(files) > maxFiles {
			return nil, fault.Errorf(fault.Refused, "%s: more than %d files", r.id, maxFiles)
		}
		var entries []treeFile
		header, err := r.client.getJSON(ctx, next, &entries)
		if err != nil {
			return nil, notFound(err, r.id, orMain(revision), "")
		}
		for _, e := range entries {
			if e.Type != "file" {
				continue
			}
			info, err := e.info()
			if err != nil {
				return nil, fmt.Errorf("%s: %w", r.id, err)
			}
			files = append(files, info)
		}
		if next, err = r.client.nextPage(header); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(files, func(a, b hub.FileInfo) int { return strings.Compare(a.Path, b.Path) })
	return files, nil
}

// info checks an entry: its path may be used as a file name, its digest is one.
func (e treeFile) info() (hub.FileInfo, error) {
	if err := hub.CheckPath(e.Path); err != nil {
		return hub.FileInfo{}, err
	}
	info := hub.FileInfo{Path: e.Path, Size: e.Size}
	if e.LFS != nil {
		sum, err := merkle.ParseDigest(e.LFS.OID)
		if err != nil || e.LFS.Size < 0 {
			return info, fault.Errorf(fault.Damaged, "%s: the listing has no valid digest or size", e.Path)
		}
		info.SHA256, info.Size = sum, e.LFS.Size
		return info, nil
	}
	if !isHex(e.OID, 40) || e.Size < 0 {
		return info, fault.Errorf(fault.Damaged, "%s: the listing has no valid digest or size", e.Path)
	}
	info.GitID = e.OID
	return info, nil
}

// nextPage reads the Link header. Only the endpoint's own pages are followed: a
// Hub behind another name writes its own into them.
func (k *Client) nextPage(h http.Header) (string, error) {
	for link := range strings.SplitSeq(h.Get("Link"), ",") {
		address, rel, ok := strings.Cut(link, ";")
		if !ok || !strings.Contains(rel, `rel="next"`) {
			continue
		}
		address = strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(address), "<"), ">")
		u, err := url.Parse(address)
		if err != nil || !strings.HasPrefix(u.EscapedPath(), "/") {
			return "", fault.Errorf(fault.Refused, "the next page %q is not an address", printable(address, 200))
		}
		next := u.RequestURI()
		if below, ok := strings.CutPrefix(next, k.endpoint.EscapedPath()+"/"); ok { // send puts it before each path
			next = "/" + below
		}
		return next, nil
	}
	return "", nil
}

// escapePath escapes a path but for its slashes.
func escapePath(path string) string {
	parts := strings.Split(path, "/")
	for i := range parts {
		parts[i] = url.PathEscape(parts[i])
	}
	return strings.Join(parts, "/")
}

// marshalLine is a line of NDJSON.
func marshalLine(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil { // strings and numbers always encode
		panic(err)
	}
	return append(b, '\n')
}
