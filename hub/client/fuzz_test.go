package client

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"lockstep/hub"
	"lockstep/internal/httpx"
)

// said answers every request with the same words.
type said struct {
	body, link string
}

func (s said) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		io.Copy(io.Discard, r.Body)
		r.Body.Close()
	}
	w := httptest.NewRecorder()
	if r.URL.Query().Get("cursor") == "" { // pages end
		w.Header().Set("Link", s.link)
	}
	io.WriteString(w, s.body)
	answer := w.Result()
	answer.Request = r
	return answer, nil
}

// FuzzAnswers gives the client anything for an answer: what it accepts must be
// safe to use.
func FuzzAnswers(f *testing.F) {
	id := strings.Repeat("ab", 20)
	for _, body := range []string{
		`[{"id":"` + id + `","title":"t","message":"m"}]`, `{"sha":"` + id + `"}`, `{"tags":[{"name":"1","targetCommit":"` + id + `"}]}`,
		`[{"type":"file","path":"a","oid":"` + id + `","size":1,"lfs":{"oid":"` + etagOf("x") + `","size":9}}]`,
		`{"files":[{"path":"a.bin","uploadMode":"lfs","shouldIgnore":false}]}`, `{"commitOid":"` + id + `"}`,
		`{"objects":[{"oid":"` + etagOf("x") + `","actions":{"upload":{"href":"/x","header":{"chunk_size":"1","1":"/y"}},"verify":{"href":"/z"}}}]}`,
		"<html>", "[]", "null",
	} {
		f.Add(body, `<http://x/api?cursor=1>; rel="next"`)
	}
	f.Fuzz(func(t *testing.T, body, link string) {
		if strings.ContainsAny(link, "\r\n\x00") {
			return
		}
		k, err := New(Config{Endpoint: "http://hub.invalid", Transport: said{body, link}, Backoff: hub.Backoff{Attempts: 1, Sleep: hub.Sleep}})
		if err != nil {
			t.Fatal(err)
		}
		r, err := k.Repo(Model, "a/b")
		if err != nil {
			t.Fatal(err)
		}
		if c, err := r.Resolve(ctx, "main"); err == nil && !isCommit(c.ID) {
			t.Errorf("resolved to %q", c.ID)
		}
		tags, _ := r.Tags(ctx)
		for _, tag := range tags {
			if !isCommit(tag.Commit) {
				t.Errorf("tag %+v", tag)
			}
		}
		files, err := r.List(ctx, "main")
		for _, file := range files {
			if err == nil && (hub.CheckPath(file.Path) != nil || file.Size < 0 || file.SHA256.IsZero() && !isHex(file.GitID, 40)) {
				t.Errorf("file %+v", file)
			}
		}
		if c, err := r.Commit(ctx, hub.CommitRequest{Parent: id, Message: "m", Add: []hub.Content{text("a.bin", "x")}}); err == nil && !isCommit(c.ID) {
			t.Errorf("committed %q", c.ID)
		}
	})
}

// FuzzHeaders reads the headers that decide how long to wait and which file a
// blob is.
func FuzzHeaders(f *testing.F) {
	f.Add(`"api";r=0;t=55`, "7", `W/"abc"`, "abc")
	f.Add("", "Wed, 21 Oct 2026 07:28:00 GMT", `"`+etagOf("x")+`"`, `{"error":["a","b"]}`)
	f.Fuzz(func(t *testing.T, rate, after, etag, body string) {
		if d, _ := httpx.Asked(429, http.Header{"Ratelimit": {rate}, "Retry-After": {after}}, time.Unix(0, 0)); d < 0 {
			t.Errorf("a wait of %v", d)
		}
		if e := cleanETag(etag); isDigest(e) && strings.ContainsAny(e, `/\.`) {
			t.Errorf("the blob %q", e)
		}
		answer := &http.Response{StatusCode: 400, Body: io.NopCloser(strings.NewReader(body)), Request: &http.Request{URL: &url.URL{Path: "/x"}}}
		if m := httpx.Refusal("GET", answer).Message; len(m) > 1000 || strings.ContainsAny(m, "\x1b\n") {
			t.Errorf("the message %q", m)
		}
		if m := printable(body, 100); len(m) > 100 || strings.ContainsAny(m, "\x1b\n") {
			t.Errorf("shown as %q", m)
		}
	})
}
