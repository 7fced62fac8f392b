// Package fakehub is a small Hub for tests: one dataset repository, a content
// server on another port behind signed addresses that expire, the rows API, and
// the ways in which real ones fail. It follows the protocol's documents and
// shares no code with the client, so that both are not wrong in the same way.
// Tests only.
package fakehub

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// Hub is a running server. Set its fields before the first request, or through
// Change.
type Hub struct {
	Hub, CDN *httptest.Server

	Repo     string            // OWNER/NAME
	Commit   string            // of branch main
	Files    map[string][]byte // by path
	Configs  any               // the card's "configs"
	Rows     []any             // values of the column "text" of the rows API; nil is null
	Partial  bool              // the rows API holds a part only
	Token    string            // demanded by the Hub where not empty
	PageSize int               // entries of a page of the tree
	Direct   bool              // the Hub sends bytes itself
	Content  string            // base of signed addresses; "" is the CDN's
	Tag      string            // end of the content server's ETags

	// Fault may answer instead of the server; n counts the requests from 1.
	// A nil result leaves the answer to the server.
	Fault func(r *http.Request, n int) http.HandlerFunc
	// Cut says after how many bytes of the body to break off; negative: never.
	Cut func(r *http.Request, n int) int

	mu     sync.Mutex
	epoch  int // of signatures: Expire makes all older ones worthless
	log    []Request
	counts int
	busy   int        // requests in hand
	idle   *sync.Cond // none is
}

// Request is what a server saw and sent.
type Request struct {
	Server        string // "hub" or "cdn"
	Path          string
	Query         string
	Range         string
	Authorization string
	Status        int
	Bytes         int64 // of the body
}

// New starts both servers and stops them with the test.
func New(t testing.TB) *Hub {
	h := &Hub{Repo: "org/fineweb", Commit: strings.Repeat("0123456789", 4), Files: map[string][]byte{}, PageSize: 1000}
	h.idle = sync.NewCond(&h.mu)
	h.Hub = httptest.NewServer(h.serve("hub", h.hub))
	h.CDN = httptest.NewServer(h.serve("cdn", h.cdn))
	t.Cleanup(h.Hub.Close)
	t.Cleanup(h.CDN.Close)
	return h
}

// Change alters the server while it runs.
func (h *Hub) Change(change func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	change()
}

// Expire makes all signed addresses worthless.
func (h *Hub) Expire() { h.Change(func() { h.epoch++ }) }

// Log returns the requests so far, those in hand included, and forgets them.
func (h *Hub) Log() []Request {
	h.mu.Lock()
	defer h.mu.Unlock()
	for h.busy > 0 {
		h.idle.Wait()
	}
	log := h.log
	h.log = nil
	return log
}

// serve wraps a handler with log and faults.
func (h *Hub) serve(name string, handler func(*recorder, *http.Request)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.mu.Lock()
		h.counts++
		h.busy++
		n := h.counts
		fault, cut := h.Fault, h.Cut
		h.mu.Unlock()
		rec := &recorder{ResponseWriter: w, left: -1}
		if cut != nil {
			rec.left = cut(r, n)
		}
		var instead http.HandlerFunc
		if fault != nil {
			instead = fault(r, n)
		}
		defer func() {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.log = append(h.log, Request{
				Server: name, Path: r.URL.Path, Query: r.URL.RawQuery, Range: r.Header.Get("Range"),
				Authorization: r.Header.Get("Authorization"), Status: rec.status, Bytes: rec.sent,
			})
			if h.busy--; h.busy == 0 {
				h.idle.Broadcast()
			}
		}()
		if instead != nil {
			instead(rec, r)
			return
		}
		handler(rec, r)
	})
}

// recorder counts what is sent, and breaks off where it is told to.
type recorder struct {
	http.ResponseWriter
	status int
	sent   int64
	left   int // bytes until the break; negative: none
}

func (w *recorder) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	if w.left < 0 || len(p) <= w.left {
		n, err := w.ResponseWriter.Write(p)
		w.sent += int64(n)
		w.left -= min(n, max(w.left, 0))
		return n, err
	}
	n, _ := w.ResponseWriter.Write(p[:w.left])
	w.sent += int64(n)
	_ = http.NewResponseController(w.ResponseWriter).Flush()
	panic(http.ErrAbortHandler)
}

// hub answers for the Hub.
func (h *Hub) hub(w *recorder, r *http.Request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.Token != "" && r.Header.Get("Authorization") != "Bearer "+h.Token {
		refuse(w, http.StatusUnauthorized, "", "Invalid username or password.")
		return
	}
	if r.URL.Path == "/rows" {
		h.rows(w, r)
		return
	}
	api, resolve := "/api/datasets/"+h.Repo, "/datasets/"+h.Repo+"/resolve/"
	switch path := r.URL.Path; {
	case strings.HasPrefix(path, api+"/revision/"):
		if !h.known(strings.TrimPrefix(path, api+"/revision/")) {
			refuse(w, http.StatusNotFound, "RevisionNotFound", "Invalid rev id")
			return
		}
		reply(w, map[string]any{"id": h.Repo, "sha": h.Commit, "cardData": map[string]any{"configs": h.Configs}})
	case strings.HasPrefix(path, api+"/tree/"):
		h.tree(w, r, strings.TrimPrefix(path, api+"/tree/"))
	case strings.HasPrefix(path, resolve):
		revision, file, _ := strings.Cut(strings.TrimPrefix(path, resolve), "/")
		h.resolve(w, r, revision, file)
	default:
		refuse(w, http.StatusNotFound, "RepoNotFound", "Repository not found")
	}
}

func (h *Hub) known(revision string) bool { return revision == "main" || revision == h.Commit }

func (h *Hub) tree(w *recorder, r *http.Request, rest string) {
	revision, folder, _ := strings.Cut(rest, "/")
	if !h.known(revision) {
		refuse(w, http.StatusNotFound, "RevisionNotFound", "Invalid rev id")
		return
	}
	var all []any
	for _, path := range h.paths() {
		if folder == "" || strings.HasPrefix(path, folder+"/") {
			oid := Digest(h.Files[path])
			all = append(all, map[string]any{
				"type": "file", "path": path, "size": len(h.Files[path]), "oid": oid[:40],
				"lfs": map[string]any{"oid": oid, "size": len(h.Files[path]), "pointerSize": 134},
			})
		}
	}
	if len(all) == 0 {
		refuse(w, http.StatusNotFound, "EntryNotFound", folder+" does not exist on \""+revision+"\"")
		return
	}
	from, _ := strconv.Atoi(r.URL.Query().Get("cursor"))
	to := min(from+h.PageSize, len(all))
	if to < len(all) {
		next := *r.URL
		q := next.Query()
		q.Set("cursor", strconv.Itoa(to))
		next.RawQuery = q.Encode()
		w.Header().Set("Link", "<"+h.Hub.URL+next.RequestURI()+`>; rel="next"`)
	}
	reply(w, all[from:to])
}

// paths lists the files with folders last, so that a client has to sort.
func (h *Hub) paths() []string {
	var paths []string
	for path := range h.Files {
		paths = append(paths, path)
	}
	slices.Sort(paths)
	slices.Reverse(paths)
	return paths
}

func (h *Hub) resolve(w *recorder, r *http.Request, revision, file string) {
	data, ok := h.Files[file]
	if !ok || !h.known(revision) {
		refuse(w, http.StatusNotFound, "EntryNotFound", "Entry not found")
		return
	}
	w.Header().Set("X-Repo-Commit", h.Commit)
	if h.Direct {
		content(w, r, data, `"`+Digest(data)+`"`)
		return
	}
	w.Header().Set("X-Linked-Etag", `"`+Digest(data)+`"`)
	w.Header().Set("X-Linked-Size", strconv.Itoa(len(data)))
	signed := url.URL{Path: "/" + file, RawQuery: fmt.Sprint("signature=", h.epoch)}
	base := h.Content
	if base == "" {
		base = h.CDN.URL
	}
	w.Header().Set("Location", base+signed.String())
	w.WriteHeader(http.StatusFound)
}

// cdn answers for the content server. Its ETag is its own.
func (h *Hub) cdn(w *recorder, r *http.Request) {
	h.mu.Lock()
	data, ok := h.Files[strings.TrimPrefix(r.URL.Path, "/")]
	good, tag := r.URL.Query().Get("signature") == strconv.Itoa(h.epoch), h.Tag
	h.mu.Unlock()
	switch {
	case r.Header.Get("Authorization") != "":
		http.Error(w, "two ways to authenticate", http.StatusBadRequest)
	case !good:
		http.Error(w, "<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>", http.StatusForbidden)
	case !ok:
		http.Error(w, "<Error><Code>NoSuchKey</Code></Error>", http.StatusNotFound)
	default:
		content(w, r, data, `"`+Digest(data)[:32]+tag+`"`)
	}
}

// content sends bytes with ranges, as RFC 9110 has them.
func content(w *recorder, r *http.Request, data []byte, etag string) {
	w.Header().Set("ETag", etag)
	w.Header().Set("Accept-Ranges", "bytes")
	if match := r.Header.Get("If-Match"); match != "" && match != etag {
		w.WriteHeader(http.StatusPreconditionFailed)
		return
	}
	var from, to int
	if n, _ := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-%d", &from, &to); n != 2 || from > to || from >= len(data) {
		w.Header().Set("Content-Length", strconv.Itoa(len(data)))
		_, _ = w.Write(data)
		return
	}
	to = min(to, len(data)-1)
	w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, to, len(data)))
	w.Header().Set("Content-Length", strconv.Itoa(to-from+1))
	w.WriteHeader(http.StatusPartialContent)
	_, _ = w.Write(data[from : to+1])
}

// rows answers for the rows API of one configuration, "default".
func (h *Hub) rows(w *recorder, r *http.Request) {
	q := r.URL.Query()
	offset, err1 := strconv.Atoi(q.Get("offset"))
	length, err2 := strconv.Atoi(q.Get("length"))
	switch {
	case err1 != nil || err2 != nil || length > 100 || offset < 0:
		refuse(w, http.StatusUnprocessableEntity, "InvalidParameter", "Parameter 'length' must not be greater than 100")
		return
	case q.Get("dataset") != h.Repo || q.Get("config") != "default" || q.Get("split") != "train":
		refuse(w, http.StatusNotFound, "ResponseNotFound", "Not found.")
		return
	}
	rows := []any{}
	for i := offset; i < min(offset+length, len(h.Rows)); i++ {
		rows = append(rows, map[string]any{
			"row_idx": i, "row": map[string]any{"id": fmt.Sprint("<urn:uuid:", i, ">"), "text": h.Rows[i]}, "truncated_cells": []string{},
		})
	}
	w.Header().Set("X-Revision", h.Commit)
	reply(w, map[string]any{
		"features": []any{map[string]any{"feature_idx": 0, "name": "text", "type": map[string]any{"dtype": "string", "_type": "Value"}}},
		"rows":     rows, "num_rows_total": len(h.Rows), "num_rows_per_page": 100, "partial": h.Partial,
	})
}

func refuse(w *recorder, status int, code, message string) {
	if code != "" {
		w.Header().Set("X-Error-Code", code)
		w.Header().Set("X-Error-Message", message)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"error": message})
}

func reply(w *recorder, v any) {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(data)))
	_, _ = w.Write(data)
}

// Digest is the SHA-256 of a file in hex, which the listing promises.
func Digest(data []byte) string { return fmt.Sprintf("%x", sha256.Sum256(data)) }

// Status is a fault: an answer with a status and headers.
func Status(status int, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
	}
}

// Page is a fault: a web page, as networks with a login send it for everything.
func Page(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html")
	_, _ = io.WriteString(w, "<!doctype html><title>Please log in</title>")
}
