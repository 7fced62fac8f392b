package client

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"lockstep/hub"
)

// theHub answers in the shapes of huggingface.co where those differ from our own
// server's: small files by a relative redirect, large ones by an absolute one to
// a storage host, uploads to that host, RateLimit on every answer. It is written
// by hand from the protocol's documentation and from what the Python and
// JavaScript clients send and read; it is no recording, and no answer of
// huggingface.co was at hand to compare it with.
type theHub struct {
	t        *testing.T
	api, cdn *httptest.Server
	mu       sync.Mutex
	made     bool                         // org/model is there
	main     string                       // the branch's head
	trees    map[string]map[string]string // commit -> path -> content
	tags     map[string]string            // tag -> commit
	stored   map[string]string            // large objects by SHA-256
	parts    map[string]string            // of objects on their way, by their addresses
	commits  []string                     // bodies of commits
	verified []string                     // objects that verify was asked about
	expired  int                          // signed addresses that are refused at first
	race     bool                         // somebody else's commit comes before the next
	leaked   []string                     // where the token should not have come
}

const smallText = `{"small": true}`

var largeText = strings.Repeat("large ", 1000)

func newHub(t *testing.T) *theHub {
	first := strings.Repeat("ab", 20)
	h := &theHub{
		t: t, made: true, main: first, tags: map[string]string{}, stored: map[string]string{}, parts: map[string]string{},
		trees: map[string]map[string]string{first: {"config.json": smallText, "model.safetensors": largeText}},
	}
	h.cdn = httptest.NewServer(http.HandlerFunc(h.storage))
	h.api = httptest.NewServer(h.routes())
	t.Cleanup(h.cdn.Close)
	t.Cleanup(h.api.Close)
	return h
}

// repo is org/model to a client with this token.
func (h *theHub) repo(token string) *Repo {
	k, err := New(Config{Endpoint: h.api.URL + "/", Token: token, Cache: h.t.TempDir(), Backoff: patient(nil)})
	if err != nil {
		h.t.Fatal(err)
	}
	r, err := k.Repo(Model, "org/model")
	if err != nil {
		h.t.Fatal(err)
	}
	return r
}

func etagOf(s string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(s))) }

func gitOf(s string) string {
	g := hub.NewGitID(int64(len(s)))
	io.WriteString(g, s)
	return fmt.Sprintf("%x", g.Sum(nil))
}

// isLarge is the repository's rule for Git LFS.
func isLarge(path string) bool { return strings.HasSuffix(path, ".safetensors") }

type object = map[string]any

func sendJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v)
}

// fail sends an error with its code, or with none if that is "".
func fail(w http.ResponseWriter, status int, code, message string) {
	if code != "" {
		w.Header().Set("X-Error-Code", code)
		w.Header().Set("X-Error-Message", message)
	}
	sendJSON(w, status, object{"error": message})
}

func (h *theHub) routes() http.Handler {
	mux := http.NewServeMux()
	const api = "/api/models/org/model/"
	for pattern, answer := range map[string]http.HandlerFunc{
		"GET /api/whoami-v2":      h.whoami,
		"POST /api/repos/create":  h.create,
		"GET " + api + "refs":     h.refs,
		"POST " + api + "tag/{r}": h.tag, "GET " + api + "revision/{r}": h.revision, "GET " + api + "commits/{r}": h.history,
		"GET " + api + "tree/{r}": h.tree, "POST " + api + "preupload/{r}": h.preupload, "POST " + api + "commit/{r}": h.commit,
		"POST /org/model.git/info/lfs/objects/batch":              h.batch,
		"POST /org/model.git/info/lfs/objects/verify":             h.verify,
		"GET /org/model/resolve/{r}/{path...}":                    h.resolve,
		"GET /api/resolve-cache/models/org/model/{sha}/{path...}": h.small,
		"GET /api/models/org/old/revision/{r}": func(w http.ResponseWriter, r *http.Request) { // renamed
			http.Redirect(w, r, strings.Replace(r.URL.Path, "/old/", "/model/", 1), http.StatusTemporaryRedirect)
		},
	} {
		mux.HandleFunc(pattern, answer)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.mu.Lock()
		defer h.mu.Unlock()
		w.Header().Set("RateLimit", `"api";r=0;t=300`) // no reason to wait on a good answer
		w.Header().Set("RateLimit-Policy", `"fixed window";"api";q=500;w=300`)
		about := strings.Contains(r.URL.Path, "/org/")
		switch _, pattern := mux.Handler(r); {
		case r.Header.Get("Authorization") != "Bearer hf_secret": // what is missing and what is private look alike
			fail(w, http.StatusUnauthorized, "", "Invalid username or password.")
		case pattern == "" || about && !h.made:
			fail(w, http.StatusNotFound, "RepoNotFound", "Repository not found")
		default:
			mux.ServeHTTP(w, r)
		}
	})
}

// named is the commit that a request's revision names; it answers if there is none.
func (h *theHub) named(w http.ResponseWriter, r *http.Request) (string, bool) {
	revision := r.PathValue("r")
	if revision == "main" {
		return h.main, true
	}
	if commit, ok := h.tags[revision]; ok {
		return commit, true
	}
	_, ok := h.trees[revision]
	if !ok {
		fail(w, http.StatusNotFound, "RevisionNotFound", "Invalid rev id: "+revision)
	}
	return revision, ok
}

func (h *theHub) whoami(w http.ResponseWriter, _ *http.Request) {
	sendJSON(w, http.StatusOK, object{
		"type": "user", "id": "1", "name": "somebody", "fullname": "Some Body", "email": nil, "orgs": []object{{"type": "org", "name": "org"}},
		"auth": object{"type": "access_token", "accessToken": object{"displayName": "x", "role": "write", "createdAt": "2026-01-02T03:04:05.000Z"}},
	})
}

func (h *theHub) create(w http.ResponseWriter, r *http.Request) {
	var q struct{ Name, Organization, Type string }
	if json.NewDecoder(r.Body).Decode(&q); q.Name != "model" || q.Organization != "org" || q.Type != "model" {
		h.t.Errorf("asked to make %+v", q)
	}
	url := "https://huggingface.co/org/model"
	if h.made {
		sendJSON(w, http.StatusConflict, object{"error": "You already created this model repo", "url": url})
		return
	}
	h.made = true
	sendJSON(w, http.StatusOK, object{"url": url, "name": "org/model", "id": "1"})
}

func (h *theHub) refs(w http.ResponseWriter, _ *http.Request) {
	tags := []object{}
	for _, name := range slices.Sorted(maps.Keys(h.tags)) {
		tags = append(tags, object{"name": name, "ref": "refs/tags/" + name, "targetCommit": h.tags[name]})
	}
	sendJSON(w, http.StatusOK, object{
		"branches": []object{{"name": "main", "ref": "refs/heads/main", "targetCommit": h.main}}, "converts": []object{}, "tags": tags,
	})
}

func (h *theHub) tag(w http.ResponseWriter, r *http.Request) {
	var q struct{ Tag string }
	json.NewDecoder(r.Body).Decode(&q)
	commit, ok := h.named(w, r)
	switch _, exists := h.tags[q.Tag]; {
	case !ok:
	case exists:
		fail(w, http.StatusConflict, "", "Tag reference exists already")
	default:
		h.tags[q.Tag] = commit // the body of a success means nothing
	}
}

func (h *theHub) revision(w http.ResponseWriter, r *http.Request) {
	if commit, ok := h.named(w, r); ok {
		sendJSON(w, http.StatusOK, object{"id": "org/model", "sha": commit, "private": false, "gated": false, "unknown": []int{1}})
	}
}

func (h *theHub) history(w http.ResponseWriter, r *http.Request) {
	if commit, ok := h.named(w, r); ok {
		w.Header().Set("X-Total-Count", "1")
		sendJSON(w, http.StatusOK, []object{{"id": commit, "title": "x", "message": "", "authors": []object{{"user": "somebody"}}, "date": "2026-01-02T03:04:05.000Z"}})
	}
}

// tree lists a folder, then one file a page, under the public name of the Hub.
func (h *theHub) tree(w http.ResponseWriter, r *http.Request) {
	commit, ok := h.named(w, r)
	if !ok {
		return
	}
	paths := slices.Sorted(maps.Keys(h.trees[commit]))
	page := 0
	fmt.Sscan(r.URL.Query().Get("cursor"), &page)
	if page+1 < len(paths) {
		w.Header().Set("Link", fmt.Sprintf(`<https://huggingface.co%s?recursive=true&cursor=%d>; rel="next"`, r.URL.EscapedPath(), page+1))
	}
	path := paths[page]
	content := h.trees[commit][path]
	entry := object{"type": "file", "path": path, "oid": gitOf(content), "size": len(content)}
	if isLarge(path) { // the oid is the pointer's then
		entry["oid"], entry["xetHash"] = commit, "00"
		entry["lfs"] = object{"oid": etagOf(content), "size": len(content), "pointerSize": 134}
	}
	sendJSON(w, http.StatusOK, []object{{"type": "directory", "path": "sub", "oid": commit, "size": 0}, entry})
}

func (h *theHub) resolve(w http.ResponseWriter, r *http.Request) {
	commit, ok := h.named(w, r)
	if !ok {
		return
	}
	w.Header().Set("X-Repo-Commit", commit)
	path := r.PathValue("path")
	content, ok := h.trees[commit][path]
	switch {
	case !ok:
		fail(w, http.StatusNotFound, "EntryNotFound", "Entry not found")
	case isLarge(path):
		w.Header().Set("X-Linked-Etag", `"`+etagOf(content)+`"`)
		w.Header().Set("X-Linked-Size", fmt.Sprint(len(content)))
		w.Header().Set("ETag", `"something-else"`)
		w.Header().Set("X-Xet-Hash", "00")
		h.stored[etagOf(content)] = content
		w.Header().Set("Location", h.cdn.URL+"/blob/"+etagOf(content)+"?signature=1")
		w.WriteHeader(http.StatusFound)
	default:
		w.Header().Set("Location", "/api/resolve-cache/models/org/model/"+commit+"/"+path+"?etag=x")
		w.WriteHeader(http.StatusTemporaryRedirect)
		io.WriteString(w, "Temporary Redirect. Redirecting to somewhere")
	}
}

func (h *theHub) small(w http.ResponseWriter, r *http.Request) {
	content := h.trees[r.PathValue("sha")][r.PathValue("path")]
	w.Header().Set("ETag", `W/"`+gitOf(content)+`"`)
	w.Header().Set("X-Repo-Commit", r.PathValue("sha"))
	http.ServeContent(w, r, "", time.Time{}, strings.NewReader(content))
}
