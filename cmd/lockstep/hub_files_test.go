package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"lockstep/hub/client"
)

// TestPullOffline pulls what the cache has into a folder, and says that it may
// not be all.
func TestPullOffline(t *testing.T) {
	newEndpoint(t)
	files := map[string][]byte{"config.json": []byte("{}"), "model.safetensors": []byte("weights")}
	lockstep(t, nil, "hub", "push", folderOf(t, files), "me/m", "--tag", "1")
	lockstep(t, nil, "hub", "pull", "me/m@1")
	t.Setenv("HF_HUB_OFFLINE", "1")
	to := filepath.Join(t.TempDir(), "pulled")
	var out, errs bytes.Buffer
	if code := run([]string{"hub", "pull", "me/m@1", "--to", to}, &out, &errs); code != 0 {
		t.Fatalf("exit code %d: %s", code, &errs)
	}
	if !strings.Contains(errs.String(), "may not be all") {
		t.Errorf("said %s", &errs)
	}
	for path, want := range files {
		if got, err := os.ReadFile(filepath.Join(to, path)); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %q, %v", path, got, err)
		}
	}
}

// TestUnusableToken: what no header can carry is a bad setting, not a bad network.
func TestUnusableToken(t *testing.T) {
	newEndpoint(t)
	t.Setenv("HF_TOKEN", "hf_\x1b[0m")
	var out, errs bytes.Buffer
	if code := run([]string{"hub", "ls", "me/m"}, &out, &errs); code != 3 {
		t.Errorf("exit code %d: %s", code, &errs)
	}
}

// TestPullPutsWholeFiles: a file that is there is the old one or the new one, also
// when the new one cannot be read to its end.
func TestPullPutsWholeFiles(t *testing.T) {
	target := filepath.Join(t.TempDir(), "model.safetensors")
	if err := os.WriteFile(target, []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	half := io.MultiReader(strings.NewReader("new"), iotest.ErrReader(errors.New("the line is dead")))
	if err := putFile(target, half); err == nil || !strings.Contains(err.Error(), "the line is dead") {
		t.Error(err)
	}
	if got, err := os.ReadFile(target); err != nil || string(got) != "old" {
		t.Errorf("after a failure %q, %v", got, err)
	}
	if err := putFile(target, strings.NewReader("new")); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(target); err != nil || string(got) != "new" {
		t.Errorf("%q, %v", got, err)
	}
	if left, err := os.ReadDir(filepath.Dir(target)); err != nil || len(left) != 1 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// TestPullsDoNotMeet looks at a folder while two copies of a file are on their way
// into it: each has a file of its own, and none would be published.
func TestPullsDoNotMeet(t *testing.T) {
	target := filepath.Join(t.TempDir(), "model.safetensors")
	inner := func() error { return putFile(target, strings.NewReader("inner")) }
	seen := 0
	look := func([]byte) (int, error) {
		if seen++; seen == 1 {
			if err := inner(); err != nil {
				t.Error(err)
			}
			if _, left, err := folderContents(filepath.Dir(target)); err != nil || len(left) != 1 {
				t.Errorf("left out: %v, %v", left, err)
			}
		}
		return 0, io.EOF
	}
	if err := putFile(target, io.MultiReader(strings.NewReader("outer"), readerFunc(look))); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(target); err != nil || string(got) != "outer" {
		t.Errorf("%q, %v", got, err)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// TestPushKeepsSecrets publishes a folder with hidden files and links: nothing is
// sent that is not plainly there.
func TestPushKeepsSecrets(t *testing.T) {
	newEndpoint(t)
	folder := folderOf(t, map[string][]byte{"config.json": []byte("{}"), ".env": []byte("KEY=1"), ".gitattributes": []byte("*.x filter=lfs\n")})
	sub := filepath.Join(folder, "sub")
	if err := errors.Join(os.Mkdir(sub, 0o755), os.WriteFile(filepath.Join(sub, "b"), []byte("b"), 0o644)); err != nil {
		t.Fatal(err)
	}
	outside := filepath.Join(t.TempDir(), "id_ed25519")
	if err := os.WriteFile(outside, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join("sub", "b"), filepath.Join(folder, "a")); err != nil {
		t.Skip(err)
	}
	deep := filepath.Join(folder, ".ssh", "old")
	if err := errors.Join(os.MkdirAll(deep, 0o755), os.WriteFile(filepath.Join(deep, "key"), []byte("secret"), 0o600)); err != nil {
		t.Fatal(err)
	}
	for link, target := range map[string]string{"notes.txt": ".env", "sub/more.txt": "../notes.txt", "key.txt": ".ssh/old/key", "rules.txt": ".gitattributes"} {
		if err := os.Symlink(filepath.FromSlash(target), filepath.Join(folder, filepath.FromSlash(link))); err != nil {
			t.Fatal(err)
		}
	}
	push := func(what string) (code int, said string) {
		var out, errs bytes.Buffer
		code = run([]string{"hub", "push", what, "me/m"}, &out, &errs)
		return code, errs.String()
	}
	if code, said := push(folder); code != 0 || !strings.Contains(said, "left out: .env, .ssh, key.txt, notes.txt, sub/more.txt\n") {
		t.Fatalf("exit code %d: %s", code, said)
	}
	var list listing
	lockstep(t, &list, "hub", "ls", "me/m", "--json")
	var names []string
	for _, f := range list.Files {
		names = append(names, f.Path)
	}
	if got := strings.Join(names, " "); got != ".gitattributes a config.json rules.txt sub/b" {
		t.Errorf("published %s", got)
	}
	link := filepath.Join(sub, "outside.txt")
	for _, target := range []string{outside, filepath.Dir(outside), filepath.Join("..", "..", filepath.Base(filepath.Dir(outside)), "id_ed25519"), "nowhere"} {
		if err := os.Symlink(target, link); err != nil {
			t.Fatal(err)
		}
		if code, said := push(folder); code != 2 || !strings.Contains(said, link) {
			t.Errorf("a link to %s: exit code %d: %s", target, code, said)
		}
		os.Remove(link)
	}
	if code, said := push(outside); code != 2 || !strings.Contains(said, "push the folder") {
		t.Errorf("a file: exit code %d: %s", code, said)
	}
}

// shown notes what a transfer shows.
type shown []string

func (s *shown) Progress(part float64, words ...string) {
	*s = append(*s, fmt.Sprintf("%.2f %s", part, strings.Join(words, "; ")))
}
func (s *shown) Status(format string, args ...any) { *s = append(*s, fmt.Sprintf(format, args...)) }
func (s *shown) Line(format string, args ...any)   { s.Status(format, args...) }

func TestShowTransfer(t *testing.T) {
	var s shown
	showTransfer(&s, client.Transfer{Path: "model.safetensors", Done: 1 << 20, Total: 4 << 20})
	showTransfer(&s, client.Transfer{Path: "a.bin", Upload: true, Done: 3 << 20, Total: 4 << 20})
	showTransfer(&s, client.Transfer{Path: "a.bin", Upload: true, Done: 4 << 20, Total: 4 << 20})
	want := []string{"0.25 1.0 MiB of 4.0 MiB; fetching model.safetensors", "0.75 3.0 MiB of 4.0 MiB; sending a.bin", "", "sending a.bin  4.0 MiB, done"}
	if !slices.Equal(s, want) {
		t.Errorf("%q", s)
	}
}
