package client

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"lockstep/hub"
	"lockstep/hub/server"
	"lockstep/internal/fault"
)

// theHub answers in the shapes of huggingface.co where those differ from our own
// server's: small files by a relative redirect, large ones by an absolute
// one to a storage host, uploads to that host, RateLimit on every answer.
type theHub struct {
	t        *testing.T
	api, cdn *httptest.Server
	commit   string
	large    string
	parts    map[string]string
	commits  []string
	expired  int // signed addresses that are refused at first
	leaked   []string
	mu       sync.Mutex
}

func newHub(t *testing.T) *theHub {
	h := &theHub{t: t, commit: strings.Repeat("ab", 20), large: strings.Repeat("large ", 1000), parts: map[string]string{}}
	h.cdn = httptest.NewServer(http.HandlerFunc(h.storage))
	h.api = httptest.NewServer(http.HandlerFunc(h.answer))
	t.Cleanup(h.cdn.Close)
	t.Cleanup(h.api.Close)
	return h
}

func (h *theHub) repo() *Repo {
	k, err := New(Config{Endpoint: h.api.URL + "/", Token: "hf_secret", Cache: h.t.TempDir(), Backoff: patient(nil)})
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

const smallText = `{"small": true}`

func (h *theHub) answer(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	w.Header().Set("RateLimit", `"api";r=0;t=300`) // no reason to wait on a good answer
	w.Header().Set("RateLimit-Policy", `"fixed window";"api";q=500;w=300`)
	if r.Header.Get("Authorization") != "Bearer hf_secret" {
		w.WriteHeader(401)
		return
	}
	send := func(v any) { json.NewEncoder(w).Encode(v) }
	switch path := r.URL.EscapedPath(); {
	case strings.HasPrefix(path, "/org/model/resolve/"):
		h.resolve(w, r)
	case path == "/api/resolve-cache/models/org/model/"+h.commit+"/config.json":
		w.Header().Set("ETag", `W/"`+gitOf(smallText)+`"`)
		w.Header().Set("X-Repo-Commit", h.commit)
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(smallText))
	case path == "/api/models/org/old/revision/main": // renamed: 307 keeps method and body
		http.Redirect(w, r, "/api/models/org/model/revision/main", http.StatusTemporaryRedirect)
	case strings.HasPrefix(path, "/api/models/org/model/revision/"):
		send(map[string]any{"id": "org/model", "sha": h.commit, "unknown": []int{1}})
	case strings.HasPrefix(path, "/api/models/org/model/commits/"):
		send([]map[string]any{{"id": h.commit, "title": "x", "message": "", "authors": []any{}, "date": "2026-01-02T03:04:05.000Z"}})
	case path == "/api/models/org/model/tree/main" && r.URL.Query().Get("cursor") == "":
		w.Header().Set("Link", `<https://huggingface.co/api/models/org/model/tree/main?recursive=true&cursor=2>; rel="next"`)
		send([]map[string]any{{"type": "directory", "path": "sub", "oid": h.commit, "size": 0}, {"type": "file", "path": "config.json", "oid": gitOf(smallText), "size": len(smallText)}})
	case path == "/api/models/org/model/tree/main":
		send([]map[string]any{{"type": "file", "path": "model.safetensors", "oid": h.commit, "size": len(h.large), "xetHash": "00", "lfs": map[string]any{"oid": etagOf(h.large), "size": len(h.large), "pointerSize": 134}}})
	case strings.HasPrefix(path, "/api/models/org/model/preupload/"):
		send(map[string]any{"files": []map[string]any{{"path": "model.safetensors", "uploadMode": "lfs", "shouldIgnore": false}}})
	case path == "/org/model.git/info/lfs/objects/batch":
		h.batch(w, r)
	case path == "/complete":
		h.t.Error("the completion went to the wrong host")
	case strings.HasPrefix(path, "/api/models/org/model/commit/"):
		body, _ := io.ReadAll(r.Body)
		h.commits = append(h.commits, string(body))
		if int64(len(body)) != r.ContentLength {
			h.t.Errorf("%d bytes of commit, %d announced", len(body), r.ContentLength)
		}
		send(map[string]any{"success": true, "commitOid": strings.Repeat("cd", 20), "commitUrl": "https://huggingface.co/org/model/commit/x"})
	default:
		w.Header().Set("X-Error-Code", "RepoNotFound")
		w.WriteHeader(404)
	}
}

func (h *theHub) resolve(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Repo-Commit", h.commit)
	switch {
	case strings.HasSuffix(r.URL.Path, "/config.json"):
		w.Header().Set("Location", "/api/resolve-cache/models/org/model/"+h.commit+"/config.json?etag=x")
		w.WriteHeader(http.StatusTemporaryRedirect)
		io.WriteString(w, "Temporary Redirect. Redirecting to somewhere")
	case strings.HasSuffix(r.URL.Path, "/model.safetensors"):
		w.Header().Set("X-Linked-Etag", `"`+etagOf(h.large)+`"`)
		w.Header().Set("X-Linked-Size", fmt.Sprint(len(h.large)))
		w.Header().Set("ETag", `"something-else"`)
		w.Header().Set("X-Xet-Hash", "00")
		w.Header().Set("Location", h.cdn.URL+"/blob?signature=1")
		w.WriteHeader(http.StatusFound)
	default:
		w.Header().Set("X-Error-Code", "EntryNotFound")
		w.WriteHeader(404)
	}
}

func (h *theHub) batch(w http.ResponseWriter, r *http.Request) {
	var q struct{ Objects []struct{ Size int64 } }
	json.NewDecoder(r.Body).Decode(&q)
	if q.Objects[0].Size < 100 {
		io.WriteString(w, fmt.Sprintf(`{"objects":[{"oid":%q,"size":5,"authenticated":true,"actions":{"upload":{"href":%q,"expires_in":900}}}]}`, etagOf("small"), h.cdn.URL+"/put?signature=1"))
		return
	}
	io.WriteString(w, fmt.Sprintf(`{"transfer":"multipart","objects":[{"oid":%q,"size":6000,"actions":{"upload":{"href":%q,"header":{"chunk_size":"4000","00001":%q,"2":%q,"other":"x"}}}}]}`,
		etagOf(h.large), h.cdn.URL+"/complete", h.cdn.URL+"/part/1", h.cdn.URL+"/part/2"))
}

func (h *theHub) storage(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if a := r.Header.Get("Authorization"); a != "" {
		h.leaked = append(h.leaked, r.URL.Path)
	}
	body, _ := io.ReadAll(r.Body)
	switch {
	case h.expired > 0:
		h.expired--
		w.WriteHeader(http.StatusForbidden)
		io.WriteString(w, "<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>")
	case r.Method == http.MethodPut:
		h.parts[r.URL.Path] = string(body)
		w.Header().Set("ETag", `"etag of `+r.URL.Path+`"`)
	case r.URL.Path == "/complete":
		h.parts[r.URL.Path] = string(body)
		io.WriteString(w, "{}")
	default:
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(h.large))
	}
}

func TestDownloadInTheHubsShapes(t *testing.T) {
	h := newHub(t)
	r := h.repo()
	if got, err := read(r, "main", "config.json"); err != nil || got != smallText {
		t.Errorf("%q, %v", got, err)
	}
	h.expired = 2 // the address in the redirect is too old; asking again gives a new one
	if got, err := read(r, "main", "model.safetensors"); err != nil || got != h.large {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	var missing *hub.NotFoundError
	if _, err := read(r, "main", "nowhere"); !errors.As(err, &missing) || missing.What != "file" {
		t.Errorf("%v", err)
	}
	files, err := r.List(ctx, "main")
	if err != nil || len(files) != 2 || files[0].GitID != gitOf(smallText) || files[1].SHA256.String() != etagOf(h.large) {
		t.Errorf("%+v, %v", files, err)
	}
	old, err := r.client.Repo(Model, "org/old")
	if err != nil {
		t.Fatal(err)
	}
	if id, err := old.head(ctx, "main"); err != nil || id != h.commit {
		t.Errorf("a renamed repository: %q, %v", id, err)
	}
	if len(h.leaked) > 0 {
		t.Errorf("the token went to %v", h.leaked)
	}
}

func TestUploadInTheHubsShapes(t *testing.T) {
	h := newHub(t)
	for _, content := range []string{"small", h.large} {
		h.expired = 1
		c, err := h.repo().Commit(ctx, hub.CommitRequest{Parent: h.commit, Message: "epoch 3\n\nwords", Add: []hub.Content{text("model.safetensors", content)}})
		if err != nil || c.ID != strings.Repeat("cd", 20) {
			t.Fatalf("%+v, %v", c, err)
		}
	}
	if h.parts["/put"] != "small" || h.parts["/part/1"]+h.parts["/part/2"] != h.large || len(h.parts["/part/1"]) != 4000 {
		t.Errorf("the storage host has %d + %d bytes", len(h.parts["/part/1"]), len(h.parts["/part/2"]))
	}
	if want := `{"oid":"` + etagOf(h.large) + `","parts":[{"partNumber":1,"etag":"\"etag of /part/1\""},{"partNumber":2,"etag":"\"etag of /part/2\""}]}`; h.parts["/complete"] != want {
		t.Errorf("completed with %s", h.parts["/complete"])
	}
	want := `{"key":"header","value":{"description":"words","parentCommit":"` + h.commit + `","summary":"epoch 3"}}` + "\n" +
		`{"key":"lfsFile","value":{"algo":"sha256","oid":"` + etagOf(h.large) + `","path":"model.safetensors","size":6000}}` + "\n"
	if len(h.commits) != 2 || h.commits[1] != want {
		t.Errorf("committed %q", h.commits)
	}
	if len(h.leaked) > 0 {
		t.Errorf("the token went to %v", h.leaked)
	}
}

// TestHostileAnswers checks that nothing is believed that cannot be verified.
func TestHostileAnswers(t *testing.T) {
	file := func(fields string) string { return `[{"type":"file","oid":"` + gitOf("x") + `",` + fields + `}]` }
	for name, c := range map[string]struct {
		body string
		kind fault.Kind
	}{
		"a path out of the folder": {file(`"path":"../../.ssh/config","size":1`), fault.Damaged},
		"an absolute path":         {file(`"path":"/etc/passwd","size":1`), fault.Damaged},
		"a negative size":          {file(`"path":"a","size":-1`), fault.Damaged},
		"no digest":                {`[{"type":"file","path":"a","size":1,"oid":"xyz"}]`, fault.Damaged},
		"no digest of a large one": {file(`"path":"a","size":1,"lfs":{"oid":"../../x","size":1}`), fault.Damaged},
		"no JSON":                  {"<!DOCTYPE html>", fault.Network},
		"half of it":               {`[{"type":"file"`, fault.Network},
		"another type":             {`{"type":"file"}`, fault.Network},
	} {
		w := newWorld(t, server.Options{})
		w.line.fault = func(r *http.Request, _ int) *mishap {
			if has("GET", "/tree/")(r) {
				return &mishap{status: 200, body: c.body}
			}
			return nil
		}
		if files, err := w.List(ctx, ""); err == nil || fault.KindOf(err) != c.kind {
			t.Errorf("%s: %v, %v (%v)", name, files, err, fault.KindOf(err))
		}
	}
}

// TestWrongBytes serves a file other than announced: it is refused, and nothing
// stays behind.
func TestWrongBytes(t *testing.T) {
	for name, body := range map[string]string{"other bytes": "weights ONE", "more bytes": "weights one and more"} {
		w := newWorld(t, server.Options{})
		if _, err := push(w, 1, epochOne); err != nil {
			t.Fatal(err)
		}
		w.line.fault = func(r *http.Request, _ int) *mishap {
			if has("GET", "/resolve/")(r) {
				return &mishap{status: 200, body: body}
			}
			return nil
		}
		if got, err := read(w, "1", "model.safetensors"); fault.KindOf(err) != fault.Damaged {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		w.line.fault = nil
		if got, err := read(w, "1", "model.safetensors"); err != nil || got != "weights one" {
			t.Errorf("%s, afterwards: %q, %v", name, got, err)
		}
	}
}

// TestPauses checks how long a client waits between its tries.
func TestPauses(t *testing.T) {
	w := newWorld(t, server.Options{})
	w.line.fault = func(_ *http.Request, n int) *mishap {
		if n == 2 {
			return &mishap{status: 429, header: "Retry-After: 20"}
		}
		return &mishap{status: 500}
	}
	if _, err := w.Tags(ctx); fault.KindOf(err) != fault.Network {
		t.Fatal(err)
	}
	want := []time.Duration{1, 2, 21, 8, 8}
	for i, d := range w.waits {
		if low := want[i] * time.Second; d < low || d > low+low/4 {
			t.Errorf("pause %d is %v, want %v and up to a quarter more", i, d, low)
		}
	}
	if len(w.waits) != len(want) || len(w.line.sent) != 6 {
		t.Errorf("%d pauses, %d requests", len(w.waits), len(w.line.sent))
	}
}
