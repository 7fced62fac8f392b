package hub

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lockstep/internal/fault"
)

func TestShortFormInTheFolderOfAServer(t *testing.T) {
	dir := t.TempDir()
	make := func(path string) string {
		t.Helper()
		path = filepath.Join(dir, filepath.FromSlash(path))
		if _, err := CreateDirectory(path); err != nil {
			t.Fatal(err)
		}
		return path
	}
	nano := make("models/lockstep/nano")
	make("models/a/both")
	make("models/b/both")
	plain := make("plain")
	make("models/lockstep/plain")
	for in, want := range map[string]ModelName{
		"nano":   {InFolder, nano, ""},
		"nano@3": {InFolder, nano, "3"},
		"both@3": {InFolder, filepath.Join(dir, "both"), "3"}, // whose is not said
		"none":   {InFolder, filepath.Join(dir, "none"), ""},
		"plain":  {InFolder, plain, ""}, // what is there comes first
	} {
		if got, err := ParseModel(filepath.Join(dir, in)); err != nil || got != want {
			t.Errorf("%s: %+v, %v; want %+v", in, got, err, want)
		}
	}
}

func TestParseModel(t *testing.T) {
	folders := map[string]folder{"D/hub/NAME": someFolder, "owner/name": someFolder, "mine": modelFolder, "nano": someFolder,
		"a@b": someFolder, "a@b/c": someFolder, "./x@y": someFolder, "gpt2@main": noFolder}
	look := func(path string) folder { return folders[path] }
	for _, c := range []struct {
		in   string
		want ModelName
	}{
		{"tiny", ModelName{Builtin, "tiny", ""}},
		{"distilgpt2", ModelName{Builtin, "distilgpt2", ""}},
		{"nano", ModelName{Builtin, "nano", ""}}, // a folder without a model does not hide it
		{"mine", ModelName{InFolder, "mine", ""}},
		{"distilbert/distilgpt2", ModelName{OnHub, "distilbert/distilgpt2", ""}},
		{"distilbert/distilgpt2@2290a62", ModelName{OnHub, "distilbert/distilgpt2", "2290a62"}},
		{"gpt2@main", ModelName{OnHub, "gpt2", "main"}},
		{"o/n@refs/pr/1", ModelName{OnHub, "o/n", "refs/pr/1"}},
		{"o/n@feature/x", ModelName{OnHub, "o/n", "feature/x"}},
		{"o/n_1.2-b@v1.0", ModelName{OnHub, "o/n_1.2-b", "v1.0"}},
		{"owner/name", ModelName{InFolder, "owner/name", ""}},
		{"owner/name@3", ModelName{InFolder, "owner/name", "3"}},
		{"D/hub/NAME@3", ModelName{InFolder, "D/hub/NAME", "3"}},
		{"D/hub/NAME", ModelName{InFolder, "D/hub/NAME", ""}},
		{"mine@10", ModelName{InFolder, "mine", "10"}},
		{"./x", ModelName{InFolder, "./x", ""}},
		{"./x@3", ModelName{InFolder, "./x", "3"}},
		{"../x@main", ModelName{InFolder, "../x", "main"}},
		{"/x/y@" + strings.Repeat("a", 40), ModelName{InFolder, "/x/y", strings.Repeat("a", 40)}},
		{".", ModelName{InFolder, ".", ""}},
		{"..", ModelName{InFolder, "..", ""}},
		{"a@b", ModelName{InFolder, "a@b", ""}},
		{"a@b/c", ModelName{InFolder, "a@b/c", ""}},
		{"a@b@3", ModelName{InFolder, "a@b", "3"}},
		{"./x@y", ModelName{InFolder, "./x@y", ""}},
		{"./p@q/r", ModelName{InFolder, "./p@q/r", ""}},
	} {
		got, err := parseModel(c.in, look)
		if err != nil || got != c.want {
			t.Errorf("%q: %+v, %v; want %+v", c.in, got, err, c.want)
			continue
		}
		if again, err := parseModel(got.String(), look); err != nil || again != got {
			t.Errorf("%q, written as %q, reads as %+v, %v", c.in, got, again, err)
		}
	}
	for _, in := range []string{"", "@", "@3", "gpt2@", "o/n@", "./x@", "./x@a b", "a/b/c", "a/b/c@1", "/", "a//b", "a/", "-a/b", "a/b.", "a/b..c", "a/b--c", "a/b.git",
		"o/n@a@b", "o/n@a b", "o/n@..", "o/n@a?b", "ö/n", "a\x00b", "\xff", "a\nb/c", strings.Repeat("a", 97) + "/b", strings.Repeat("a", 5000), "o/n@" + strings.Repeat("r", 257), "D/hub/NAME@a/b"} {
		if in == "/" {
			continue // the root folder is a folder
		}
		if got, err := parseModel(in, look); fault.KindOf(err) != fault.Usage || len(err.Error()) > 500 {
			t.Errorf("%q: %+v, %v", clip(in), got, err)
		}
	}
}

func TestParseModelLooksAtTheDisk(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, dir := range []string{"nano", "mine", "run/hub"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	os.WriteFile(filepath.Join("mine", configFile), []byte("{}"), 0o644)
	if _, err := CreateDirectory("run/hub/tiny"); err != nil {
		t.Fatal(err)
	}
	if _, err := CreateDirectory("repo"); err != nil {
		t.Fatal(err)
	}
	for in, want := range map[string]ModelName{
		"nano":           {Builtin, "nano", ""},
		"mine":           {InFolder, "mine", ""},
		"repo":           {InFolder, "repo", ""},
		"repo@3":         {InFolder, "repo", "3"},
		"run/hub":        {InFolder, "run/hub", ""},
		"run/hub/tiny@3": {InFolder, "run/hub/tiny", "3"},
		"run/tiny":       {OnHub, "run/tiny", ""},
		"mine/config":    {OnHub, "mine/config", ""},
	} {
		if got, err := ParseModel(in); err != nil || got != want {
			t.Errorf("%q: %+v, %v; want %+v", in, got, err, want)
		}
	}
}

// FuzzParseModel checks that what is accepted reads the same when written, that
// a Hub id has the Hub's form, and that a revision of a folder is one.
func FuzzParseModel(f *testing.F) {
	for _, s := range []string{"tiny", "distilbert/distilgpt2@2290a62", "./x@3", "D/hub/NAME@3", "a@b@c", "/", "..", "o/n@refs/pr/1", "\xff", "@"} {
		f.Add(s, "D/hub/NAME")
	}
	f.Fuzz(func(t *testing.T, name, existing string) {
		look := func(path string) folder {
			if path == existing {
				return modelFolder
			}
			return noFolder
		}
		m, err := parseModel(name, look)
		if err != nil {
			if fault.KindOf(err) != fault.Usage {
				t.Fatalf("%q: %v has the kind %v", name, err, fault.KindOf(err))
			}
			return
		}
		switch m.Kind {
		case Builtin:
			if strings.ContainsAny(name, "/@") || m.Revision != "" {
				t.Fatalf("%q is built in: %+v", name, m)
			}
		case OnHub:
			if strings.Count(m.Name, "/") > 1 || strings.Contains(m.Name, "..") || strings.HasPrefix(m.Name, "/") {
				t.Fatalf("%q is on the Hub: %+v", name, m)
			}
		}
		if again, err := parseModel(m.String(), look); err != nil || again != m {
			t.Fatalf("%q is %+v; written as %q it is %+v, %v", name, m, m, again, err)
		}
	})
}
