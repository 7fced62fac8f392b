package hub

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"lockstep/internal/fault"
	"lockstep/internal/merkle"
)

var ctx = context.Background()

func newDirectory(t testing.TB) *Directory {
	t.Helper()
	d, err := createDirectory(ctx, filepath.Join(t.TempDir(), "hub", "model"), laxDisk{})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func commit(t testing.TB, r Repository, parent, message string, add ...Content) Commit {
	t.Helper()
	c, err := r.Commit(ctx, CommitRequest{Parent: parent, Message: message, Add: add})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func text(path, s string) Content { return Bytes(path, []byte(s)) }

func read(r Repository, revision, path string) (string, error) {
	f, err := r.Open(ctx, revision, path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err == nil && int64(len(b)) != f.Size() {
		err = fmt.Errorf("%d bytes, said to have %d", len(b), f.Size())
	}
	return string(b), err
}

func TestCommitListOpen(t *testing.T) {
	d := newDirectory(t)
	first := commit(t, d, "", "one", text("config.json", "{}"), text("a/b.txt", "b"), text("a-b", ""))
	second := commit(t, d, first.ID, "two", text("config.json", "{1}"))
	third, err := d.Commit(ctx, CommitRequest{Parent: second.ID, Message: "three", Delete: []string{"a/b.txt"}, Add: []Content{text("a/c.txt", "b")}})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ revision, files string }{
		{first.ID, "a-b= a/b.txt=b config.json={}"},
		{second.ID[:7], "a-b= a/b.txt=b config.json={1}"},
		{"main", "a-b= a/c.txt=b config.json={1}"},
		{"", "a-b= a/c.txt=b config.json={1}"},
		{"HEAD", "a-b= a/c.txt=b config.json={1}"},
	} {
		files, err := d.List(ctx, c.revision)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, f := range files {
			s, err := read(d, c.revision, f.Path)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, f.Path+"="+s)
		}
		if strings.Join(got, " ") != c.files {
			t.Errorf("%q: %v, want %s", c.revision, got, c.files)
		}
	}
	if got, err := d.Resolve(ctx, "main"); err != nil || got != third || got.Parent != second.ID || got.Message != "three" {
		t.Errorf("main is %+v, %v", got, err)
	}
	blobs, _ := os.ReadDir(d.path(blobsDir))
	if len(blobs) != 4 { // {}, {1}, b (twice), nothing
		t.Errorf("%d blobs for four different contents", len(blobs))
	}
}

// TestCommitIDsAreReproducible pins the format: these ids, computed from
// FORMATS.md's text with another program's SHA-256, may only change with the
// format's name.
func TestCommitIDsAreReproducible(t *testing.T) {
	for range 2 {
		d := newDirectory(t)
		first := commit(t, d, "", "epoch 1\n\"quoted\" é", text("config.json", "{}"), text("a/b", "hello"))
		second := commit(t, d, first.ID, "", text("c", ""))
		if first.ID != "99df8242afaba4d3b612b0f81c8699662a38d261" || second.ID != "f649c6ecc02f04b59088fb9f3081ce5e7e41a29b" {
			raw, _ := os.ReadFile(d.path(commitsDir, first.ID+".json"))
			t.Errorf("ids %s and %s\n%s", first.ID, second.ID, raw)
		}
	}
}

func TestCommitWithoutChangeIsTheParent(t *testing.T) {
	d := newDirectory(t)
	first := commit(t, d, "", "one", text("a", "1"))
	if again := commit(t, d, first.ID, "other message", text("a", "1")); again != first {
		t.Errorf("got %+v", again)
	}
	if _, err := d.Commit(ctx, CommitRequest{Parent: first.ID}); err != nil {
		t.Error(err)
	}
}

func TestCommitRefuses(t *testing.T) {
	d := newDirectory(t)
	head := commit(t, d, "", "one", text("dir/file", "1"), text("file", "2"))
	ok := text("a", "1")
	wrongSize := Content{Path: "a", Size: 3, Write: text("", "12").Write}
	tooMuch := Content{Path: "a", Size: 1, Write: text("", "12").Write}
	wrongDigest := Content{Path: "a", Size: 1, SHA256: merkle.Digest{1}, Write: text("", "1").Write}
	broken := Content{Path: "a", Size: 1, Write: func(io.Writer) error { return errors.New("source broke") }}
	for _, c := range []struct {
		name    string
		request CommitRequest
		kind    fault.Kind
		says    string
	}{
		{"parent is a branch", CommitRequest{Parent: "main", Add: []Content{ok}}, fault.Usage, "parent"},
		{"path twice", CommitRequest{Parent: head.ID, Add: []Content{ok, ok}}, fault.Usage, "twice"},
		{"added and deleted", CommitRequest{Parent: head.ID, Add: []Content{text("file", "3")}, Delete: []string{"file"}}, fault.Usage, "twice"},
		{"bad path", CommitRequest{Parent: head.ID, Add: []Content{text("../a", "")}}, fault.Usage, "segment"},
		{"negative size", CommitRequest{Parent: head.ID, Add: []Content{{Path: "a", Size: -1}}}, fault.Usage, "-1"},
		{"delete what is not there", CommitRequest{Parent: head.ID, Delete: []string{"b"}}, fault.Config, `no file "b"`},
		{"file becomes folder", CommitRequest{Parent: head.ID, Add: []Content{text("file/x", "")}}, fault.Usage, "folder"},
		{"folder becomes file", CommitRequest{Parent: head.ID, Add: []Content{text("dir", "")}}, fault.Usage, "folder"},
		{"long message", CommitRequest{Parent: head.ID, Message: strings.Repeat("x", maxMessage+1), Add: []Content{ok}}, fault.Usage, "message"},
		{"message not UTF-8", CommitRequest{Parent: head.ID, Message: "\xff", Add: []Content{ok}}, fault.Usage, "UTF-8"},
		{"too few bytes", CommitRequest{Parent: head.ID, Add: []Content{wrongSize}}, fault.Unexpected, "1 fewer"},
		{"too many bytes", CommitRequest{Parent: head.ID, Add: []Content{tooMuch}}, fault.Unexpected, "more bytes"},
		{"other digest", CommitRequest{Parent: head.ID, Add: []Content{wrongDigest}}, fault.Unexpected, "promised"},
		{"broken source", CommitRequest{Parent: head.ID, Add: []Content{broken}}, fault.Unexpected, "source broke"},
	} {
		_, err := d.Commit(ctx, c.request)
		if err == nil || fault.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: got %v (%v), want %q (%v)", c.name, err, fault.KindOf(err), c.says, c.kind)
		}
		if now, _ := d.Resolve(ctx, "main"); now != head {
			t.Fatalf("%s: main moved", c.name)
		}
	}
	if left, _ := os.ReadDir(d.path(unfinishedDir)); len(left) != 0 {
		t.Errorf("%d unfinished files are left", len(left))
	}
}

func TestCommitOnAnOldHead(t *testing.T) {
	d := newDirectory(t)
	first := commit(t, d, "", "one", text("a", "1"))
	second := commit(t, d, first.ID, "two", text("a", "2"))
	for _, parent := range []string{"", first.ID, strings.Repeat("0", 40)} {
		_, err := d.Commit(ctx, CommitRequest{Parent: parent, Add: []Content{text("a", "3")}})
		var moved *HeadMovedError
		if !errors.As(err, &moved) || moved.Head != second.ID || moved.Expected != parent || fault.KindOf(err) != fault.Refused {
			t.Errorf("parent %q: got %v", parent, err)
		}
	}
	// The head may also move while the contents are being written.
	slow := Content{Path: "a", Size: 1, Write: func(w io.Writer) error {
		commit(t, d, second.ID, "between", text("b", "x"))
		_, err := w.Write([]byte("3"))
		return err
	}}
	_, err := d.Commit(ctx, CommitRequest{Parent: second.ID, Add: []Content{slow}})
	var moved *HeadMovedError
	if !errors.As(err, &moved) {
		t.Errorf("got %v", err)
	}
}

func TestTags(t *testing.T) {
	d := newDirectory(t)
	a := commit(t, d, "", "a", text("x", "1"))
	b := commit(t, d, a.ID, "b", text("x", "2"))
	for _, name := range []string{"10", "v1.0", "9", "007", "100", "1", "Z", a.ID[:8]} {
		if err := d.Tag(ctx, name, a.ID); err != nil {
			t.Fatal(err)
		}
	}
	tags, err := d.Tags(ctx)
	var names []string
	for _, tag := range tags {
		names = append(names, tag.Name)
	}
	want := []string{"1", "9", "10", "100", "007", "Z", a.ID[:8], "v1.0"}
	slices.SortFunc(want[4:], strings.Compare)
	if err != nil || !slices.Equal(names, want) {
		t.Errorf("tags %q, %v; want %q", names, err, want)
	}
	if err := d.Tag(ctx, "10", a.ID); err != nil {
		t.Errorf("the same tag again: %v", err)
	}
	err = d.Tag(ctx, "10", b.ID)
	var exists *TagExistsError
	if !errors.As(err, &exists) || exists.Commit != a.ID || fault.KindOf(err) != fault.Refused {
		t.Errorf("another commit: %v", err)
	}
	if err := d.Tag(ctx, "11", strings.Repeat("0", 40)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a commit that is not there: %v", err)
	}
	for _, name := range []string{"", ".", "..", ".x", "-x", "_x", "a/b", `a\b`, "a b", "a\x00", "é", "x.", "x..y", "x.lock", "main", "HEAD", a.ID, strings.Repeat("x", 97)} {
		if err := d.Tag(ctx, name, a.ID); fault.KindOf(err) != fault.Usage {
			t.Errorf("tag %q: %v", name, err)
		}
	}
	if err := d.Tag(ctx, "x", "main"); fault.KindOf(err) != fault.Usage {
		t.Errorf("tagging a branch: %v", err)
	}
	epoch, tag, ok, err := newestEpoch(ctx, d)
	if epoch != 100 || tag.Commit != a.ID || !ok || err != nil {
		t.Errorf("newest epoch %d, %v, %v, %v", epoch, tag, ok, err)
	}
}

func TestResolveMeansOneThing(t *testing.T) {
	d := newDirectory(t)
	if _, err := d.Resolve(ctx, "main"); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "empty") {
		t.Errorf("empty repository: %v", err)
	}
	// Commits until two ids share seven digits would be many; two files whose
	// names do are enough for the look-up.
	a := commit(t, d, "", "a", text("x", "1"))
	twin := a.ID[:10] + strings.Repeat("0", 30)
	if err := os.WriteFile(d.path(commitsDir, twin+".json"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := d.Resolve(ctx, a.ID[:7])
	if fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), "2 commits") {
		t.Errorf("ambiguous: %v", err)
	}
	if got, err := d.Resolve(ctx, a.ID[:11]); err != nil || got != a {
		t.Errorf("eleven digits: %v, %v", got, err)
	}
	if err := d.Tag(ctx, a.ID[:7], a.ID); err != nil {
		t.Fatal(err)
	}
	if got, err := d.Resolve(ctx, a.ID[:7]); err != nil || got != a {
		t.Errorf("a tag that looks like an id: %v, %v", got, err)
	}
	for _, revision := range []string{"2", "maine", a.ID[:6], strings.ToUpper(a.ID), strings.Repeat("f", 40), strings.Repeat("f", 8), "../main", "refs/heads/main", "main\x00", strings.Repeat("x", 5000)} {
		if _, err := d.Resolve(ctx, revision); !errors.Is(err, fs.ErrNotExist) || fault.KindOf(err) != fault.Config || len(err.Error()) > 500 {
			t.Errorf("revision %q: %v", clip(revision), err)
		}
	}
	if _, err := d.Open(ctx, "main", "nothing"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
}

func TestOpenAndCreateDirectory(t *testing.T) {
	dir := t.TempDir()
	if _, err := OpenDirectory(dir); !errors.Is(err, fs.ErrNotExist) || IsRepository(dir) {
		t.Errorf("opening an empty folder: %v", err)
	}
	first, err := CreateDirectory(dir)
	if err != nil {
		t.Fatal(err)
	}
	head := commit(t, first, "", "one", text("a", "1"))
	second, err := CreateDirectory(dir)
	if err != nil || !IsRepository(dir) {
		t.Fatal(err)
	}
	if got, err := second.Resolve(ctx, "main"); err != nil || got != head {
		t.Errorf("creating again: %v, %v", got, err)
	}
	other := t.TempDir()
	os.WriteFile(filepath.Join(other, "thesis.tex"), nil, 0o644)
	if _, err := CreateDirectory(other); fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), "thesis.tex") {
		t.Errorf("a folder in use: %v", err)
	}
	file := filepath.Join(other, "thesis.tex")
	if _, err := CreateDirectory(file); err == nil {
		t.Error("a file became a repository")
	}
	if _, err := CreateDirectory(filepath.Join(file, "x")); err == nil {
		t.Error("a repository below a file")
	}
	os.WriteFile(filepath.Join(dir, markerFile), []byte(`{"format": "lockstep-repository-9"}`), 0o644)
	if _, err := OpenDirectory(dir); fault.KindOf(err) != fault.Damaged || !strings.Contains(err.Error(), "repository-9") {
		t.Errorf("another format: %v", err)
	}
}

func TestDamageIsFound(t *testing.T) {
	d := newDirectory(t)
	content := bytes.Repeat([]byte("weights "), 1000)
	head := commit(t, d, "", "one", Bytes("model.safetensors", content))
	if err := d.Tag(ctx, "1", head.ID); err != nil {
		t.Fatal(err)
	}
	files, _ := d.List(ctx, "main")
	open := func() error { _, err := d.Open(ctx, "1", "model.safetensors"); return err }
	resolve := func() error { _, err := d.Resolve(ctx, "1"); return err }
	tags := func() error { _, err := d.Tags(ctx); return err }
	flip := func(b []byte) []byte { b[len(b)/2] ^= 1; return b }
	for _, c := range []struct {
		name, path string
		change     func([]byte) []byte
		try        func() error
	}{
		{"blob, one bit", "blobs/" + files[0].SHA256.String(), flip, open},
		{"blob, cut", "blobs/" + files[0].SHA256.String(), func(b []byte) []byte { return b[:100] }, open},
		{"blob, longer", "blobs/" + files[0].SHA256.String(), func(b []byte) []byte { return append(b, 0) }, open},
		{"blob, gone", "blobs/" + files[0].SHA256.String(), nil, open},
		{"commit, one bit", "commits/" + head.ID + ".json", flip, resolve},
		{"commit, empty", "commits/" + head.ID + ".json", func([]byte) []byte { return nil }, resolve},
		{"commit, gone", "commits/" + head.ID + ".json", nil, resolve},
		{"commit, gigantic", "commits/" + head.ID + ".json", func([]byte) []byte { return make([]byte, maxRecord+2) }, resolve},
		{"tag, one bit", "refs/tags/1", func(b []byte) []byte { b[3] ^= 0x80; return b }, tags},
		{"tag, cut", "refs/tags/1", func(b []byte) []byte { return b[:20] }, tags},
		{"tag, no line feed", "refs/tags/1", func(b []byte) []byte { return b[:40] }, resolve},
		{"tag, longer", "refs/tags/1", func(b []byte) []byte { return append(b, "\n"...) }, resolve},
		{"main, empty", "refs/heads/main", func([]byte) []byte { return nil }, func() error { _, err := d.Resolve(ctx, ""); return err }},
	} {
		path := d.path(filepath.FromSlash(c.path))
		good, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if c.change == nil {
			os.Remove(path)
		} else {
			os.WriteFile(path, c.change(bytes.Clone(good)), 0o644)
		}
		err = c.try()
		if fault.KindOf(err) != fault.Damaged || !strings.Contains(err.Error(), filepath.Base(path)) {
			t.Errorf("%s: got %v", c.name, err)
		}
		os.WriteFile(path, good, 0o644)
		if err := c.try(); err != nil {
			t.Errorf("%s: repaired, yet %v", c.name, err)
		}
	}
	// A damaged blob that was removed comes back with the next push of its bytes.
	os.Remove(d.path(blobsDir, files[0].SHA256.String()))
	again := Bytes("copy", content)
	again.SHA256 = files[0].SHA256
	commit(t, d, head.ID, "heal", again)
	if err := open(); err != nil {
		t.Error(err)
	}
}

func TestCancelledContext(t *testing.T) {
	d := newDirectory(t)
	head := commit(t, d, "", "one", text("a", "1"))
	dead, cancel := context.WithCancel(ctx)
	cancel()
	_, err1 := d.Resolve(dead, "main")
	_, err2 := d.Open(dead, "main", "a")
	_, err3 := d.Commit(dead, CommitRequest{Parent: head.ID, Add: []Content{text("a", "2")}})
	for i, err := range []error{err1, err2, err3, Sleep(dead, 0)} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("call %d: %v", i, err)
		}
	}
	held, err := lock(ctx, d.path(refsLock), false)
	if err != nil {
		t.Fatal(err)
	}
	defer held.unlock()
	soon, cancel := context.WithTimeout(ctx, 20e6)
	defer cancel()
	if _, err := d.Commit(soon, CommitRequest{Parent: head.ID, Add: []Content{text("a", "2")}}); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), refsLock) {
		t.Errorf("waiting for a lock: %v", err)
	}
}

// newestEpoch returns the highest epoch that has a tag.
func newestEpoch(ctx context.Context, repo Repository) (epoch uint64, tag Tag, ok bool, err error) {
	tags, err := repo.Tags(ctx)
	if err != nil {
		return 0, Tag{}, false, err
	}
	for _, t := range tags {
		if n, isEpoch := EpochOfTag(t.Name); isEpoch {
			epoch, tag, ok = n, t, true // tags are in ascending order
		}
	}
	return epoch, tag, ok, nil
}
