package remote

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"lockstep/internal/fault"
	"lockstep/internal/httpx"
	"lockstep/stream/remote/fakehub"
)

var ctx = context.Background()

// quick tries as often as the real policy does, without its waits.
var quick = httpx.Policy{First: time.Millisecond, Longest: 2 * time.Millisecond, Patience: 5 * time.Second, Silence: 5 * time.Second}

func clientOf(t testing.TB, h *fakehub.Hub, token string) *httpx.Client {
	t.Helper()
	return clientWith(t, h, token, quick)
}

func clientWith(t testing.TB, h *fakehub.Hub, token string, p httpx.Policy) *httpx.Client {
	t.Helper()
	c, err := httpx.New(httpx.Options{Endpoint: h.Hub.URL, Token: token, Policy: p})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func pin(t testing.TB, h *fakehub.Hub, token string) *Repo {
	t.Helper()
	r, err := Pin(ctx, clientOf(t, h, token), Name{Repo: h.Repo, Revision: "main"})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// file makes bytes that differ from place to place.
func file(n int) []byte {
	data := make([]byte, n)
	x := uint32(1)
	for i := range data {
		x = x*1664525 + 1013904223
		data[i] = byte(x >> 24)
	}
	return data
}

func fileOf(h *fakehub.Hub, path string) File {
	return File{Path: path, Size: int64(len(h.Files[path])), OID: fakehub.Digest(h.Files[path])}
}

func TestParseName(t *testing.T) {
	commit := strings.Repeat("ab", 20)
	for s, want := range map[string]Name{
		"hf://datasets/HuggingFaceFW/fineweb":                             {"HuggingFaceFW/fineweb", "main", ""},
		"hf://datasets/HuggingFaceFW/fineweb/sample-350BT":                {"HuggingFaceFW/fineweb", "main", "sample-350BT"},
		"hf://datasets/HuggingFaceFW/fineweb@" + commit + "/sample/10BT/": {"HuggingFaceFW/fineweb", commit, "sample/10BT"},
		"hf://datasets/a/b@refs%2Fconvert%2Fparquet/x/y.parquet":          {"a/b", "refs/convert/parquet", "x/y.parquet"},
	} {
		got, err := ParseName(s)
		if err != nil || got != want {
			t.Errorf("%s: %+v, %v", s, got, err)
		}
		if again, err := ParseName(got.String()); err != nil || again != got {
			t.Errorf("%s: %s, %v", s, got, err)
		}
	}
	for _, s := range []string{
		"", "hf://", "hf://models/a/b", "hf://datasets/a", "hf://datasets/a/b@", "hf://datasets/a/b@../x", "hf://datasets/a/b/../c",
		"hf://datasets/../b", "hf://datasets/a/b//c", "hf://datasets/a/b/c\x00", "hf://datasets/a--b/c", "hf://datasets/a/b.git",
		"hf://datasets/a b/c", "hf://datasets/a/b/" + strings.Repeat("x", maxPath+1), "rows://a/b/c",
	} {
		if n, err := ParseName(s); fault.KindOf(err) != fault.Config {
			t.Errorf("%q: %+v, %v", s, n, err)
		}
	}
}

func code(err error) string {
	var e *httpx.Error
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

func TestPinRefusals(t *testing.T) {
	h := fakehub.New(t)
	h.Token = "hf_x"
	for name, tt := range map[string]struct {
		token, repo, revision, says string
	}{
		"no token":    {"", h.Repo, "main", "HF_TOKEN"},
		"no repo":     {"hf_x", "org/other", "main", "Repository not found"},
		"no revision": {"hf_x", h.Repo, "v9", "Invalid rev id"},
	} {
		_, err := Pin(ctx, clientOf(t, h, tt.token), Name{Repo: tt.repo, Revision: tt.revision})
		if fault.KindOf(err) != fault.Refused || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	h.Change(func() { h.Commit = "HEAD" })
	if _, err := Pin(ctx, clientOf(t, h, "hf_x"), Name{Repo: h.Repo, Revision: "main"}); fault.KindOf(err) != fault.Damaged {
		t.Errorf("a commit called HEAD: %v", err)
	}
	h.Change(func() { h.Fault = func(*http.Request, int) http.HandlerFunc { return fakehub.Page } })
	if _, err := Pin(ctx, clientOf(t, h, "hf_x"), Name{Repo: h.Repo, Revision: "main"}); err == nil || !strings.Contains(err.Error(), "web page") {
		t.Errorf("a web page: %v", err)
	}
}

// TestRange: one redirect serves many ranges, the content server sees no token,
// and the Hub itself may send the bytes.
func TestRange(t *testing.T) {
	for _, direct := range []bool{false, true} {
		h := fakehub.New(t)
		h.Token, h.Direct = "hf_x", direct
		h.Files["a b/#.parquet"] = file(100_000)
		f := fileOf(h, "a b/#.parquet")
		r := pin(t, h, "hf_x")
		h.Log()
		for _, at := range [][2]int64{{0, 8}, {99_992, 8}, {5, 50_000}, {0, 100_000}, {77, 0}} {
			got, err := r.Range(ctx, f, at[0], at[1])
			if err != nil || !bytes.Equal(got, h.Files[f.Path][at[0]:at[0]+at[1]]) {
				t.Fatalf("direct %v: bytes %v: %v", direct, at, err)
			}
		}
		hub, cdn, sent := 0, 0, int64(0)
		for _, q := range h.Log() {
			if q.Server == "cdn" {
				cdn++
			} else {
				hub++
			}
			sent += q.Bytes
		}
		if !direct && (hub != 1 || cdn != 4) || direct && (hub != 4 || cdn != 0) || sent != 150_016 {
			t.Errorf("direct %v: %d requests at the Hub, %d at the content server, %d bytes", direct, hub, cdn, sent)
		}
	}
	h := fakehub.New(t)
	h.Files["a"] = file(10)
	for _, at := range [][2]int64{{-1, 5}, {0, 11}, {11, 0}, {5, -1}, {1 << 62, 1 << 62}} {
		if _, err := pin(t, h, "").Range(ctx, fileOf(h, "a"), at[0], at[1]); fault.KindOf(err) != fault.Damaged {
			t.Errorf("bytes %v: %v", at, err)
		}
	}
}

// TestRangeUnderFaults: answers that fail or break off, and addresses that
// expire, change nothing but the number of requests.
func TestRangeUnderFaults(t *testing.T) {
	h := fakehub.New(t)
	h.Files["a.parquet"] = file(200_000)
	f := fileOf(h, "a.parquet")
	h.Fault = func(_ *http.Request, n int) http.HandlerFunc {
		switch n % 7 {
		case 2:
			return fakehub.Status(http.StatusInternalServerError)
		case 5:
			return fakehub.Status(http.StatusServiceUnavailable)
		}
		return nil
	}
	h.Cut = func(_ *http.Request, n int) int {
		if n%3 == 0 {
			return 1000 * (n % 13)
		}
		return -1
	}
	r := pin(t, h, "")
	for i := range int64(40) {
		if i%9 == 8 {
			h.Expire()
		}
		at, n := i*4000, 20_000+i*100
		got, err := r.Range(ctx, f, at, n)
		if err != nil || !bytes.Equal(got, h.Files[f.Path][at:at+n]) {
			t.Fatalf("range %d: %v", i, err)
		}
	}
}

func TestResumeAsksForTheRestOnly(t *testing.T) {
	h := fakehub.New(t)
	h.Files["a.parquet"] = file(100_000)
	r := pin(t, h, "")
	cut := true
	h.Cut = func(q *http.Request, _ int) int {
		if cut && q.Header.Get("Range") != "" && q.URL.Query().Has("signature") {
			cut = false
			return 60_000
		}
		return -1
	}
	if _, err := r.Range(ctx, fileOf(h, "a.parquet"), 0, 100_000); err != nil {
		t.Fatal(err)
	}
	log := h.Log()
	if last := log[len(log)-1]; last.Range != "bytes=60000-99999" || last.Bytes != 40_000 {
		t.Errorf("the last request was %+v", last)
	}
}

// TestChanged: bytes of another file are refused, whoever hands them out.
func TestChanged(t *testing.T) {
	for name, change := range map[string]func(h *fakehub.Hub){
		"other bytes, same length":  func(h *fakehub.Hub) { h.Files["a"] = bytes.Repeat([]byte{7}, 1000) },
		"other length":              func(h *fakehub.Hub) { h.Files["a"] = file(1001) },
		"other bytes, new signed":   func(h *fakehub.Hub) { h.Files["a"] = bytes.Repeat([]byte{7}, 1000); h.Direct = true },
		"other commit of the place": func(h *fakehub.Hub) { h.Direct = true; h.Files["a"] = file(999) },
	} {
		h := fakehub.New(t)
		h.Files["a"] = file(1000)
		f, r := fileOf(h, "a"), pin(t, h, "")
		if _, err := r.Range(ctx, f, 0, 10); err != nil {
			t.Fatal(err)
		}
		h.Change(func() { change(h) })
		if strings.Contains(name, "new signed") || strings.Contains(name, "commit") {
			r.forget(f)
		}
		_, err := r.Range(ctx, f, 10, 10)
		var changed *ChangedError
		if !errors.As(err, &changed) || fault.KindOf(err) != fault.Damaged {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestMoved: a renewed address may lead to another store with its own ETags, if
// the Hub vouches for the bytes; one store's ETag may not change.
func TestMoved(t *testing.T) {
	h := fakehub.New(t)
	h.Files["a"] = file(1000)
	f, r := fileOf(h, "a"), pin(t, h, "")
	read := func() error {
		_, err := r.Range(ctx, f, 10, 10)
		return err
	}
	if err := read(); err != nil {
		t.Fatal(err)
	}
	h.Change(func() { h.Tag, h.Content = "-7", strings.Replace(h.CDN.URL, "127.0.0.1", "localhost", 1) })
	h.Expire()
	if err := read(); err != nil {
		t.Errorf("another store: %v", err)
	}
	h.Change(func() { h.Tag = "-8" })
	h.Expire()
	var changed *ChangedError
	if err := read(); !errors.As(err, &changed) {
		t.Errorf("another ETag of one store: %v", err)
	}
}

// TestTrickle: a server that sends a byte an answer is waited for longer and
// longer, and then given up.
func TestTrickle(t *testing.T) {
	h := fakehub.New(t)
	h.Files["a"] = file(2000)
	r := pin(t, h, "")
	r.client = clientWith(t, h, "", httpx.Policy{First: 40 * time.Millisecond, Patience: 300 * time.Millisecond})
	h.Log()
	h.Change(func() { h.Cut = func(*http.Request, int) int { return 1 } })
	_, err := r.Range(ctx, fileOf(h, "a"), 0, 2000)
	if fault.KindOf(err) != fault.Network || !strings.Contains(err.Error(), "of 2000 bytes are there") || !strings.Contains(err.Error(), "tries") {
		t.Errorf("%v", err)
	}
	if n := len(h.Log()); n > 12 {
		t.Errorf("%d requests", n)
	}
}

// TestManyBreaks: a server that always breaks off, but far enough, works.
func TestManyBreaks(t *testing.T) {
	h := fakehub.New(t)
	h.Files["a"] = file(150 * progress)
	h.Cut = func(q *http.Request, _ int) int {
		if q.URL.Query().Has("signature") {
			return progress
		}
		return -1
	}
	r := pin(t, h, "")
	r.client = clientWith(t, h, "", httpx.Policy{First: time.Hour, Longest: time.Hour}) // a wait is a failure
	got, err := r.Range(ctx, fileOf(h, "a"), 0, 150*progress)
	if err != nil || !bytes.Equal(got, h.Files["a"]) {
		t.Errorf("%v", err)
	}
}

// TestPagesForAWhile: web pages from everywhere, and a redirect of everything to
// a page, cost time only once the Hub has answered.
func TestPagesForAWhile(t *testing.T) {
	portal := httptest.NewServer(http.HandlerFunc(fakehub.Page))
	defer portal.Close()
	for name, answer := range map[string]http.HandlerFunc{
		"pages":       fakehub.Page,
		"redirects":   fakehub.Status(http.StatusFound, "Location", portal.URL+"/login"),
		"to nowhere":  fakehub.Status(http.StatusFound),
		"in a circle": fakehub.Status(http.StatusFound, "Location", "/again"),
		"empty":       fakehub.Status(http.StatusOK),
		"empty parts": fakehub.Status(http.StatusPartialContent, "Content-Range", "bytes 10-29/1000"),
	} {
		for _, whole := range []bool{false, true} {
			h := fakehub.New(t)
			h.Files["a"] = file(1000)
			f, r := fileOf(h, "a"), pin(t, h, "")
			first, n := int64(10), int64(20)
			if whole {
				first, n = 0, 1000
			}
			var asked atomic.Int64
			h.Change(func() {
				h.Fault = func(*http.Request, int) http.HandlerFunc {
					if asked.Add(1) > 9 {
						return nil
					}
					return answer
				}
			})
			got, err := r.Range(ctx, f, first, n)
			if err != nil || !bytes.Equal(got, h.Files["a"][first:first+n]) {
				t.Errorf("%s, whole %v: %v", name, whole, err)
			}
		}
	}
}

// TestContentServerAstray: what a content server sends in the place of a file,
// served before or not, leads back to the Hub.
func TestContentServerAstray(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"page":           fakehub.Page,
		"to nowhere":     fakehub.Status(http.StatusFound),
		"to a file":      fakehub.Status(http.StatusFound, "Location", "file:///etc/passwd"),
		"to no host":     fakehub.Status(http.StatusFound, "Location", "https:///login"),
		"an empty range": fakehub.Status(http.StatusPartialContent),
	} {
		for _, served := range []bool{false, true} {
			h := fakehub.New(t)
			h.Files["a"] = file(1000)
			f, r := fileOf(h, "a"), pin(t, h, "")
			if served {
				if _, err := r.Range(ctx, f, 0, 8); err != nil {
					t.Fatal(err)
				}
			}
			var asked atomic.Int64 // of the Hub
			h.Change(func() {
				h.Fault = func(q *http.Request, _ int) http.HandlerFunc {
					if !q.URL.Query().Has("signature") {
						asked.Add(1)
						return nil
					}
					if asked.Load() > 5 {
						return nil
					}
					return answer
				}
			})
			got, err := r.Range(ctx, f, 10, 20)
			if err != nil || !bytes.Equal(got, h.Files["a"][10:30]) {
				t.Errorf("%s, served before %v: %v", name, served, err)
			}
		}
	}
}

// TestBadAnswers feeds answers that are not the range asked for.
func TestBadAnswers(t *testing.T) {
	part := func(header ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			for i := 0; i < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			w.WriteHeader(http.StatusPartialContent)
			_, _ = w.Write(make([]byte, 10))
		}
	}
	for name, tt := range map[string]struct {
		answer http.HandlerFunc
		kind   fault.Kind
		says   string
	}{
		"web page":         {fakehub.Page, fault.Network, "login"},
		"no range":         {part(), fault.Network, "ranges"},
		"other range":      {part("Content-Range", "bytes 5-14/1000"), fault.Network, "bytes 5 to 14"},
		"too much":         {part("Content-Range", "bytes 10-29/1000"), fault.Network, "bytes 10 to 29"},
		"wrong number":     {part("Content-Range", "bytes 10-15/1000"), fault.Network, "10 in number"},
		"other size":       {part("Content-Range", "bytes 10-19/1001"), fault.Damaged, "size is 1001"},
		"packed":           {part("Content-Range", "bytes 10-19/1000", "Content-Encoding", "gzip"), fault.Network, "packed"},
		"huge numbers":     {part("Content-Range", "bytes 9999999999999999999-99999999999999999999/1000"), fault.Network, "ranges"},
		"other digest":     {part("Content-Range", "bytes 10-19/1000", "X-Linked-Etag", `"`+strings.Repeat("0", 64)+`"`), fault.Damaged, "digest"},
		"other commit":     {part("Content-Range", "bytes 10-19/1000", "X-Repo-Commit", strings.Repeat("f", 40)), fault.Damaged, "commit"},
		"redirects":        {fakehub.Status(302, "Location", "/again"), fault.Network, "redirects"},
		"redirect nowhere": {fakehub.Status(302), fault.Network, "nowhere"},
		"redirect to file": {fakehub.Status(302, "Location", "file:///etc/passwd"), fault.Network, "not followed"},
		"403":              {fakehub.Status(403), fault.Refused, "403"},
		"500 for ever":     {fakehub.Status(500), fault.Network, "tries"},
	} {
		h := fakehub.New(t)
		h.Files["a"] = file(1000)
		r := pin(t, h, "")
		r.client = impatient(t, h)
		h.Change(func() { h.Fault = func(*http.Request, int) http.HandlerFunc { return tt.answer } })
		_, err := r.Range(ctx, fileOf(h, "a"), 10, 10)
		if fault.KindOf(err) != tt.kind || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func impatient(t testing.TB, h *fakehub.Hub) *httpx.Client {
	t.Helper()
	p := quick
	p.Patience = 20 * time.Millisecond
	return clientWith(t, h, "", p)
}
