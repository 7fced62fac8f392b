package client

import (
	"cmp"
	"errors"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"lockstep/hub"
	"lockstep/hub/server"
	"lockstep/internal/fault"
)

// TestCacheLayout compares the cache with the layout of the Python library, name
// for name.
func TestCacheLayout(t *testing.T) {
	w := newWorld(t, server.Options{})
	pushed, err := push(w, 1, append(epochOne, text("sub/a.txt", "a")))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"config.json", "model.safetensors", "sub/a.txt"} {
		if _, err := read(w, "1", path); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := read(w, "1", "nowhere/b.txt"); err == nil {
		t.Fatal("nowhere is somewhere")
	}
	cache, id := w.client.config.Cache, pushed.Commit.ID
	folder := filepath.Join(cache, "models--lockstep--nano")
	for path, want := range map[string]string{
		"refs/1":                                                   id,
		"blobs/" + gitOf("{}"):                                     "{}",
		"blobs/" + etagOf("weights one"):                           "weights one",
		"snapshots/" + id + "/sub/a.txt":                           "a",
		"snapshots/" + id + "/config.json":                         "{}",
		".no_exist/" + id + "/nowhere/b.txt":                       "",
		"../.locks/models--lockstep--nano/" + gitOf("a") + ".lock": "",
	} {
		if got, err := os.ReadFile(filepath.Join(folder, path)); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", path, got, err)
		}
	}
	for path, want := range map[string]string{"config.json": "../../blobs/" + gitOf("{}"), "sub/a.txt": "../../../blobs/" + gitOf("a")} {
		if got, err := os.Readlink(filepath.Join(folder, "snapshots", id, path)); err != nil || got != want {
			t.Errorf("%s links to %q, %v", path, got, err)
		}
	}
	if tag, err := os.ReadFile(filepath.Join(cache, "CACHEDIR.TAG")); err != nil || !strings.HasPrefix(string(tag), "Signature: 8a477f597d28d172789f06886806bc55") {
		t.Errorf("CACHEDIR.TAG: %q, %v", tag, err)
	}
	left, _ := filepath.Glob(filepath.Join(folder, "*", "*incomplete"))
	if temps, _ := filepath.Glob(filepath.Join(folder, "*", "*.tmp")); len(left)+len(temps) > 0 {
		t.Errorf("%v %v are left", left, temps)
	}
}

func TestOffline(t *testing.T) {
	w := newWorld(t, server.Options{})
	id := w.fetched(t, "config.json")
	w.http.Close()
	before := len(w.line.sent)
	off := w.again(t, Config{Cache: w.client.config.Cache, Offline: true})
	for _, revision := range []string{"1", id} {
		if got, err := read(off, revision, "config.json"); err != nil || got != "{}" {
			t.Errorf("%s: %q, %v", revision, got, err)
		}
	}
	var missing *hub.NotFoundError
	for _, c := range [][2]string{{"1", "model.safetensors"}, {"2", "config.json"}, {"../../x", "config.json"}} {
		if _, err := read(off, c[0], c[1]); !errors.As(err, &missing) {
			t.Errorf("%v: %v", c, err)
		}
	}
	if _, err := off.Tags(ctx); fault.KindOf(err) != fault.Network || !strings.Contains(err.Error(), "HF_HUB_OFFLINE") {
		t.Errorf("tags: %v", err)
	}
	if len(w.line.sent) != before {
		t.Errorf("offline, %v was sent", w.line.sent[before:])
	}
}

// TestCachedDamage changes bytes in the cache: they are noticed, and fetched
// anew where that is possible.
func TestCachedDamage(t *testing.T) {
	w := newWorld(t, server.Options{})
	id := w.fetched(t, "model.safetensors")
	cache := w.client.config.Cache
	blob := filepath.Join(cache, "models--lockstep--nano", "blobs", etagOf("weights one"))
	if err := os.WriteFile(blob, []byte("weights ONE"), 0o644); err != nil {
		t.Fatal(err)
	}
	off := w.again(t, Config{Cache: cache, Offline: true})
	if got, err := read(off, "1", "model.safetensors"); fault.KindOf(err) != fault.Damaged {
		t.Errorf("offline: %q, %v", got, err)
	}
	for _, revision := range []string{"1", id} {
		if got, err := read(w, revision, "model.safetensors"); err != nil || got != "weights one" {
			t.Errorf("online, %s: %q, %v", revision, got, err)
		}
	}
	// What an interrupted download left is gone on with, or dropped if it is wrong.
	for _, left := range []string{"weigh", "WEIGH", "weights one", "weights one and more"} {
		os.Remove(blob)
		if err := os.WriteFile(blob+".lockstep.incomplete", []byte(left), 0o644); err != nil {
			t.Fatal(err)
		}
		if got, err := read(w, "1", "model.safetensors"); err != nil || got != "weights one" {
			t.Errorf("with %q there: %q, %v", left, got, err)
		}
	}
}

// TestManyReaders opens one file by several clients of one cache at once: it is
// fetched once.
func TestManyReaders(t *testing.T) {
	w := newWorld(t, server.Options{})
	if _, err := push(w, 1, epochOne); err != nil {
		t.Fatal(err)
	}
	w.line.sent = nil
	var group sync.WaitGroup
	for range 4 {
		r := w.again(t, Config{Cache: w.client.config.Cache})
		group.Go(func() {
			if got, err := read(r, "1", "model.safetensors"); err != nil || got != "weights one" {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
	group.Wait()
	if n := w.line.count("GET"); n != 1 {
		t.Errorf("fetched %d times", n)
	}
}

// TestServerWithoutRanges resumes from a server that sends everything again.
func TestServerWithoutRanges(t *testing.T) {
	w := newWorld(t, server.Options{})
	if _, err := push(w, 1, epochOne); err != nil {
		t.Fatal(err)
	}
	gets := 0
	w.line.fault = func(r *http.Request, _ int) *mishap {
		if !has("GET", "/resolve/")(r) {
			return nil
		}
		r.Header.Del("Range")
		if gets++; gets < 3 {
			return &mishap{cut: 5}
		}
		return nil
	}
	if got, err := read(w, "1", "model.safetensors"); err != nil || got != "weights one" || gets != 3 {
		t.Errorf("%q, %v, %d requests", got, err, gets)
	}
}

// python runs statements with huggingface_hub's d (download a file) and s (a
// snapshot) of repository r, on the world's Hub and cache. It skips the test where
// there is no huggingface_hub.
func (w *world) python(t *testing.T, script string, env ...string) {
	t.Helper()
	python := cmp.Or(os.Getenv("TEST_PYTHON"), "python3")
	if err := exec.Command(python, "-c", "import huggingface_hub").Run(); err != nil {
		t.Skipf("skipped: %s has no huggingface_hub; TEST_PYTHON may name one that has", python)
	}
	cmd := exec.CommandContext(t.Context(), python, "-c", "from huggingface_hub import hf_hub_download as d, snapshot_download as s; r = 'lockstep/nano'\n"+script)
	cmd.Env = append(os.Environ(), "HF_ENDPOINT="+w.http.URL, "HF_HUB_CACHE="+w.client.config.Cache, "HF_HUB_OFFLINE=0", "HF_HUB_DISABLE_TELEMETRY=1")
	cmd.Env = append(cmd.Env, env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// TestPythonSharesTheCache reads with each language what the other has fetched,
// without a network: by links, and by copies where there are none.
func TestPythonSharesTheCache(t *testing.T) {
	defer func() { symlink = os.Symlink }()
	for _, links := range []bool{true, false} {
		var env []string
		if symlink = os.Symlink; !links {
			env = []string{"HF_HUB_DISABLE_SYMLINKS=1", "HF_HUB_DISABLE_SYMLINKS_WARNING=1"}
			symlink = func(string, string) error { return errors.ErrUnsupported }
		}
		w := newWorld(t, server.Options{})
		id := w.fetched(t, "config.json")
		offline := "HF_HUB_OFFLINE=1"
		w.python(t, "assert open(d(r, 'config.json', revision='1')).read() == '{}'", append(env, offline)...)
		w.python(t, "d(r, 'model.safetensors', revision='1'); s(r, revision='1')", env...)
		if info, err := os.Lstat(w.cache().snapshot(id, "model.safetensors")); err != nil || info.Mode().IsRegular() == links {
			t.Fatalf("links: %v; %v, %v", links, info, err)
		}
		off := w.again(t, Config{Cache: w.client.config.Cache, Offline: true})
		got, err := contents(off, "1")
		delete(got, ".gitattributes")
		if want := map[string]string{"config.json": "{}", "model.safetensors": "weights one", "README.md": "# one"}; err != nil || !maps.Equal(got, want) {
			t.Errorf("links: %v; %v, %v", links, got, err)
		}
		w.python(t, "assert sorted(__import__('os').listdir(s(r, revision='1'))) == ['.gitattributes', 'README.md', 'config.json', 'model.safetensors']", append(env, offline)...)
	}
}
