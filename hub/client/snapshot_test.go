package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"lockstep/hub"
	"lockstep/hub/server"
	"lockstep/internal/fault"
)

// contents lists a snapshot and reads what it lists.
func contents(r *Repo, revision string) (map[string]string, error) {
	s, err := r.Snapshot(ctx, revision)
	if err != nil {
		return nil, err
	}
	files, err := s.List(ctx)
	if err != nil {
		return nil, err
	}
	all := map[string]string{}
	for _, info := range files {
		f, err := s.Open(ctx, info.Path)
		if err != nil {
			return nil, err
		}
		b := make([]byte, info.Size)
		_, err = f.ReadAt(b, 0)
		f.Close()
		if err != nil {
			return nil, err
		}
		if known := !info.SHA256.IsZero(); known && info.SHA256.String() != etagOf(string(b)) || info.GitID != "" && info.GitID != gitOf(string(b)) {
			return nil, fmt.Errorf("%s is listed as %+v", info.Path, info)
		}
		all[info.Path] = string(b)
	}
	return all, nil
}

// TestSnapshotWithoutTheHub lists and reads what the cache has, offline and when
// the Hub does not answer, and says so in the latter case.
func TestSnapshotWithoutTheHub(t *testing.T) {
	w := newWorld(t, server.Options{})
	pushed, err := push(w, 1, append(epochOne, text("sub/a.txt", "a")))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"config.json": "{}", "model.safetensors": "weights one", "sub/a.txt": "a"}
	for path := range want {
		if _, err := read(w, "1", path); err != nil {
			t.Fatal(err)
		}
	}
	cache := w.client.config.Cache
	for name, offline := range map[string]bool{"offline": true, "no Hub": false} {
		for _, revision := range []string{"1", pushed.Commit.ID} {
			var told []string
			r := w.again(t, Config{Cache: cache, Offline: offline, Notice: func(line string) { told = append(told, line) }})
			w.http.Close()
			got, err := contents(r, revision)
			if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%s, %s: %v, %v", name, revision, got, err)
			}
			if stale := !offline && revision == "1"; slices.ContainsFunc(told, func(s string) bool { return strings.Contains(s, "cannot be reached") }) != stale || len(told) == 0 {
				t.Errorf("%s, %s: told %q", name, revision, told)
			}
		}
		r := w.again(t, Config{Cache: t.TempDir(), Offline: offline})
		if got, err := contents(r, pushed.Commit.ID); err == nil {
			t.Errorf("%s, with nothing in the cache: %v", name, got)
		}
	}
}

// TestCacheOfCopies uses a cache where there are no links: by our own copies, and
// as the Python library leaves it, which moves the blob into the snapshot.
func TestCacheOfCopies(t *testing.T) {
	withoutLinks(t)
	w := newWorld(t, server.Options{})
	pushed, err := push(w, 1, epochOne)
	if err != nil {
		t.Fatal(err)
	}
	cache, id := w.client.config.Cache, pushed.Commit.ID
	offline := w.again(t, Config{Cache: cache, Offline: true})
	const path, want = "model.safetensors", "weights one"
	both := func(when string) {
		t.Helper()
		for name, r := range map[string]*Repo{"online": w.Repo, "offline": offline} {
			for _, revision := range []string{"1", id} {
				if got, err := read(r, revision, path); err != nil || got != want {
					t.Errorf("%s, %s, %s: %q, %v", when, name, revision, got, err)
				}
			}
		}
	}
	if _, err := read(w, "1", path); err != nil {
		t.Fatal(err)
	}
	at := w.cache().snapshot(id, path)
	if info, err := os.Lstat(at); err != nil || !info.Mode().IsRegular() {
		t.Fatalf("%v, %v", info, err)
	}
	both("copied")
	if err := os.Remove(w.cache().blob(etagOf(want))); err != nil {
		t.Fatal(err)
	}
	w.line.sent = nil
	both("moved")
	if n := w.line.count("GET"); n != 0 {
		t.Errorf("fetched %d times what is there", n)
	}
	if got, err := contents(offline, "1"); err != nil || got[path] != want {
		t.Errorf("listed: %v, %v", got, err)
	}
	if err := os.WriteFile(at, []byte("weights ONE"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got, err := read(w, id, path); err != nil || got != want { // the Hub knows the digest
		t.Errorf("damaged: %q, %v", got, err)
	}
	both("mended")
}

// TestAbsenceIsRemembered: whether a commit has a file never changes, so it is
// asked once.
func TestAbsenceIsRemembered(t *testing.T) {
	w := newWorld(t, server.Options{})
	pushed, err := push(w, 1, epochOne)
	if err != nil {
		t.Fatal(err)
	}
	w.line.sent = nil
	for range 2 {
		var missing *hub.NotFoundError
		if _, err := read(w, pushed.Commit.ID, "index.json"); !errors.As(err, &missing) || missing.What != "file" {
			t.Error(err)
		}
	}
	if len(w.line.sent) != 1 {
		t.Errorf("sent %v", w.line.sent)
	}
}

// TestWithoutLocks fetches where the file system has no locks, under a name that
// no other process uses; what fails leaves nothing.
func TestWithoutLocks(t *testing.T) {
	defer func() { takeLock = hub.Lock }()
	takeLock = func(context.Context, string) (func(), error) {
		return nil, fault.Errorf(fault.Environment, "locking: %w", errors.ErrUnsupported)
	}
	w := newWorld(t, server.Options{})
	if _, err := push(w, 1, epochOne); err != nil {
		t.Fatal(err)
	}
	blob := w.cache().blob(etagOf("weights one"))
	others := blob + ".lockstep.incomplete" // of a process that has the lock elsewhere
	if err := errors.Join(os.MkdirAll(filepath.Dir(blob), 0o777), os.WriteFile(others, []byte("wei"), 0o666)); err != nil {
		t.Fatal(err)
	}
	w.line.fault = func(r *http.Request, _ int) *mishap {
		if has("GET", "/resolve/")(r) {
			return &mishap{status: 404}
		}
		return nil
	}
	if _, err := read(w, "1", "model.safetensors"); err == nil {
		t.Error("read what is not there")
	}
	w.line.fault = nil
	if got, err := read(w, "1", "model.safetensors"); err != nil || got != "weights one" {
		t.Errorf("%q, %v", got, err)
	}
	if left, err := os.ReadFile(others); err != nil || string(left) != "wei" {
		t.Errorf("the other process has %q, %v", left, err)
	}
	if names, _ := filepath.Glob(filepath.Join(filepath.Dir(blob), "*")); len(names) != 2 {
		t.Errorf("there are %v", names)
	}
}

// TestLongWaitIsTold holds a blob's lock until the client has said that it waits.
func TestLongWaitIsTold(t *testing.T) {
	defer func(d time.Duration) { lockNotice = d }(lockNotice)
	lockNotice = time.Millisecond
	w := newWorld(t, server.Options{})
	if _, err := push(w, 1, epochOne); err != nil {
		t.Fatal(err)
	}
	lock := filepath.Join(w.client.config.Cache, ".locks", w.cache().folder, etagOf("weights one")+".lock")
	if err := os.MkdirAll(filepath.Dir(lock), 0o777); err != nil {
		t.Fatal(err)
	}
	unlock, err := hub.Lock(ctx, lock)
	if err != nil {
		t.Fatal(err)
	}
	told := make(chan string, 1)
	r := w.again(t, Config{Cache: w.client.config.Cache, Notice: func(line string) { told <- line; unlock() }})
	if got, err := read(r, "1", "model.safetensors"); err != nil || got != "weights one" {
		t.Errorf("%q, %v", got, err)
	}
	if line := <-told; !strings.Contains(line, lock) {
		t.Errorf("told %q", line)
	}
}

// TestListSkipsWhatIsNoFile lists a snapshot in which another process was killed,
// and of which a blob was removed. A kill leaves nothing in a snapshot: its files
// are made elsewhere.
func TestListSkipsWhatIsNoFile(t *testing.T) {
	defer func() { symlink = os.Symlink }()
	w := newWorld(t, server.Options{})
	pushed, err := push(w, 1, append(epochOne, text("sub/a.txt", "a"), text("notes.tmp", "notes")))
	if err != nil {
		t.Fatal(err)
	}
	c, id := w.cache(), pushed.Commit.ID
	symlink = func(target, name string) error {
		if strings.HasPrefix(name, c.path("snapshots")) || !isTemp(name) {
			t.Errorf("a link is made as %s", name)
		}
		return os.Symlink(target, name)
	}
	for _, path := range []string{"config.json", "model.safetensors", "sub/a.txt", "notes.tmp"} {
		if _, err := read(w, "1", path); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.WriteFile(tempName(c.snapshot(id, "sub/b.txt")), []byte("half of"), 0o666), os.Remove(c.blob(etagOf("weights one")))); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"config.json": "{}", "sub/a.txt": "a", "notes.tmp": "notes"}
	offline := w.again(t, Config{Cache: w.client.config.Cache, Offline: true})
	if got, err := contents(offline, "1"); err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("listed %v, %v", got, err)
	}
	if left, _ := filepath.Glob(c.path("blobs", "*.tmp")); len(left) > 0 {
		t.Errorf("%v are left", left)
	}
}

// TestCopiesOnlyWithoutAnAnswer takes a copy, whose digest nothing tells, only if
// the Hub could not be asked for it, and says so.
func TestCopiesOnlyWithoutAnAnswer(t *testing.T) {
	withoutLinks(t)
	w := newWorld(t, server.Options{})
	id := w.fetched(t, "config.json")
	commit := "X-Repo-Commit: " + id
	for name, c := range map[string]struct {
		mishap mishap
		taken  bool
	}{
		"no connection": {mishap{down: true}, true},
		"in trouble":    {mishap{status: 503}, true},
		"a quota":       {mishap{status: 429}, false},
		"no commit":     {mishap{status: 200}, false},
		"no digest":     {mishap{status: 200, header: commit + "\nETag: \"x\""}, false},
		"no size":       {mishap{status: 200, header: commit + "\nETag: " + gitOf("{}")}, false},
	} {
		var told []string
		r := w.again(t, Config{Cache: w.client.config.Cache, Notice: func(line string) { told = append(told, line) }})
		w.line.fault = func(*http.Request, int) *mishap { return &c.mishap }
		got, err := read(r, id, "config.json")
		if c.taken && (err != nil || got != "{}") || !c.taken && fault.KindOf(err) != fault.Network {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		if slices.ContainsFunc(told, func(s string) bool { return strings.Contains(s, "no digest") }) != c.taken {
			t.Errorf("%s: told %q", name, told)
		}
	}
}
