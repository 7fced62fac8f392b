package hub

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lockstep/internal/fault"
)

func TestOpenModel(t *testing.T) {
	base := t.TempDir()
	plain := filepath.Join(base, "plain")
	os.MkdirAll(filepath.Join(plain, "sub"), 0o755)
	os.WriteFile(filepath.Join(plain, configFile), []byte("{}"), 0o644)
	os.WriteFile(filepath.Join(plain, "sub", "x"), []byte("x"), 0o644)
	os.Symlink(filepath.Join(plain, "sub", "x"), filepath.Join(plain, "link"))
	d, err := createDirectory(ctx, filepath.Join(base, "repo"), laxDisk{})
	if err != nil {
		t.Fatal(err)
	}
	if err := pushEpochs(d, 1, 2); err != nil {
		t.Fatal(err)
	}
	show := func(m ModelName) string {
		s, err := OpenModel(ctx, m)
		if err != nil {
			return "error: " + err.Error()
		}
		files, err := s.List(ctx)
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, info := range files {
			f, err := s.Open(ctx, info.Path)
			if err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(f)
			f.Close()
			if err != nil || int64(len(b)) != info.Size || f.Size() != info.Size {
				t.Fatalf("%s: %d bytes, %v", info.Path, len(b), err)
			}
			out = append(out, info.Path+"="+string(b))
		}
		return strings.Join(out, " ")
	}
	for _, c := range []struct {
		in   ModelName
		want string
	}{
		{ModelName{InFolder, plain, ""}, "config.json={} link=x"},
		{ModelName{InFolder, d.root, "1"}, "config.json={} model.safetensors=weights one"},
		{ModelName{InFolder, d.root, ""}, "README.md= config.json={} model.safetensors=weights two"},
	} {
		if got := show(c.in); got != c.want {
			t.Errorf("%v: %s, want %s", c.in, got, c.want)
		}
	}
	for _, c := range []struct {
		in   ModelName
		kind fault.Kind
		says string
	}{
		{ModelName{InFolder, plain, "1"}, fault.Usage, "no revision 1"},
		{ModelName{InFolder, d.root, "3"}, fault.Config, `no revision "3"`},
		{ModelName{InFolder, base, ""}, fault.Config, "config.json"},
		{ModelName{InFolder, base + "/nowhere", ""}, fault.Config, "nowhere"},
		{ModelName{OnHub, "a/b", "1"}, fault.Usage, "a/b@1 names a model on the Hub"},
		{ModelName{Builtin, "tiny", ""}, fault.Usage, "built-in"},
	} {
		if _, err := OpenModel(ctx, c.in); fault.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%v: %v", c.in, err)
		}
	}
	s, err := OpenModel(ctx, ModelName{InFolder, plain, ""})
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]error{"nothing": fs.ErrNotExist, "../repo/" + markerFile: nil, "/etc/passwd": nil, "sub": nil} {
		if f, err := s.Open(ctx, path); err == nil || want != nil && !errors.Is(err, want) {
			t.Errorf("%s: %v, %v", path, f, err)
		}
	}
}

// TestSnapshotIsPinned: what main meant when a model was opened stays.
func TestSnapshotIsPinned(t *testing.T) {
	d := newDirectory(t)
	if err := pushEpochs(d, 1, 1); err != nil {
		t.Fatal(err)
	}
	s, err := OpenRevision(ctx, d, "model", "main")
	if err != nil {
		t.Fatal(err)
	}
	if err := pushEpochs(d, 2, 2); err != nil {
		t.Fatal(err)
	}
	f, err := s.Open(ctx, WeightsFile)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	tag, _ := d.Resolve(ctx, "1")
	if b, _ := io.ReadAll(f); string(b) != "weights one" || s.Revision() != tag.ID || s.Name() != "model@"+tag.ID[:10] {
		t.Errorf("%q at %s (%s)", b, s.Revision(), s.Name())
	}
}
