package server

import (
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var ctx = context.Background()

// site is a running server and a client that may write.
type site struct {
	t    testing.TB
	s    *Server
	http *httptest.Server
}

func newSite(t testing.TB, options Options) *site {
	t.Helper()
	s, err := New(t.TempDir(), options)
	if err != nil {
		t.Fatal(err)
	}
	h := httptest.NewServer(s)
	t.Cleanup(h.Close)
	return &site{t, s, h}
}

// reply is an answer read whole.
type reply struct {
	*http.Response
	body []byte
}

func (r reply) text() string { return string(r.body) }

// field reads one field of a JSON answer; dots lead into objects.
func (r reply) field(path string) any {
	var v any
	if json.Unmarshal(r.body, &v) != nil {
		return nil
	}
	for key := range strings.SplitSeq(path, ".") {
		m, _ := v.(map[string]any)
		v = m[key]
	}
	return v
}

// do sends a request; headers are "Name: value". A path that is an address is
// used as it is, without a token.
func (s *site) do(method, path, body string, headers ...string) reply {
	s.t.Helper()
	address := path
	if !strings.HasPrefix(path, "http") {
		address = s.http.URL + path
	}
	q, err := http.NewRequest(method, address, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	if address != path {
		q.Header.Set("Authorization", "Bearer "+s.s.WriteToken())
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		q.Header.Set(name, value)
		if name == "Authorization" && value == "" {
			q.Header.Del(name)
		}
	}
	r, err := http.DefaultTransport.RoundTrip(q)
	if err != nil {
		s.t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return reply{r, b}
}

// must is do with the status that is expected.
func (s *site) must(status int, method, path, body string, headers ...string) reply {
	s.t.Helper()
	r := s.do(method, path, body, headers...)
	if r.StatusCode != status {
		s.t.Fatalf("%s %s: %s, want %d: %s", method, path, r.Status, status, r.body)
	}
	return r
}

func (s *site) create(id string) {
	s.t.Helper()
	owner, name, _ := strings.Cut(id, "/")
	s.must(200, "POST", "/api/repos/create", fmt.Sprintf(`{"name":%q,"organization":%q}`, name, owner))
}

func header(summary, parent string) string {
	return fmt.Sprintf(`{"key":"header","value":{"summary":%q,"parentCommit":%q}}`, summary, parent) + "\n"
}

func inline(path, content string) string {
	return fmt.Sprintf(`{"key":"file","value":{"content":%q,"path":%q,"encoding":"base64"}}`, base64.StdEncoding.EncodeToString([]byte(content)), path) + "\n"
}

// commit commits files given as path, content, path, content...
func (s *site) commit(id, summary string, files ...string) string {
	s.t.Helper()
	lines := header(summary, "")
	for i := 0; i < len(files); i += 2 {
		lines += inline(files[i], files[i+1])
	}
	r := s.must(200, "POST", "/api/models/"+id+"/commit/main", lines)
	return r.field("commitOid").(string)
}

// newModel is a site with the model a/m, which has one commit after the first.
func newModel(t testing.TB, options Options) (*site, string) {
	s := newSite(t, options)
	s.create("a/m")
	return s, s.commit("a/m", "one", "config.json", "{}", "model.safetensors", "weights", "sub/notes.txt", "notes")
}

func TestCreateTwiceTellsTheAddress(t *testing.T) {
	s := newSite(t, Options{})
	s.create("a/m")
	r := s.must(409, "POST", "/api/repos/create", `{"name":"m","organization":"a"}`)
	if r.field("url") != s.http.URL+"/a/m" || r.field("error") == nil {
		t.Errorf("the 409 says %s", r.body)
	}
	r = s.must(200, "GET", "/api/models/a/m", "")
	if sha, _ := r.field("sha").(string); len(sha) != 40 {
		t.Errorf("a fresh repository has the commit %v", r.field("sha"))
	}
	for _, date := range []string{"lastModified", "createdAt"} {
		if d, _ := r.field(date).(string); !strings.HasSuffix(d, "Z") {
			t.Errorf("%s is %q, and clients insist on a Z", date, d)
		}
	}
	for _, bad := range []string{`{"name":"m","organization":".."}`, `{"name":"../m","organization":"a"}`, `{"name":"m.git","organization":"a"}`, `{"name":"a--b","organization":"a"}`, `{"name":"","organization":"a"}`, `{"name":"m","type":"space","organization":"a"}`} {
		s.must(400, "POST", "/api/repos/create", bad)
	}
}

func TestAddressesFollowTheRequest(t *testing.T) {
	s := newSite(t, Options{})
	for i, host := range []string{"Host: hub.example:81", "Host: localhost:1"} {
		q, _ := http.NewRequest("POST", "/api/repos/create", strings.NewReader(fmt.Sprintf(`{"name":"m%d","organization":"a"}`, i)))
		q.Host = strings.TrimPrefix(host, "Host: ")
		q.Header.Set("Authorization", "Bearer "+s.s.WriteToken())
		w := httptest.NewRecorder()
		s.s.ServeHTTP(w, q)
		if !strings.Contains(w.Body.String(), `"url":"http://`+q.Host+`/a/m`) {
			t.Errorf("asked as %s, the server answers %s", q.Host, w.Body)
		}
	}
}

func TestTokens(t *testing.T) {
	s := newSite(t, Options{})
	s.create("a/m")
	s.must(200, "POST", "/api/repos/create", `{"name":"secret","organization":"a","visibility":"private"}`)
	for _, c := range []struct {
		method, path, body, auth string
		status                   int
	}{
		{"GET", "/api/models/a/m", "", "", 200},
		{"GET", "/api/models/a/m", "", "Bearer hf_wrong_token", 401},
		{"GET", "/api/models/a/m", "", "Basic abc", 401},
		{"GET", "/api/whoami-v2", "", "", 401},
		{"GET", "/api/models/a/secret", "", "", 401},
		{"GET", "/a/secret/resolve/main/.gitattributes", "", "", 401},
		{"POST", "/api/repos/create", `{"name":"x","organization":"a"}`, "", 401},
		{"POST", "/api/models/a/m/commit/main", header("x", ""), "", 401},
		{"POST", "/api/models/a/m/tag/main", `{"tag":"1"}`, "", 401},
		{"POST", "/api/models/a/m/branch/dev", `{}`, "", 401},
		{"POST", "/api/models/a/m/preupload/main", `{"files":[]}`, "", 401},
		{"POST", "/a/m.git/info/lfs/objects/batch", `{"operation":"upload"}`, "", 401},
	} {
		r := s.must(c.status, c.method, c.path, c.body, "Authorization: "+c.auth)
		if strings.Contains(c.path, "secret") && r.Header.Get("X-Error-Code") != "RepoNotFound" {
			t.Errorf("%s: a client needs the code RepoNotFound, it has %q", c.path, r.Header.Get("X-Error-Code"))
		}
	}
	list := s.must(200, "GET", "/api/models", "", "Authorization: ")
	if strings.Contains(list.text(), "secret") {
		t.Errorf("a private repository is listed: %s", list.body)
	}
	if r := s.must(200, "GET", "/api/whoami-v2", ""); r.field("auth.accessToken.role") != "write" || !strings.HasPrefix(s.s.WriteToken(), "hf_") {
		t.Errorf("whoami says %s", r.body)
	}
	closed := newSite(t, Options{TokensToRead: true})
	closed.create("a/m")
	closed.must(401, "GET", "/api/models/a/m", "", "Authorization: ")
}

func TestReadersMayNotWrite(t *testing.T) {
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "tokens"), []byte("# people\n\neve read hf_0123456789\nann write hf_abcdefghij\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	server, err := New(root, Options{})
	if err != nil {
		t.Fatal(err)
	}
	h := httptest.NewServer(server)
	defer h.Close()
	s := &site{t, server, h}
	s.create("ann/m")
	s.must(403, "POST", "/api/models/ann/m/commit/main", header("x", ""), "Authorization: Bearer hf_0123456789")
	if r := s.must(200, "GET", "/api/whoami-v2", "", "Authorization: Bearer hf_0123456789"); r.field("name") != "eve" {
		t.Errorf("whoami says %s", r.body)
	}
	for _, bad := range []string{"ann admin hf_0123456789", "ann write secret", "ann write hf_1", "ann write hf_0123456789\nbob write hf_0123456789", "a/b write hf_0123456789"} {
		if _, err := parseTokens(bad); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

func TestRevisions(t *testing.T) {
	s, commit := newModel(t, Options{})
	s.must(200, "POST", "/api/models/a/m/tag/main", `{"tag":"1234567"}`)
	s.must(200, "POST", "/api/models/a/m/branch/dev", `{}`)
	for _, revision := range []string{"main", "HEAD", "1234567", "dev", commit, commit[:7], "refs%2Fheads%2Fdev", "refs/heads/main", "refs%2Ftags%2F1234567"} {
		if r := s.must(200, "GET", "/api/models/a/m/revision/"+revision, ""); r.field("sha") != commit {
			t.Errorf("%s is %v", revision, r.field("sha"))
		}
		s.must(200, "GET", "/api/models/a/m/tree/"+revision+"/sub", "")
		s.must(200, "GET", "/a/m/resolve/"+revision+"/sub/notes.txt", "")
	}
	for _, path := range []string{"/api/models/a/m/revision/nowhere", "/api/models/a/m/tree/refs%2Fpr%2F1", "/a/m/resolve/nowhere/config.json"} {
		if r := s.must(404, "GET", path, ""); r.Header.Get("X-Error-Code") != "RevisionNotFound" {
			t.Errorf("%s: code %q", path, r.Header.Get("X-Error-Code"))
		}
	}
	r := s.must(200, "GET", "/api/models/a/m/refs", "")
	for _, key := range []string{"branches", "converts", "tags"} {
		if _, ok := r.field(key).([]any); !ok {
			t.Errorf("refs have no list %s: %s", key, r.body)
		}
	}
	if r := s.must(409, "POST", "/api/models/a/m/tag/main", `{"tag":"1234567"}`); !strings.Contains(r.text(), "Tag reference exists already") {
		t.Errorf("clients look for other words than %s", r.body)
	}
	s.must(403, "DELETE", "/api/models/a/m/tag/1234567", "")
	s.must(409, "POST", "/api/models/a/m/branch/dev", `{}`)
	s.must(403, "DELETE", "/api/models/a/m/branch/main", "")
	s.must(403, "DELETE", "/api/repos/delete", `{"name":"m","organization":"a"}`)
}

func TestFilesAndAbsence(t *testing.T) {
	s, commit := newModel(t, Options{})
	get := s.must(200, "GET", "/a/m/resolve/main/model.safetensors", "")
	head := s.must(200, "HEAD", "/a/m/resolve/main/model.safetensors", "")
	for _, name := range []string{"ETag", "X-Repo-Commit", "Content-Length", "Accept-Ranges", "X-Linked-Size", "X-Linked-Etag", "Content-Type"} {
		if get.Header.Get(name) == "" || get.Header.Get(name) != head.Header.Get(name) {
			t.Errorf("%s: GET says %q, HEAD %q", name, get.Header.Get(name), head.Header.Get(name))
		}
	}
	if want := fmt.Sprintf(`"%x"`, sha256.Sum256([]byte("weights"))); get.Header.Get("ETag") != want || get.Header.Get("X-Repo-Commit") != commit {
		t.Errorf("a large file has the ETag %s at %s", get.Header.Get("ETag"), get.Header.Get("X-Repo-Commit"))
	}
	// printf '{}' | git hash-object --stdin
	if r := s.must(200, "GET", "/a/m/resolve/main/config.json", ""); r.Header.Get("ETag") != `"9e26dfeeb6e641a33dae4961196235bdb965b21b"` || r.text() != "{}" {
		t.Errorf("a small file has the ETag %s and is %q", r.Header.Get("ETag"), r.body)
	}
	for name := range get.Header {
		if strings.HasPrefix(name, "X-Xet") {
			t.Errorf("the header %s promises Xet", name)
		}
	}
	for _, method := range []string{"GET", "HEAD"} {
		r := s.must(404, method, "/a/m/resolve/main/nowhere", "")
		if r.Header.Get("X-Error-Code") != "EntryNotFound" || r.Header.Get("X-Repo-Commit") != commit {
			t.Errorf("%s of nothing: %v", method, r.Header)
		}
	}
	if r := s.must(206, "GET", "/a/m/resolve/main/model.safetensors", "", "Range: bytes=2-3"); r.text() != "ig" || r.Header.Get("Content-Range") != "bytes 2-3/7" {
		t.Errorf("a range is %q, %s", r.body, r.Header.Get("Content-Range"))
	}
	s.must(416, "GET", "/a/m/resolve/main/model.safetensors", "", "Range: bytes=7-")
	s.must(412, "GET", "/a/m/resolve/main/model.safetensors", "", `If-Match: "other"`)
	if r := s.must(200, "GET", "/a/m/raw/main/model.safetensors", ""); !strings.HasPrefix(r.text(), "version https://git-lfs.github.com/spec/v1\noid sha256:") {
		t.Errorf("raw is %q", r.body)
	}
}

func TestTreePagesAndPaths(t *testing.T) {
	s, _ := newModel(t, Options{})
	var seen []string
	next := "/api/models/a/m/tree/main?recursive=true&limit=2"
	for range 10 {
		r := s.must(200, "GET", next, "")
		var page []treeEntry
		if err := json.Unmarshal(r.body, &page); err != nil || len(page) > 2 {
			t.Fatalf("%v: %s", err, r.body)
		}
		for _, e := range page {
			seen = append(seen, e.Path)
		}
		link := r.Header.Get("Link")
		if link == "" {
			break
		}
		if !strings.HasPrefix(link, "<"+s.http.URL) || !strings.HasSuffix(link, `>; rel="next"`) {
			t.Fatalf("Link is %s", link)
		}
		next = strings.TrimPrefix(strings.TrimSuffix(strings.TrimPrefix(link, "<"), `>; rel="next"`), s.http.URL)
	}
	if got := strings.Join(seen, " "); got != ".gitattributes config.json model.safetensors sub sub/notes.txt" {
		t.Errorf("the pages hold %s", got)
	}
	form := s.must(200, "POST", "/api/models/a/m/paths-info/main", "paths=config.json&paths=no&expand=False", "Content-Type: application/x-www-form-urlencoded")
	asJSON := s.must(200, "POST", "/api/models/a/m/paths-info/main", `{"paths":["config.json","no"],"expand":false}`, "Content-Type: application/json")
	if form.text() != asJSON.text() || !strings.Contains(form.text(), `"path":"config.json"`) || strings.Contains(form.text(), "lastCommit") {
		t.Errorf("as a form %s, as JSON %s", form.body, asJSON.body)
	}
	large := s.must(200, "POST", "/api/models/a/m/paths-info/main", `{"paths":["model.safetensors"],"expand":true}`)
	if !strings.Contains(large.text(), `"lfs":{"oid":`) || !strings.Contains(large.text(), `"lastCommit":{`) {
		t.Errorf("a large file in the tree is %s", large.body)
	}
	if r := s.must(200, "GET", "/api/models/a/m?blobs=True", ""); !strings.Contains(r.text(), `"lfs":{"sha256":`) {
		t.Errorf("a large sibling is %s", r.body)
	}
	many := `{"paths":["` + strings.Repeat(`x","`, 1000) + `"]}`
	s.must(413, "POST", "/api/models/a/m/paths-info/main", many)
	if r := s.must(200, "GET", "/api/models/a/m/tree/main", ""); !strings.Contains(r.text(), `"oid":"`+treeOf(t, "notes.txt", "notes")+`"`) {
		t.Errorf("the folder's id is not git's: %s", r.body)
	}
}

// treeOf is git's id of a folder with one file, by its definition.
func treeOf(t *testing.T, name, content string) string {
	t.Helper()
	blob := sha1.Sum(fmt.Appendf(nil, "blob %d\x00%s", len(content), content))
	tree := fmt.Appendf(nil, "100644 %s\x00%s", name, blob[:])
	return fmt.Sprintf("%x", sha1.Sum(fmt.Appendf(nil, "tree %d\x00%s", len(tree), tree)))
}

func TestPathsCannotLeave(t *testing.T) {
	s, _ := newModel(t, Options{})
	for _, path := range []string{"/a/m/resolve/main/..%2F..%2Ftokens", "/a/m/resolve/..%2F..%2Frefs/heads", "/api/models/..%2F..%2Ftokens/x", "/a/..%2Fm/resolve/main/x", "/api/models/a/m/tree/main/..%2F.."} {
		if r := s.do("GET", path, ""); r.StatusCode != 404 && r.StatusCode != 400 {
			t.Errorf("%s: %s %s", path, r.Status, r.body)
		}
	}
	for _, path := range []string{"../x", "/etc/passwd", "a/../../x", ".git/config", "a//b", `a\b`, "C:x", ""} {
		s.must(400, "POST", "/api/models/a/m/commit/main", header("x", "")+inline(path, "x"))
		if path != "" {
			s.must(400, "POST", "/api/models/a/m/preupload/main", fmt.Sprintf(`{"files":[{"path":%q,"size":1}]}`, path))
		}
	}
	if r := s.do("GET", "/"+strings.Repeat("a/", 300), ""); r.StatusCode != 400 {
		t.Errorf("a path of 300 segments: %s", r.Status)
	}
}
