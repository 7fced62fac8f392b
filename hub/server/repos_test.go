package server

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"lockstep/hub"
	"lockstep/internal/fault"
)

// TestHalfARepositoryStaysPrivate makes a private repository anew when its folder
// lacks the branch and the folder for new ones, as when it is being restored: it
// is refused, and the repository is private in the end.
func TestHalfARepositoryStaysPrivate(t *testing.T) {
	s := newSite(t, Options{})
	s.must(200, "POST", "/api/repos/create", `{"name":"m","organization":"a","private":true}`)
	folder, aside := filepath.Join(s.s.root, "models", "a", "m"), t.TempDir()
	move := func(from, to string) {
		t.Helper()
		if err := errors.Join(os.Rename(filepath.Join(from, "unfinished"), filepath.Join(to, "unfinished")),
			os.Rename(filepath.Join(from, "refs", "heads", "main"), filepath.Join(to, "refs", "heads", "main"))); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(aside, "refs", "heads"), 0o755); err != nil {
		t.Fatal(err)
	}
	move(folder, aside)
	fresh, err := New(s.s.root, Options{}) // has opened nothing yet
	if err != nil {
		t.Fatal(err)
	}
	s.http.Config.Handler = fresh
	s.must(500, "POST", "/api/repos/create", `{"name":"m","organization":"a"}`)
	move(aside, folder)
	s.must(401, "GET", "/api/models/a/m", "", "Authorization: ")
	s.must(200, "GET", "/api/models/a/m", "")
}

// TestAReplacedRepositoryIsOpenedAnew keeps a repository while another goroutine
// remembers one of another folder under its name, or one whose mark was another.
func TestAReplacedRepositoryIsOpenedAnew(t *testing.T) {
	s, _ := newModel(t, Options{})
	s.create("a/other")
	name, repos := repoName{"models", "a", "m"}, s.s.repos
	other, err := repos.find(ctx, repoName{"models", "a", "other"})
	if err != nil {
		t.Fatal(err)
	}
	dir, err := hub.OpenDirectory(repos.path(name))
	if err != nil {
		t.Fatal(err)
	}
	repos.open[name] = &repo{Directory: other.Directory, repoName: name, marker: other.marker}
	r, err := repos.keep(ctx, name, dir)
	if err != nil || r.Directory != dir || repos.open[name] != r {
		t.Errorf("%+v, %v: that is the folder that was replaced", r, err)
	}
	if err := os.WriteFile(repos.privateMark(name), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if r, err := repos.keep(ctx, name, dir); fault.KindOf(err) != fault.Environment {
		t.Errorf("%+v, %v: its mark was read before it was written", r, err)
	}
	if r, err := repos.find(ctx, name); err != nil || !r.private {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestDamageIsFoundOnce asks for damaged content again: it is compared anew only
// when the file has changed.
func TestDamageIsFoundOnce(t *testing.T) {
	s, _ := newModel(t, Options{})
	blob := filepath.Join(s.s.root, "models", "a", "m", "blobs", digest("weights"))
	write := func(content string, at time.Time) {
		t.Helper()
		if err := errors.Join(os.Chmod(blob, 0o644), os.WriteFile(blob, []byte(content), 0o644), os.Chtimes(blob, at, at)); err != nil {
			t.Fatal(err)
		}
	}
	before := time.Unix(1_700_000_000, 0)
	write("damaged", before)
	fresh, err := New(s.s.root, Options{}) // has compared nothing yet
	if err != nil {
		t.Fatal(err)
	}
	s.http.Config.Handler = fresh
	ask := func(status int) {
		t.Helper()
		s.must(status, "GET", "/a/m/resolve/main/model.safetensors", "")
	}
	ask(http.StatusInternalServerError)
	write("weights", before) // as nobody could tell without reading it
	ask(http.StatusInternalServerError)
	write("weights", before.Add(time.Second))
	ask(http.StatusOK)
}
