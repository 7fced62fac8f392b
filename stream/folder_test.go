package stream

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"lockstep/internal/fault"
	"lockstep/stream/corpus"
)

// mixedFolder has files of all kinds and some that do not count.
func mixedFolder(t testing.TB) string {
	folder := t.TempDir()
	for name, text := range map[string]string{
		"b.txt":            "b1\n\nb2\n",
		"a/z.jsonl":        "{\"text\":\"z1\"}\n",
		"a/B.TXT":          "upper\n",
		"a.txt":            "a1\n",
		".hidden.txt":      "no\n",
		".git/a.txt":       "no\n",
		"README.md":        "no\n",
		"empty.txt":        "",
		"c/d/e/deep.jsonl": "{\"text\":\"deep\"}\n",
	} {
		write(t, folder, name, []byte(text))
	}
	write(t, folder, "p.parquet", parquetBytes(t, []string{"p1", "p2", "p3"}, 2))
	return folder
}

func TestFolderOrder(t *testing.T) {
	src := open(t, mixedFolder(t))
	var got []string
	for _, row := range all(t, src) {
		got = append(got, row.File+":"+row.Text)
	}
	want := "a.txt:a1 a/B.TXT:upper a/z.jsonl:z1 b.txt:b1 b.txt:b2 c/d/e/deep.jsonl:deep p.parquet:p1 p.parquet:p2 p.parquet:p3"
	if strings.Join(got, " ") != want {
		t.Errorf("rows are %q, want %q", strings.Join(got, " "), want)
	}
	if src.Name() != "mixed" || src.Rows() != 9 {
		t.Errorf("%s with %d rows", src.Name(), src.Rows())
	}
}

// TestIdentity: the same files elsewhere are the same source; any other name,
// content, row or file is another.
func TestIdentity(t *testing.T) {
	first, second := mixedFolder(t), mixedFolder(t)
	want := open(t, first).Identity()
	if open(t, second).Identity() != want {
		t.Error("a copy of the folder has another identity")
	}
	changes := map[string]func(folder string) error{
		"renamed": func(f string) error { return os.Rename(filepath.Join(f, "b.txt"), filepath.Join(f, "c.txt")) },
		"content": func(f string) error { return os.WriteFile(filepath.Join(f, "b.txt"), []byte("b1\n\nb3\n"), 0o666) },
		"row":     func(f string) error { return os.WriteFile(filepath.Join(f, "b.txt"), []byte("b1\n\n\n\n\n"), 0o666) },
		"removed": func(f string) error { return os.Remove(filepath.Join(f, "empty.txt")) },
		"parquet": func(f string) error {
			return os.WriteFile(filepath.Join(f, "p.parquet"), parquetBytes(t, []string{"p1", "p2", "other"}, 2), 0o666)
		},
	}
	for name, change := range changes {
		folder := mixedFolder(t)
		if err := change(folder); err != nil {
			t.Fatal(err)
		}
		if open(t, folder).Identity() == want {
			t.Errorf("%s: the identity stayed", name)
		}
	}
}

func TestSymbolicLinks(t *testing.T) {
	folder, elsewhere := t.TempDir(), t.TempDir()
	target := write(t, elsewhere, "blob", []byte("linked\n"))
	if err := os.Symlink(target, filepath.Join(folder, "a.txt")); err != nil {
		t.Skip("no symbolic links here")
	}
	if rows := all(t, open(t, folder)); len(rows) != 1 || rows[0].Text != "linked" {
		t.Errorf("a linked file: %+v", rows)
	}
	for name, to := range map[string]string{"loop": folder, "gone.txt": filepath.Join(elsewhere, "nothing")} {
		link := filepath.Join(folder, name)
		if err := os.Symlink(to, link); err != nil {
			t.Fatal(err)
		}
		_, err := Open(ctx, folder)
		if fault.KindOf(err) != fault.Config || !strings.Contains(err.Error(), link) {
			t.Errorf("%s: %v", name, err)
		}
		if err := os.Remove(link); err != nil {
			t.Fatal(err)
		}
	}
}

func TestNamesThatCannotBeOpened(t *testing.T) {
	folder := t.TempDir()
	write(t, folder, "README.md", []byte("text"))
	write(t, folder, "blank/only.txt", []byte("\n\n"))
	for name, want := range map[string]string{
		filepath.Join(folder, "missing"):   "no such file or folder",
		filepath.Join(folder, "README.md"): "must end in",
		filepath.Join(folder, "blank"):     "no rows",
	} {
		if _, err := Open(ctx, name); fault.KindOf(err) != fault.Config || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	empty := t.TempDir()
	if _, err := Open(ctx, empty); fault.KindOf(err) != fault.Config || !strings.Contains(err.Error(), "no file in the folder") {
		t.Errorf("an empty folder: %v", err)
	}
}

func TestTextRefusesRowsBeyondTheEnd(t *testing.T) {
	for _, src := range []Source{open(t, "builtin"), open(t, mixedFolder(t))} {
		if _, err := src.Text(ctx, src.Rows()); fault.KindOf(err) != fault.Config {
			t.Errorf("%s: %v", src.Name(), err)
		}
		stopped, cancel := context.WithCancel(ctx)
		cancel()
		if _, err := src.Text(stopped, 0); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", src.Name(), err)
		}
	}
}

func TestBuiltin(t *testing.T) {
	src := open(t, "builtin")
	row, err := src.Text(ctx, 77)
	if err != nil || row.Text != corpus.Text(77) || row.Digest != RowDigest(row.Text) {
		t.Errorf("%+v, %v", row, err)
	}
	if open(t, src.Name()).Identity() != src.Identity() || src.Identity() != corpus.Identity() {
		t.Error("the name with its version is another source")
	}
}

func TestConcurrentText(t *testing.T) {
	noLeak(t)
	src := open(t, mixedFolder(t))
	want := all(t, src)
	var wg sync.WaitGroup
	for g := range uint64(8) {
		wg.Go(func() {
			for i := range 200 * src.Rows() {
				at := (i*5 + g) % src.Rows()
				row, err := src.Text(ctx, at)
				if err != nil || row != want[at] {
					t.Errorf("row %d: %+v, %v", at, row, err)
					return
				}
			}
		})
	}
	wg.Wait()
}
