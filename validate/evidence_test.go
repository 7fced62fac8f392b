package validate

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"lockstep/internal/fault"
	"lockstep/internal/merkle"
	"lockstep/reduce/commit"
)

// random is the evidence against a miner whose claim is one ulp off.
func (w *world) random(t testing.TB) *Evidence {
	t.Helper()
	claim, gradient := w.compute(t, 1)
	wrong := flip(gradient, 20001)
	claim.Gradient = rootOf(wrong)
	return w.seal(t, w.judge(t, w.query(claim), &leaves{gradient: wrong}), nil)
}

func (w *world) honest(t testing.TB) *Evidence {
	t.Helper()
	claim, _ := w.compute(t, 0)
	return w.seal(t, w.judge(t, w.query(claim), nil), nil)
}

// written writes evidence and returns its folder.
func written(t testing.TB, e *Evidence) string {
	t.Helper()
	folder := Folder(t.TempDir(), e.Verdict.Epoch, e.Verdict.UID)
	if err := e.Write(folder); err != nil {
		t.Fatal(err)
	}
	return folder
}

func TestEvidenceRoundTrip(t *testing.T) {
	w := newWorld(t)
	for _, e := range []*Evidence{w.honest(t), w.random(t), w.switched(t)} {
		folder := written(t, e)
		got, err := ReadEvidence(folder)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.EqualFunc(got.files, e.files, equalFiles) || got.Validator != peer(validatorKey) {
			t.Error("read back otherwise than written")
		}
		if got.Verdict.Outcome != e.Verdict.Outcome || !slices.Equal(got.Rows, e.Rows) || got.Run.Fingerprint() != w.run.Fingerprint() {
			t.Error("parts changed on the way")
		}
		b, err := os.ReadFile(filepath.Join(folder, summaryFile))
		if err != nil {
			t.Fatal(err)
		}
		var s map[string]any
		if err := json.Unmarshal(b, &s); err != nil || s["outcome"] != e.Verdict.Outcome.String() {
			t.Errorf("summary %v, %s", err, b)
		}
	}
}

// TestRowsFileIsThePreimage: sha256sum of rows.bin is the claim's digest.
func TestRowsFileIsThePreimage(t *testing.T) {
	w := newWorld(t)
	e := w.honest(t)
	for _, p := range e.Verdict.Parts {
		if p.Name == rowsFile && p.Digest != e.Verdict.Found.Rows {
			t.Errorf("rows.bin has %s, the claim %s", p.Digest, e.Verdict.Found.Rows)
		}
	}
}

func TestWriteIsIdempotentAndReplaces(t *testing.T) {
	w := newWorld(t)
	honest, random := w.honest(t), w.random(t)
	folder := written(t, honest)
	note := filepath.Join(folder, "note.txt")
	if err := os.WriteFile(note, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := honest.Write(folder); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(note); err != nil {
		t.Error("the same evidence was written twice")
	}
	if err := random.Write(folder); err != nil {
		t.Fatal(err)
	}
	if got, err := ReadEvidence(folder); err != nil || got.Verdict.Outcome != Mismatch {
		t.Errorf("after replacing: %v", err)
	}
	left, err := os.ReadDir(filepath.Dir(folder))
	if err != nil || len(left) != 1 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestWriteTellsWhatFailed(t *testing.T) {
	w := newWorld(t)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "evidence"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := w.honest(t).Write(Folder(dir, 1, 0)); err == nil {
		t.Error("evidence was written into a file")
	}
}

// full is a file on a full disk.
type full struct{ diskFile }

func (full) Write([]byte) (int, error) { return 0, syscall.ENOSPC }

// TestFullDisk: each file in turn finds no room; what was there stays.
func TestFullDisk(t *testing.T) {
	w := newWorld(t)
	folder := written(t, w.honest(t))
	random := w.random(t)
	for n := range len(random.files) + 1 {
		err := random.write(folder, func(path string) (diskFile, error) {
			f, err := createFile(path)
			if n--; n < 0 {
				return full{f}, err
			}
			return f, err
		})
		if fault.KindOf(err) != fault.Environment || !strings.Contains(err.Error(), "no space is left for "+folder) {
			t.Fatalf("a full disk gives %v", err)
		}
		if got, err := ReadEvidence(folder); err != nil || got.Verdict.Outcome != Exact {
			t.Fatalf("the evidence that was there is gone: %v", err)
		}
		if left, _ := os.ReadDir(filepath.Dir(folder)); len(left) != 1 {
			t.Errorf("left behind: %v", left)
		}
	}
}

// TestKilledWhileReplacing: whatever a crash left beside a folder, there is one
// folder afterwards, whole.
func TestKilledWhileReplacing(t *testing.T) {
	w := newWorld(t)
	for _, replaced := range []bool{false, true} {
		dir := t.TempDir()
		folder := Folder(dir, 1, 0)
		beside := func(prefix string) string {
			return filepath.Join(filepath.Dir(folder), prefix+filepath.Base(folder))
		}
		want, fresh := w.honest(t), w.random(t)
		place := folder
		if !replaced {
			place = beside(newPrefix)
		}
		for _, e := range []*Evidence{fresh, want} {
			if err := e.Write(filepath.Join(dir, "elsewhere")); err != nil {
				t.Fatal(err)
			}
			if err := os.MkdirAll(filepath.Dir(folder), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(filepath.Join(dir, "elsewhere"), place); err != nil {
				t.Fatal(err)
			}
			place = beside(oldPrefix)
		}
		if replaced {
			want = fresh
		}
		if err := RestoreFolders(dir); err != nil {
			t.Fatal(err)
		}
		if got, err := ReadEvidence(folder); err != nil || got.Verdict.Outcome != want.Verdict.Outcome {
			t.Errorf("replaced %v: %v", replaced, err)
		}
		if left, _ := os.ReadDir(filepath.Dir(folder)); len(left) != 1 {
			t.Errorf("left behind: %v", left)
		}
	}
	if err := RestoreFolders(t.TempDir()); err != nil {
		t.Errorf("without evidence: %v", err)
	}
}

// TestMissingAndChangedParts: without any one part, or with any byte of one
// changed, nothing can be decided.
func TestMissingAndChangedParts(t *testing.T) {
	w := newWorld(t)
	for name, e := range map[string]*Evidence{"honest": w.honest(t), "random": w.random(t), "switched": w.switched(t)} {
		for i, f := range e.files {
			without := slices.Delete(slices.Clone(e.files), i, i+1)
			if _, err := parseEvidence(without); fault.KindOf(err) != fault.Undecided {
				t.Errorf("%s without %s: %v", name, f.name, err)
			}
			for at := 0; at < len(f.data); at += 1 + len(f.data)/40 {
				changed := slices.Clone(e.files)
				changed[i].data = bytes.Clone(f.data)
				changed[i].data[at] ^= 4
				if _, err := parseEvidence(changed); fault.KindOf(err) != fault.Undecided {
					t.Fatalf("%s with byte %d of %s changed: %v", name, at, f.name, err)
				}
			}
		}
		folder := written(t, e)
		if err := os.Remove(filepath.Join(folder, verdictFile)); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadEvidence(folder); fault.KindOf(err) != fault.Undecided {
			t.Errorf("%s without verdict: %v", name, err)
		}
	}
}

func TestStrangeParts(t *testing.T) {
	w := newWorld(t)
	random := w.random(t)
	folder := written(t, w.honest(t))
	for _, f := range random.files {
		if f.name != leafFile {
			continue
		}
		if err := os.WriteFile(filepath.Join(folder, leafFile), f.data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := ReadEvidence(folder); fault.KindOf(err) != fault.Undecided {
		t.Errorf("with a leaf that the verdict does not name: %v", err)
	}
	if err := os.WriteFile(filepath.Join(folder, runFile), make([]byte, capOf(runFile)+1), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadEvidence(folder); fault.KindOf(err) != fault.Undecided {
		t.Errorf("with a part without end: %v", err)
	}
	if _, err := ReadEvidence(filepath.Join(t.TempDir(), "none")); fault.KindOf(err) != fault.Config {
		t.Errorf("no folder: %v", err)
	}
}

// TestMixedFolders: parts that are whole, each from another case.
func TestMixedFolders(t *testing.T) {
	w := newWorld(t)
	honest, random := w.honest(t), w.random(t)
	claim := honest.files[0]
	for i, f := range random.files {
		if f.name == claim.name {
			files := slices.Clone(random.files)
			files[i] = claim
			if _, err := parseEvidence(files); fault.KindOf(err) != fault.Undecided {
				t.Errorf("with another's claim: %v", err)
			}
		}
	}
}

func FuzzVerdict(f *testing.F) {
	w := newWorld(f)
	f.Add([]byte(w.honest(f).Signed()))
	f.Add([]byte(w.random(f).Signed()))
	f.Fuzz(func(t *testing.T, b []byte) {
		v, _, err := OpenVerdict(b)
		if err == nil && v.check() != nil {
			t.Error("an impossible verdict was opened")
		}
	})
}

func FuzzEvidence(f *testing.F) {
	w := newWorld(f)
	for _, e := range []*Evidence{w.honest(f), w.random(f), w.switched(f)} {
		for _, p := range e.files {
			f.Add(p.name, p.data)
		}
	}
	f.Add(rowsFile, []byte(rowsHead+"\xff\xff\xff\xff\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, name string, b []byte) {
		e := new(Evidence)
		if err := e.parse(file{name, b}); err != nil {
			return
		}
		if name == rowsFile && !bytes.Equal(encodeRows(e.Rows), b) {
			t.Error("rows have two forms")
		}
		if e.Leaf != nil {
			e.Leaf.under(merkle.Digest{}, merkle.Grid{Kind: merkle.KindGradient, Codec: merkle.CodecF32, Elements: 1 << 20})
		}
		if e.Round != nil {
			commit.Judge(*e.Round)
		}
	})
}
