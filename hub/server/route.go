package server

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// call is one request on its way to an answer.
type call struct {
	*Server
	w    http.ResponseWriter
	r    *http.Request
	user user
	// known says that the caller showed a token of this server.
	known bool
	repo  *repo
}

// maxSegments bounds a path before anything is made of it.
const maxSegments = 256

// route finds what a request is about. Paths are cut while they are escaped:
// one segment may be the revision "refs%2Fheads%2Fmain".
func (s *Server) route(w http.ResponseWriter, r *http.Request) {
	user, known, good := s.tokens.identify(r)
	c := &call{Server: s, w: w, r: r, user: user, known: known}
	path, ok := cutPath(r.URL)
	switch {
	case !ok:
		fail(w, r, http.StatusBadRequest, "", "this path cannot be read")
	case path[0] == "lfs": // signed addresses; tokens do not matter
		c.lfs(path[1:])
	case !good:
		fail(w, r, http.StatusUnauthorized, "", "Invalid credentials in Authorization header")
	case s.options.TokensToRead && !known:
		fail(w, r, http.StatusUnauthorized, "", "this server is not public: set HF_TOKEN")
	case path[0] == "api":
		c.api(path[1:])
	case r.Method == http.MethodGet && len(path) == 1 && slices.Contains(datasetRoutes, path[0]):
		c.datasetsServer(path[0])
	default:
		c.files(path)
	}
}

// cutPath splits a path and unescapes its segments; there is at least one.
func cutPath(u *url.URL) ([]string, bool) {
	path := strings.Split(strings.TrimPrefix(u.EscapedPath(), "/"), "/")
	if len(path) > maxSegments {
		return nil, false
	}
	for i, p := range path {
		var err error
		if path[i], err = url.PathUnescape(p); err != nil {
			return nil, false
		}
	}
	return path, true
}

func (c *call) notFound() {
	fail(c.w, c.r, http.StatusNotFound, "", "no such route: %s %s", c.r.Method, c.r.URL.EscapedPath())
}

// api answers below /api.
func (c *call) api(path []string) {
	route := c.r.Method + " " + strings.Join(path, "/")
	switch {
	case route == "GET whoami-v2":
		c.whoami()
	case route == "POST validate-yaml":
		c.validateYAML()
	case route == "POST repos/create":
		c.createRepo()
	case route == "DELETE repos/delete":
		fail(c.w, c.r, http.StatusForbidden, "", "repositories are not deleted over HTTP; remove the folder on the server")
	case route == "GET models", route == "GET datasets":
		c.listRepos(path[0])
	case len(path) >= 3 && slices.Contains(kinds, path[0]):
		if c.findRepo(repoName{path[0], path[1], path[2]}) {
			c.repoAPI(path[3:])
		}
	default:
		c.notFound()
	}
}

// repoAPI answers below /api/KIND/OWNER/NAME.
func (c *call) repoAPI(path []string) {
	get, post := c.r.Method == http.MethodGet || c.r.Method == http.MethodHead, c.r.Method == http.MethodPost
	if len(path) == 0 {
		path = []string{"revision", "main"}
	}
	verb, rest := path[0], path[1:]
	revision, file := cutRevision(rest)
	switch {
	case verb == "refs" && get && len(rest) == 0:
		c.refs()
	case len(rest) == 0:
		c.notFound()
	case verb == "revision" && get && len(file) == 0:
		c.info(revision)
	case verb == "commits" && get && len(file) == 0:
		c.commits(revision)
	case verb == "tree" && get:
		c.tree(revision, strings.Join(file, "/"))
	case verb == "paths-info" && post && len(file) == 0:
		c.pathsInfo(revision)
	case verb == "preupload" && post && len(file) == 0:
		c.preupload(revision)
	case verb == "commit" && post && len(file) == 0:
		c.commit(revision)
	case verb == "tag" && post && len(file) == 0:
		c.createTag(revision)
	case verb == "tag":
		fail(c.w, c.r, http.StatusForbidden, "", "tags are never deleted here: what was published stays")
	case verb == "branch" && (post || c.r.Method == http.MethodDelete):
		c.branch(strings.Join(rest, "/")) // a name, not a revision: none begins with refs/
	case strings.HasPrefix(verb, "xet-"):
		fail(c.w, c.r, http.StatusNotFound, "", "this server takes large files by Git LFS, not by Xet: set HF_HUB_DISABLE_XET=1")
	default:
		c.notFound()
	}
}

// cutRevision takes a revision off the front of a path. Clients write one as a
// single escaped segment, or raw: then it has slashes only below refs/.
func cutRevision(path []string) (revision string, rest []string) {
	if len(path) == 0 {
		return "", nil
	}
	if len(path) >= 3 && path[0] == "refs" {
		return plainRevision(strings.Join(path[:3], "/")), path[3:]
	}
	return plainRevision(path[0]), path[1:]
}

// plainRevision names a branch or tag without what says that it is one.
func plainRevision(revision string) string {
	for _, prefix := range []string{"refs/heads/", "refs/tags/"} {
		if name, ok := strings.CutPrefix(revision, prefix); ok {
			return name
		}
	}
	return revision
}

// files answers what is not below /api: resolve, raw, and Git LFS.
func (c *call) files(path []string) {
	kind := "models"
	if path[0] == "datasets" {
		kind, path = path[0], path[1:]
	}
	if len(path) < 2 {
		c.notFound()
		return
	}
	name, git := strings.CutSuffix(path[1], ".git")
	if !c.findRepo(repoName{kind, path[0], name}) {
		return
	}
	rest := path[2:]
	get := c.r.Method == http.MethodGet || c.r.Method == http.MethodHead
	switch {
	case git && strings.Join(rest, "/") == "info/lfs/objects/batch" && c.r.Method == http.MethodPost:
		c.lfsBatch()
	case git && strings.Join(rest, "/") == "info/lfs/verify" && c.r.Method == http.MethodPost:
		c.lfsVerify()
	case !git && get && len(rest) >= 3 && (rest[0] == "resolve" || rest[0] == "raw"):
		revision, file := cutRevision(rest[1:])
		c.download(rest[0] == "raw", revision, strings.Join(file, "/"))
	default:
		c.notFound()
	}
}

// findRepo opens the repository that a request is about. One that the caller
// may not see is not there.
func (c *call) findRepo(name repoName) bool {
	repo, err := c.repos.find(c.r.Context(), name)
	if err == nil && (!repo.private || c.known) {
		c.repo = repo
		return true
	}
	if err == nil || isMissing(err) {
		status := http.StatusNotFound
		if !c.known {
			status = http.StatusUnauthorized // as the Hub does: it does not tell missing from private
		}
		fail(c.w, c.r, status, codeRepo, "Repository not found: %s%s", name.prefix(), name.id())
		return false
	}
	c.failWith(c.w, c.r, err)
	return false
}

// origin is the address under which the caller knows this server: addresses in
// answers must have the same host, or clients take them for somebody else's.
func (c *call) origin() string {
	scheme := "http"
	if c.r.TLS != nil || c.r.Header.Get("X-Forwarded-Proto") == "https" {
		scheme = "https"
	}
	return scheme + "://" + c.r.Host
}

// serverEpoch dates what has no date of its own.
var serverEpoch = time.Unix(0, 0)

// formatTime writes a time as clients insist on it: UTC, with Z.
func formatTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }
