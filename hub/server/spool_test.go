package server

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestCommitsAreNotHeldInMemory reads commits whose contents are long, or many:
// little of them stays in memory, what comes back is what went in, and there is
// no file that a killed server would leave behind.
func TestCommitsAreNotHeldInMemory(t *testing.T) {
	const part = maxInMemory / 8
	for name, sizes := range map[string][]int{
		"one long content":   {3 * maxInMemory},
		"many contents":      {part, part, part, part, part, part, part, part, part, part, part, 1, 0, part},
		"just what fits":     {maxInMemory - 1, 1},
		"one byte too much":  {maxInMemory, 1},
		"across both places": {maxInMemory - 1, 5},
	} {
		lines := []string{header("x", "")}
		for i, size := range sizes {
			content := strings.Repeat(string(rune('a'+i)), size)
			lines = append(lines, `{"key":"file","value":{"path":"x","encoding":"utf-8","content":"`+content+`"}}`)
		}
		folder := t.TempDir()
		ops, err := readOperations(strings.NewReader(strings.Join(lines, "\n")), folder, 1<<30)
		if err != nil {
			t.Fatal(err)
		}
		if held := cap(ops.contents.memory); held > 2*maxInMemory {
			t.Errorf("%s: %d bytes stay in memory", name, held)
		}
		if left, _ := filepath.Glob(filepath.Join(folder, "*")); len(left) > 0 && removesOpenFiles(t) {
			t.Errorf("%s: a kill would leave %v", name, left)
		}
		for i, f := range ops.files {
			got, err := io.ReadAll(f.content.reader())
			if want := strings.Repeat(string(rune('a'+i)), sizes[i]); err != nil || string(got) != want {
				t.Errorf("%s: content %d has %d bytes of %d, %v", name, i, len(got), len(want), err)
			}
		}
		ops.close()
		if left, _ := filepath.Glob(filepath.Join(folder, "*")); len(left) > 0 {
			t.Errorf("%s: left behind: %v", name, left)
		}
	}
	s, _ := newModel(t, Options{})
	content := strings.Repeat("0123456789abcdef", maxInMemory/8)
	s.commit("a/m", "big", "big.txt", content)
	if r := s.must(200, "GET", "/a/m/resolve/main/big.txt", ""); r.text() != content {
		t.Errorf("%d bytes came back of %d", len(r.body), len(content))
	}
}

// removesOpenFiles reports whether this system lets open files be removed.
func removesOpenFiles(t *testing.T) bool {
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	return os.Remove(f.Name()) == nil
}

// TestStartClearsSpools leaves what a killed server may leave, and starts one.
func TestStartClearsSpools(t *testing.T) {
	root := t.TempDir()
	folder := filepath.Join(root, uploadsDir)
	if err := os.Mkdir(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, spooledPrefix+"123"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := New(root, Options{}); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(folder); err != nil || len(left) > 0 {
		t.Errorf("%d files are left, %v", len(left), err)
	}
}
