package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"lockstep/hub"
	"lockstep/internal/fault"
)

func TestStatusTellsWhoseFaultItIs(t *testing.T) {
	for _, c := range []struct {
		err    error
		status int
	}{
		{&hub.SpaceError{Path: "x"}, http.StatusInsufficientStorage},
		{&fs.PathError{Op: "write", Path: "x", Err: syscall.EDQUOT}, http.StatusInsufficientStorage},
		{&fs.PathError{Op: "open", Path: "x", Err: syscall.EMFILE}, http.StatusInternalServerError},
		{&fs.PathError{Op: "open", Path: "x", Err: fs.ErrNotExist}, http.StatusInternalServerError},
		{fault.Errorf(fault.Damaged, "a blob"), http.StatusInternalServerError},
		{fault.Errorf(fault.Usage, "a path"), http.StatusBadRequest},
		{fmt.Errorf("storing: %w", &hub.ContentError{Path: "x", Why: "too short"}), http.StatusBadRequest},
	} {
		if got := statusOf(c.err); got != c.status {
			t.Errorf("%v: %d, want %d", c.err, got, c.status)
		}
	}
}

// TestErrorsOfTheDiskAreNotTheClients takes away folders that uploads need.
func TestErrorsOfTheDiskAreNotTheClients(t *testing.T) {
	s, _ := newModel(t, Options{PartSize: 5, MultipartFrom: 10})
	put, part := s.batch("weights!", "sha256").Actions.Upload.Href, s.batch("thirteen byte", "sha256").Actions.Upload.Header["00001"]
	check := func(method, path, body string) {
		t.Helper()
		if r := s.must(500, method, path, body); strings.Contains(r.text(), filepath.Dir(s.s.root)) || r.field("error") == nil {
			t.Errorf("%s %s tells the server's folder: %s", method, path, r.body)
		}
	}
	s.must(200, "PUT", part, "thirt")
	parts, err := filepath.Glob(filepath.Join(s.s.root, uploadsDir, "*", "00001"))
	if err != nil || len(parts) != 1 {
		t.Fatalf("%v, %v", parts, err)
	}
	if err := errors.Join(os.Remove(parts[0]), os.MkdirAll(filepath.Join(parts[0], "x"), 0o755)); err != nil {
		t.Fatal(err)
	}
	check("PUT", part, "thirt")
	if err := os.RemoveAll(filepath.Join(s.s.root, uploadsDir)); err != nil {
		t.Fatal(err)
	}
	check("POST", "/api/models/a/m/commit/main", header("x", "")+inline("x", strings.Repeat("x", maxInMemory)))
	if err := os.RemoveAll(filepath.Join(s.s.root, "models", "a", "m", "unfinished")); err != nil {
		t.Fatal(err)
	}
	check("PUT", put, "weights!")
	check("POST", "/api/models/a/m/commit/main", header("x", "")+inline("x", "x"))
}

// TestOneOfManyMakesIt lets several clients make one tag and one repository at
// once: one is told that it made it, the others that it is there.
func TestOneOfManyMakesIt(t *testing.T) {
	s, _ := newModel(t, Options{})
	for path, body := range map[string]string{
		"/api/models/a/m/tag/main": `{"tag":"1"}`,
		"/api/repos/create":        `{"name":"new","organization":"a"}`,
	} {
		const clients = 12
		statuses := make([]int, clients)
		var group sync.WaitGroup
		for i := range clients {
			group.Go(func() { statuses[i] = s.do("POST", path, body).StatusCode })
		}
		group.Wait()
		count := map[int]int{}
		for _, status := range statuses {
			count[status]++
		}
		if count[200] != 1 || count[409] != clients-1 {
			t.Errorf("%s: %v, want one 200 and the rest 409", path, count)
		}
	}
}

func TestBranchesAreNamedPlainly(t *testing.T) {
	s, _ := newModel(t, Options{})
	for _, name := range []string{"refs%2Fheads%2Fq", "refs/heads/q", "a%2Fb", ".q"} {
		s.must(400, "POST", "/api/models/a/m/branch/"+name, `{}`)
	}
	if r := s.must(200, "GET", "/api/models/a/m/refs", ""); strings.Contains(r.text(), `"q"`) {
		t.Errorf("a branch was made: %s", r.body)
	}
	s.must(200, "POST", "/api/models/a/m/branch/q", `{}`)
}

// TestRemovedRepositoriesAreForgotten removes a repository's folder while the
// server runs, as it tells its people to.
func TestRemovedRepositoriesAreForgotten(t *testing.T) {
	s, _ := newModel(t, Options{})
	if err := os.RemoveAll(filepath.Join(s.s.root, "models", "a", "m")); err != nil {
		t.Fatal(err)
	}
	s.must(404, "GET", "/api/models/a/m", "")
	s.create("a/m")
	s.commit("a/m", "again", "x", "1")
}

// TestReplacedRepositoriesAreForgotten puts another repository in the place of
// one that the server knows: its tags are other ones.
func TestReplacedRepositoriesAreForgotten(t *testing.T) {
	s, _ := newModel(t, Options{})
	folder := filepath.Join(s.s.root, "models", "a", "m")
	tags := func() any {
		t.Helper()
		var refs struct{ Tags []refInfo }
		if err := json.Unmarshal(s.must(200, "GET", "/api/models/a/m/refs", "").body, &refs); err != nil || len(refs.Tags) != 1 {
			t.Fatalf("%v: %v", refs, err)
		}
		return refs.Tags[0]
	}
	s.must(200, "POST", "/api/models/a/m/tag/main", `{"tag":"1"}`)
	before := tags()
	if again := tags(); again != before { // now remembered
		t.Errorf("first %v, then %v", before, again)
	}
	if err := os.RemoveAll(folder); err != nil {
		t.Fatal(err)
	}
	other, err := hub.CreateDirectory(folder)
	if err != nil {
		t.Fatal(err)
	}
	head, err := other.Commit(ctx, hub.CommitRequest{Add: []hub.Content{hub.Bytes("x", nil)}})
	if err == nil {
		err = other.Tag(ctx, "1", head.ID)
	}
	if err != nil {
		t.Fatal(err)
	}
	if after := tags(); after != (refInfo{"1", "refs/tags/1", head.ID}) {
		t.Errorf("the tag is %v, it was %v before, want %s", after, before, head.ID)
	}
}

// TestMarksOfPrivateRepositories finds a mark whose repository a crash prevented:
// who then makes a public one has a public one.
func TestMarksOfPrivateRepositories(t *testing.T) {
	s := newSite(t, Options{})
	mark := s.s.repos.privateMark(repoName{"models", "a", "m"})
	if err := os.WriteFile(mark, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s.create("a/m")
	s.must(200, "GET", "/api/models/a/m", "", "Authorization: ")
	s.must(200, "POST", "/api/repos/create", `{"name":"secret","organization":"a","private":true}`)
	s.must(409, "POST", "/api/repos/create", `{"name":"secret","organization":"a"}`)
	s.must(401, "GET", "/api/models/a/secret", "", "Authorization: ")
}

func TestListsHavePages(t *testing.T) {
	s := newSite(t, Options{})
	for _, id := range []string{"a/one", "a/two", "b/one"} {
		s.create(id)
	}
	var seen []string
	for next := "/api/models?limit=2"; next != ""; {
		r := s.must(200, "GET", next, "")
		for _, id := range []string{"a/one", "a/two", "b/one"} {
			if strings.Contains(r.text(), `"id":"`+id+`"`) {
				seen = append(seen, id)
			}
		}
		next, _, _ = strings.Cut(strings.TrimPrefix(r.Header.Get("Link"), "<"+s.http.URL), ">")
	}
	if got := strings.Join(seen, " "); got != "a/one a/two b/one" {
		t.Errorf("the pages hold %s", got)
	}
}
