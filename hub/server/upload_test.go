package server

import (
	"bytes"
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
	"sync"
	"testing"
	"time"
)

func digest(s string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(s))) }

func large(path, oid string, size int) string {
	return fmt.Sprintf(`{"key":"lfsFile","value":{"path":%q,"algo":"sha256","oid":%q,"size":%d}}`, path, oid, size) + "\n"
}

// batch asks for the upload of one object, as both languages' clients do.
func (s *site) batch(content, algorithm string) lfsObject {
	s.t.Helper()
	r := s.must(200, "POST", "/a/m.git/info/lfs/objects/batch",
		fmt.Sprintf(`{"operation":"upload","transfers":["basic","multipart","xet"],"hash_algo":%q,"ref":{"name":"main"},"objects":[{"oid":%q,"size":%d}]}`, algorithm, digest(content), len(content)),
		"Content-Type: "+lfsType)
	var q struct {
		Transfer string
		Objects  []lfsObject
	}
	if err := json.Unmarshal(r.body, &q); err != nil || len(q.Objects) != 1 || q.Transfer == "xet" || strings.Contains(r.text(), "null") {
		s.t.Fatalf("%v: %s", err, r.body)
	}
	return q.Objects[0]
}

func TestLFSUpload(t *testing.T) {
	s, _ := newModel(t, Options{})
	content := "some weights"
	s.must(400, "POST", "/api/models/a/m/commit/main", header("too early", "")+large("big.bin", digest(content), len(content)))
	up := s.batch(content, "sha_256").Actions.Upload.Href
	s.must(400, "PUT", up, content+"!")
	s.must(400, "PUT", up, "same_lengths")
	s.must(403, "PUT", strings.Replace(up, "/put/", "/get/", 1), content)
	s.must(403, "PUT", strings.Replace(up, "expires=", "expires=9", 1), content)
	s.must(403, "PUT", strings.Replace(up, fmt.Sprintf("/%d?", len(content)), "/9?", 1), content)
	s.must(200, "PUT", up, content)
	verify := fmt.Sprintf(`{"oid":%q,"size":%d}`, digest(content), len(content))
	s.must(200, "POST", "/a/m.git/info/lfs/verify", verify, "Authorization: ")
	s.must(404, "POST", "/a/m.git/info/lfs/verify", strings.Replace(verify, "12}", "13}", 1))
	if again := s.batch(content, "sha256"); again.Actions != nil {
		t.Errorf("what is stored is asked for again: %+v", again.Actions)
	}
	s.must(400, "POST", "/api/models/a/m/commit/main", header("wrong size", "")+large("big.bin", digest(content), 5))
	s.must(200, "POST", "/api/models/a/m/commit/main", header("weights", "")+large("big.bin", digest(content), len(content)))
	// A copy names the object without its size.
	s.must(200, "POST", "/api/models/a/m/commit/main", header("a copy", "")+fmt.Sprintf(`{"key":"lfsFile","value":{"path":"copy.bin","algo":"sha256","oid":%q}}`, digest(content)))
	for _, path := range []string{"big.bin", "copy.bin"} {
		if r := s.must(200, "GET", "/a/m/resolve/main/"+path, ""); r.text() != content {
			t.Errorf("%s is %q", path, r.body)
		}
	}
}

func TestSignaturesExpire(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	signer := signer{[]byte("key")}
	expires, signature := signer.sign("/lfs/x", now)
	if !signer.check("/lfs/x", expires, signature, now.Add(uploadTime)) {
		t.Error("an address is refused in time")
	}
	for name, ok := range map[string]bool{
		"late":         signer.check("/lfs/x", expires, signature, now.Add(uploadTime+time.Second)),
		"another path": signer.check("/lfs/y", expires, signature, now),
		"no signature": signer.check("/lfs/x", expires, "", now),
		"no expiry":    signer.check("/lfs/x", "", signature, now),
	} {
		if ok {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestMultipartUpload(t *testing.T) {
	s, _ := newModel(t, Options{PartSize: 5, MultipartFrom: 10})
	content := "thirteen byte"
	up := s.batch(content, "sha256").Actions.Upload
	if up.Header["chunk_size"] != "5" || len(up.Header) != 4 {
		t.Fatalf("13 bytes in parts of 5 are %v", up.Header)
	}
	complete := fmt.Sprintf(`{"oid":%q,"parts":[{"partNumber":1,"etag":"1"},{"partNumber":2,"etag":"2"},{"partNumber":3,"etag":"3"}]}`, digest(content))
	for i, part := range []string{"wrong", " byte", "bad"} {
		s.must(200, "PUT", up.Header[fmt.Sprintf("%05d", i+1)], part)
	}
	s.must(400, "POST", up.Href, complete)
	s.must(400, "PUT", up.Header["00003"], "byte")
	s.must(403, "PUT", strings.Replace(up.Header["00003"], "number=3", "number=4", 1), "byte")
	for i, part := range []string{"thirt", "een b", "yte"} {
		if r := s.must(200, "PUT", up.Header[fmt.Sprintf("%05d", i+1)], part); r.Header.Get("ETag") == "" {
			t.Error("a part has no ETag, and clients send it back")
		}
	}
	s.must(400, "POST", up.Href, `{"parts":[]}`)
	s.must(200, "POST", up.Href, complete)
	s.must(200, "POST", up.Href, complete) // the first answer may have been lost
	if left, err := os.ReadDir(filepath.Join(s.s.root, uploadsDir)); err != nil || len(left) > 0 {
		t.Errorf("%d folders of parts are left, %v", len(left), err)
	}
	s.must(200, "POST", "/api/models/a/m/commit/main", header("weights", "")+large("big.bin", digest(content), len(content)))
	if r := s.must(200, "GET", "/a/m/resolve/main/big.bin", ""); r.text() != content {
		t.Errorf("big.bin is %q", r.body)
	}
}

func TestAbandonedUploadsAreCleared(t *testing.T) {
	s, _ := newModel(t, Options{PartSize: 5, MultipartFrom: 10})
	up := s.batch("thirteen byte", "sha256").Actions.Upload
	s.must(200, "PUT", up.Header["00001"], "thirt")
	count := func() int {
		left, err := os.ReadDir(filepath.Join(s.s.root, uploadsDir))
		if err != nil {
			t.Fatal(err)
		}
		return len(left)
	}
	if err := clearUploads(s.s.root, time.Now()); err != nil || count() != 1 {
		t.Errorf("an upload in hand: %d folders, %v", count(), err)
	}
	if err := clearUploads(s.s.root, time.Now().Add(2*abandoned)); err != nil || count() != 0 {
		t.Errorf("an old upload: %d folders, %v", count(), err)
	}
}

func TestCommit(t *testing.T) {
	s, one := newModel(t, Options{})
	post := func(status int, lines string) reply {
		t.Helper()
		return s.must(status, "POST", "/api/models/a/m/commit/main", lines, "Content-Type: application/x-ndjson")
	}
	// The last line may have no end; text may be in the clear.
	r := post(200, header("two", one)+`{"value":{"path":"sub/deep/a.txt","encoding":"utf-8","content":"gr\u00fc\u00df\ud83d\ude00"},"key":"file"}`)
	two := r.field("commitOid").(string)
	if r.field("commitUrl") != s.http.URL+"/a/m/commit/"+two {
		t.Errorf("commitUrl is %v", r.field("commitUrl"))
	}
	if r := s.must(200, "GET", "/a/m/resolve/main/sub/deep/a.txt", ""); r.text() != "grüß😀" {
		t.Errorf("a.txt is %q", r.body)
	}
	r = post(412, header("late", one)+inline("x", "x"))
	if !strings.Contains(r.text(), "refresh") {
		t.Errorf("a moved head is told as %s", r.body)
	}
	post(412, header("short and wrong", "00000")+inline("x", "x"))
	post(200, header("by a short id", two[:7])+`{"key":"deletedFolder","value":{"path":"sub/"}}`)
	if r := s.must(200, "GET", "/api/models/a/m/tree/main?recursive=True", ""); strings.Contains(r.text(), "sub") {
		t.Errorf("a deleted folder is still there: %s", r.body)
	}
	for _, c := range []struct {
		name, lines string
		status      int
	}{
		{"nothing there to delete", header("x", "") + `{"key":"deletedFile","value":{"path":"nowhere"}}`, 404},
		{"no folder to delete", header("x", "") + `{"key":"deletedFolder","value":{"path":"nowhere/"}}`, 404},
		{"a folder with a long name", header("x", "") + `{"key":"deletedFolder","value":{"path":"` + strings.Repeat("x/", 1000) + `"}}`, 400},
		{"a file without content", header("x", "") + `{"key":"file","value":{"path":"config.json"}}`, 400},
		{"no header", inline("x", "x"), 400},
		{"nothing at all", "", 400},
		{"not base64", header("x", "") + `{"key":"file","value":{"path":"x","content":"a?==","encoding":"base64"}}`, 400},
		{"base64 cut short", header("x", "") + `{"key":"file","value":{"path":"x","content":"abc","encoding":"base64"}}`, 400},
		{"base64 with line breaks", header("x", "") + `{"key":"file","value":{"path":"x","content":"YWJj\n\n\n\n","encoding":"base64"}}`, 400},
		{"unknown encoding", header("x", "") + `{"key":"file","value":{"path":"x","content":"","encoding":"rot13"}}`, 400},
		{"unknown key", header("x", "") + `{"key":"symlink","value":{"path":"x"}}`, 400},
		{"a line cut short", header("x", "") + `{"key":"file","value":{"path":"x","cont`, 400},
		{"the same path twice", header("x", "") + inline("x", "1") + inline("x", "2"), 400},
		{"a file that is a folder", header("x", "") + inline("config.json/x", "1"), 400},
		{"a digest that is none", header("x", "") + large("x.bin", "12", 1), 400},
		{"a rename", header("x", "") + `{"key":"file","value":{"path":"x","oldPath":"y","content":""}}`, 400},
	} {
		if r := s.do("POST", "/api/models/a/m/commit/main", c.lines); r.StatusCode != c.status {
			t.Errorf("%s: %s, want %d: %s", c.name, r.Status, c.status, r.body)
		}
	}
	s.must(404, "POST", "/api/models/a/m/commit/nowhere", header("x", "")+inline("x", "x"))
	s.must(400, "POST", "/api/models/a/m/commit/main?create_pr=1", header("x", "")+inline("x", "x"))
	if left, err := os.ReadDir(filepath.Join(s.s.root, uploadsDir)); err != nil || len(left) > 0 {
		t.Errorf("%d files are left of what came in commits, %v", len(left), err)
	}
}

func TestConcurrentCommits(t *testing.T) {
	s, head := newModel(t, Options{})
	const pushers = 8
	pads := [pushers]string{strings.Repeat(" large", maxInMemory/6+1)} // the first one's takes longer
	race := func(parent string) map[int]int {
		statuses := make([]int, pushers)
		var group sync.WaitGroup
		for i := range pushers {
			group.Go(func() {
				r := s.do("POST", "/api/models/a/m/commit/main", header("race", parent)+inline(fmt.Sprintf("race-%d.txt", i), fmt.Sprint(i, parent, pads[i])))
				statuses[i] = r.StatusCode
			})
		}
		group.Wait()
		count := map[int]int{}
		for _, status := range statuses {
			count[status]++
		}
		return count
	}
	if got := race(head); got[200] != 1 || got[412] != pushers-1 {
		t.Errorf("with one parent: %v, want one 200 and the rest 412", got)
	}
	if got := race(""); got[200] != pushers {
		t.Errorf("without a parent: %v, want all to succeed in turn", got)
	}
	if r := s.must(200, "GET", "/api/models/a/m/tree/main", ""); strings.Count(r.text(), "race-") != pushers {
		t.Errorf("not all commits are in: %s", r.body)
	}
}

// busyContent is content during whose reading others commit.
type busyContent struct {
	io.ReaderAt
	commit func()
	reads  int // from the start
}

func (b *busyContent) ReadAt(p []byte, off int64) (int, error) {
	if off == 0 {
		b.reads++
		b.commit()
	}
	return b.ReaderAt.ReadAt(p, off)
}

// TestATriedCommitIsDecodedOnce commits content while others commit each time it
// is read: it is read for the first try, and once for all that follow.
func TestATriedCommitIsDecodedOnce(t *testing.T) {
	s, _ := newModel(t, Options{})
	r, err := s.s.repos.find(ctx, repoName{"models", "a", "m"})
	if err != nil {
		t.Fatal(err)
	}
	text := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("large"), 1<<18))
	content := &busyContent{ReaderAt: strings.NewReader(text)}
	content.commit = func() { s.commit("a/m", "meanwhile", "n.txt", fmt.Sprint(content.reads)) }
	ops := &operations{summary: "large", files: []inlineFile{{"large.txt", "base64", spooled{ReaderAt: content, size: int64(len(text)), equals: int64(strings.Count(text, "="))}}}}
	c := &call{Server: s.s, r: httptest.NewRequest("POST", "/", nil), repo: r}
	if _, err := c.apply("main", ops); err != nil || content.reads != 2 {
		t.Errorf("it was read %d times, %v; want 2", content.reads, err)
	}
	s.must(200, "GET", "/a/m/resolve/main/large.txt", "")
}

func TestHistoryPages(t *testing.T) {
	s, _ := newModel(t, Options{})
	for i := range 5 {
		s.commit("a/m", fmt.Sprintf("commit %d\n\nbody", i), "n.txt", fmt.Sprint(i))
	}
	var titles []string
	next := "/api/models/a/m/commits/main?limit=3"
	for next != "" {
		r := s.must(200, "GET", next, "")
		if r.Header.Get("X-Total-Count") != "7" {
			t.Fatalf("X-Total-Count is %s", r.Header.Get("X-Total-Count"))
		}
		var page []commitInfo
		if err := json.Unmarshal(r.body, &page); err != nil {
			t.Fatal(err)
		}
		for _, c := range page {
			titles = append(titles, c.Title)
		}
		next, _, _ = strings.Cut(strings.TrimPrefix(r.Header.Get("Link"), "<"+s.http.URL), ">")
	}
	if got := strings.Join(titles, ", "); got != "commit 4, commit 3, commit 2, commit 1, commit 0, one, initial commit" {
		t.Errorf("the history is %s", got)
	}
}

func TestEmptyFile(t *testing.T) {
	s, _ := newModel(t, Options{})
	s.commit("a/m", "nothing", "empty.txt", "")
	if r := s.must(200, "GET", "/a/m/resolve/main/empty.txt", "", "Range: bytes=0-0"); r.Header.Get("Content-Range") != "bytes 0-0/0" || len(r.body) != 0 {
		t.Errorf("a range of nothing is %q with %q", r.Header.Get("Content-Range"), r.body)
	}
	if r := s.must(200, "GET", "/a/m/resolve/main/empty.txt", ""); r.Header.Get("ETag") != `"e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"` || r.ContentLength != 0 {
		t.Errorf("git knows the empty file by another name than %s", r.Header.Get("ETag"))
	}
}

func TestDamageIsNotServed(t *testing.T) {
	s, _ := newModel(t, Options{})
	blob := filepath.Join(s.s.root, "models", "a", "m", "blobs", digest("notes"))
	if err := os.Chmod(blob, 0o644); err != nil {
		t.Fatal(err)
	}
	fresh, err := New(s.s.root, Options{}) // has compared nothing yet
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(blob, []byte("mutes"), 0o644); err != nil {
		t.Fatal(err)
	}
	s.http.Config.Handler = fresh
	if r := s.do("GET", "/a/m/resolve/main/sub/notes.txt", ""); r.StatusCode == http.StatusOK {
		t.Errorf("damaged content is served: %s", r.body)
	}
}
