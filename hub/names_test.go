package hub

import (
	"bytes"
	"strings"
	"testing"

	"lockstep/internal/fault"
	"lockstep/internal/merkle"
)

func TestCheckPath(t *testing.T) {
	for _, path := range []string{"a", "config.json", "a/b/c", ".gitattributes", "..a", "a..b", "...", "é/ü", "a b", "a@1", "-x", strings.Repeat("x", 255), "ab:c/d", "git"} {
		if err := CheckPath(path); err != nil {
			t.Errorf("%q: %v", path, err)
		}
	}
	for _, path := range []string{"", "/", "/a", "a/", "a//b", ".", "..", "a/../b", "../a", "a/.", "./a", `a\b`, `..\a`, "a\x00b", "a\nb", "\x7f", "\u0085", "\xff",
		"C:a", "c:/a", ".git", ".git/config", "a/.GIT/b", strings.Repeat("x", 256), strings.Repeat("abc/", 300) + "d"} {
		if err := CheckPath(path); fault.KindOf(err) != fault.Damaged || len(err.Error()) > 500 {
			t.Errorf("%q: %v", clip(path), err)
		}
	}
}

func TestEpochTags(t *testing.T) {
	for _, tag := range []string{"0", "1", "10", "18446744073709551615"} {
		if n, ok := EpochOfTag(tag); !ok || EpochTag(n) != tag {
			t.Errorf("%q is %d, %v", tag, n, ok)
		}
	}
	for _, tag := range []string{"", "00", "01", "+1", "-1", "1_0", "0x1", "1.0", "1 ", "18446744073709551616", "v1"} {
		if n, ok := EpochOfTag(tag); ok {
			t.Errorf("%q is taken for epoch %d", tag, n)
		}
	}
}

func TestDecodeRecordIsStrict(t *testing.T) {
	valid := record{parent: strings.Repeat("0", 40), message: "m", files: []FileInfo{{Path: "a", Size: 1, SHA256: merkle.Digest{1}}, {Path: "b/c", Size: 2, SHA256: merkle.Digest{2}}}}.encode()
	if _, err := decodeRecord(valid); err != nil {
		t.Fatal(err)
	}
	if _, err := decodeRecord((record{}).encode()); err != nil {
		t.Errorf("an empty first commit: %v", err)
	}
	digest := merkle.Digest{1}.String()
	for _, c := range []struct{ name, old, new, says string }{
		{"another format", "lockstep-commit-1", "lockstep-commit-2", "format"},
		{"unknown field", `"message"`, `"time": "now", "message"`, "time"},
		{"unknown field of a file", `"size": 1`, `"size": 1, "mode": "x"`, "mode"},
		{"field twice", `"message"`, `"message": "", "message"`, "twice"},
		{"short digest", digest, digest[:62], "digest"},
		{"size as a fraction", `"size": 1`, `"size": 1.5`, "fraction"},
		{"bad parent", strings.Repeat("0", 40), "main", "parent"},
		{"bad path", `"a"`, `"../a"`, "segment"},
		{"out of order", `"a"`, `"z"`, "order"},
		{"path twice", `"b/c"`, `"a"`, "order"},
		{"file and folder", `"b/c"`, `"a/c"`, "folder"},
		{"other spacing", `{"path"`, `{ "path"`, "canonical"},
		{"other escapes", `"m"`, `"\u006d"`, "canonical"},
		{"text behind", "]\n}\n", "]\n}\n{}", "after"},
		{"no final line feed", "]\n}\n", "]\n}", "canonical"},
		{"not UTF-8", `"m"`, "\"\xff\"", "UTF-8"},
		{"empty", string(valid), "", "object"},
		{"long message", `"m"`, `"` + strings.Repeat("m", maxMessage+1) + `"`, "message"},
	} {
		bad := bytes.Replace(valid, []byte(c.old), []byte(c.new), 1)
		if bytes.Equal(bad, valid) {
			t.Fatalf("%s: nothing was replaced", c.name)
		}
		if _, err := decodeRecord(bad); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.says)
		}
	}
	upper := bytes.Replace((record{files: []FileInfo{{Path: "a", Size: 1, SHA256: merkle.Digest{0xab}}}}).encode(), []byte("ab00"), []byte("AB00"), 1)
	if _, err := decodeRecord(upper); err == nil || !strings.Contains(err.Error(), "canonical") {
		t.Errorf("digest in upper case: %v", err)
	}
	many := record{files: make([]FileInfo, maxFiles+1)}
	if _, err := decodeRecord(many.encode()); err == nil || !strings.Contains(err.Error(), "files") {
		t.Errorf("too many files: %v", err)
	}
}

// FuzzDecodeRecord checks that whatever is accepted is canonical and safe.
func FuzzDecodeRecord(f *testing.F) {
	f.Add([]byte(nil))
	f.Add((record{}).encode())
	f.Add(record{parent: strings.Repeat("a", 40), message: "é\n\"", files: []FileInfo{{Path: "a", Size: 1, SHA256: merkle.Digest{1}}, {Path: "b/c", Size: 2, SHA256: merkle.Digest{2}}}}.encode())
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := decodeRecord(data)
		if err != nil {
			return
		}
		if !bytes.Equal(r.encode(), data) {
			t.Fatalf("%q is accepted, but is written as %q", data, r.encode())
		}
		for _, file := range r.files {
			if CheckPath(file.Path) != nil {
				t.Fatalf("the path %q is accepted", file.Path)
			}
		}
	})
}
