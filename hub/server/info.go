package server

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"lockstep/hub"
)

// repoInfo is what clients read of a repository.
type repoInfo struct {
	Number       string    `json:"_id"`
	ID           string    `json:"id"`
	ModelID      string    `json:"modelId,omitempty"`
	Author       string    `json:"author"`
	SHA          string    `json:"sha"`
	LastModified string    `json:"lastModified"`
	CreatedAt    string    `json:"createdAt"`
	Private      bool      `json:"private"`
	Gated        bool      `json:"gated"`
	Disabled     bool      `json:"disabled"`
	Downloads    int       `json:"downloads"`
	Likes        int       `json:"likes"`
	Tags         []string  `json:"tags"`
	Siblings     []sibling `json:"siblings,omitempty"`
}

// sibling is a file as the info of a repository lists it.
type sibling struct {
	Name   string      `json:"rfilename"`
	Size   *int64      `json:"size,omitempty"`
	BlobID string      `json:"blobId,omitempty"`
	LFS    *siblingLFS `json:"lfs,omitempty"`
}

type siblingLFS struct {
	SHA256      string `json:"sha256"`
	Size        int64  `json:"size"`
	PointerSize int    `json:"pointerSize"`
}

// describe fills a repoInfo, without files if there are none given.
func (c *call) describe(r *repo, revision string, siblings []sibling) (repoInfo, error) {
	commit, err := r.Resolve(c.r.Context(), revision)
	if err != nil {
		return repoInfo{}, err
	}
	written, err := r.Written(commit.ID)
	if err != nil {
		return repoInfo{}, err
	}
	info := repoInfo{
		Number: r.kind + "/" + r.id(), ID: r.id(), Author: r.owner, SHA: commit.ID, LastModified: formatTime(written),
		CreatedAt: formatTime(written), Private: r.private, Tags: []string{}, Siblings: siblings,
	}
	if r.kind == "models" {
		info.ModelID = r.id()
	}
	return info, nil
}

// info is GET revision/REVISION.
func (c *call) info(revision string) {
	ctx := c.r.Context()
	commit, err := c.repo.Resolve(ctx, revision)
	var files []hub.FileInfo
	if err == nil {
		files, err = c.repo.List(ctx, commit.ID)
	}
	siblings := make([]sibling, len(files))
	blobs := c.r.URL.Query().Get("blobs")
	for i, f := range files {
		siblings[i].Name = f.Path
		if err != nil || !isTrue(blobs) {
			continue
		}
		siblings[i].Size = &f.Size
		siblings[i].BlobID, err = c.repo.blobID(ctx, f)
		if isLFS(f.Path, f.Size) {
			siblings[i].LFS = &siblingLFS{f.SHA256.String(), f.Size, len(pointer(f))}
		}
	}
	var info repoInfo
	if err == nil {
		info, err = c.describe(c.repo, commit.ID, siblings)
	}
	if err != nil {
		c.failWith(c.w, c.r, err)
		return
	}
	writeJSON(c.w, info)
}

// isTrue reads a boolean as either language writes it.
func isTrue(s string) bool { return strings.EqualFold(s, "true") || s == "1" }

type refInfo struct {
	Name   string `json:"name"`
	Ref    string `json:"ref"`
	Commit string `json:"targetCommit"`
}

// refs is GET refs.
func (c *call) refs() {
	branches, err := c.repo.Branches(c.r.Context())
	var tags []hub.Tag
	if err == nil {
		tags, err = c.repo.Tags(c.r.Context())
	}
	if err != nil {
		c.failWith(c.w, c.r, err)
		return
	}
	answer := map[string][]refInfo{"branches": {}, "converts": {}, "tags": {}, "pullRequests": {}}
	for _, b := range branches {
		answer["branches"] = append(answer["branches"], refInfo{b.Name, "refs/heads/" + b.Name, b.Commit})
	}
	for _, t := range tags {
		answer["tags"] = append(answer["tags"], refInfo{t.Name, "refs/tags/" + t.Name, t.Commit})
	}
	writeJSON(c.w, answer)
}

type commitInfo struct {
	ID      string   `json:"id"`
	Title   string   `json:"title"`
	Message string   `json:"message"`
	Authors []author `json:"authors"`
	Date    string   `json:"date"`
}

type author struct {
	User   string `json:"user"`
	Avatar string `json:"avatar"`
}

// commits is GET commits/REVISION?limit&p: a page of the history, newest first.
func (c *call) commits(revision string) {
	q := c.r.URL.Query()
	limit := number(q.Get("limit"), 100, 1, maxListed)
	skip := number(q.Get("p"), 0, 0, maxHistory) * limit
	list := []commitInfo{}
	total := 0
	commit, err := c.repo.Resolve(c.r.Context(), revision)
	var page []string
	if err == nil {
		err = c.repo.walk(c.r.Context(), commit.ID, func(id string, _ step) bool {
			if total >= skip && len(page) < limit {
				page = append(page, id)
			}
			total++
			return true
		})
	}
	for _, id := range page {
		var info commitInfo
		if err == nil {
			info, err = c.commitInfo(id)
		}
		list = append(list, info)
	}
	if err != nil {
		c.failWith(c.w, c.r, err)
		return
	}
	c.w.Header().Set("X-Total-Count", strconv.Itoa(total))
	if skip+limit < total {
		c.linkNext("p", strconv.Itoa(skip/limit+1))
	}
	writeJSON(c.w, list)
}

func (c *call) commitInfo(id string) (commitInfo, error) {
	commit, err := c.repo.Resolve(c.r.Context(), id)
	if err != nil {
		return commitInfo{}, err
	}
	written, err := c.repo.Written(commit.ID)
	title, message, _ := strings.Cut(commit.Message, "\n")
	return commitInfo{
		ID: commit.ID, Title: title, Message: strings.TrimPrefix(message, "\n"), Date: formatTime(written),
		Authors: []author{{User: c.repo.owner, Avatar: c.origin() + "/avatar"}},
	}, err
}

// number reads a natural number within bounds, or takes the default.
func number(s string, otherwise, low, high int) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		return otherwise
	}
	return min(max(n, low), high)
}

// linkNext points to the next page: an absolute address, with a blank behind
// the semicolon, as clients look for it.
func (c *call) linkNext(key, value string) {
	q := c.r.URL.Query()
	q.Set(key, value)
	next := url.URL{Path: c.r.URL.Path, RawPath: c.r.URL.RawPath, RawQuery: q.Encode()}
	c.w.Header().Set("Link", fmt.Sprintf(`<%s%s>; rel="next"`, c.origin(), next.String()))
}

// writeStatus is writeJSON with another status.
func writeStatus(w http.ResponseWriter, status int, v any) {
	writeJSON(&statusWriter{w, cmp.Or(status, http.StatusOK)}, v)
}

type statusWriter struct {
	http.ResponseWriter
	status int
}

func (s *statusWriter) Write(b []byte) (int, error) {
	s.ResponseWriter.WriteHeader(s.status)
	return s.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController find the connection.
func (s *statusWriter) Unwrap() http.ResponseWriter { return s.ResponseWriter }
