package hub

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"

	"lockstep/hub/safetensors"
	"lockstep/internal/fault"
	"lockstep/internal/merkle"
)

// stateAt makes a state of n parameters that differs with epoch and step.
func stateAt(epoch, step uint64, n int) State {
	s := State{Epoch: epoch, Step: step, Parameters: make([]float32, n), M: make([]float32, n), V: make([]float32, n),
		Extra: map[string]string{"fingerprint": "f", "ledger head": "é\n"}}
	for i := range n {
		s.Parameters[i] = float32(epoch) + float32(i)/16
		s.M[i] = -float32(step)
		s.V[i] = math.Float32frombits(uint32(i))
	}
	return s
}

func blank(n int) State {
	return State{Parameters: make([]float32, n), M: make([]float32, n), V: make([]float32, n)}
}

func save(t testing.TB, dir string, s State, keep int) string {
	t.Helper()
	path, err := saveState(ctx, laxDisk{}, dir, s, keep)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func stateFiles(t testing.TB, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		name := e.Name()
		if n, ok := parseStateName(e.Name()); ok {
			name = fmt.Sprintf("%d.%d", n.epoch, n.step)
		}
		names = append(names, name)
	}
	return strings.Join(names, " ")
}

func TestSaveThenLoad(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "node", "states")
	want := stateAt(3, 12, 100)
	path, err := SaveState(ctx, dir, want, 2)
	if err != nil {
		t.Fatal(err)
	}
	got := blank(100)
	loaded, err := LoadState(ctx, dir, &got)
	if err != nil || !reflect.DeepEqual(got, want) || loaded.Path != path || len(loaded.Skipped) != 0 {
		t.Errorf("%+v, %+v, %v", loaded, got, err)
	}
	if again := save(t, dir, want, 2); again != path {
		t.Errorf("the same state is another file: %s", again)
	}
	want.Extra = map[string]string{}
	save(t, dir, want, 1)
	if _, err := LoadState(ctx, dir, &got); err != nil || len(got.Extra) != 0 {
		t.Errorf("without extra: %v, %v", got.Extra, err)
	}
}

func TestSaveKeepsTheNewest(t *testing.T) {
	dir := t.TempDir()
	os.WriteFile(filepath.Join(dir, "notes.txt"), nil, 0o644)
	for i := range uint64(12) {
		save(t, dir, stateAt(i/2, i, 4), 3)
	}
	if got := stateFiles(t, dir); got != "notes.txt 4.9 5.10 5.11" {
		t.Errorf("left: %s", got)
	}
	// A node that went back to an earlier epoch has turned away from the later.
	save(t, dir, stateAt(4, 9, 5), 3)
	if got := stateFiles(t, dir); got != "notes.txt 4.9" {
		t.Errorf("after going back: %s", got)
	}
	s := blank(5)
	if _, err := LoadState(ctx, dir, &s); err != nil || s.Epoch != 4 {
		t.Errorf("loaded epoch %d, %v", s.Epoch, err)
	}
	if _, err := SaveState(ctx, dir, stateAt(5, 1, 5), 0); fault.KindOf(err) != fault.Usage {
		t.Errorf("keeping none: %v", err)
	}
	uneven := stateAt(6, 1, 5)
	uneven.V = uneven.V[:4]
	if _, err := SaveState(ctx, dir, uneven, 1); err == nil {
		t.Error("vectors of different length were saved")
	}
}

func TestLoadFallsBack(t *testing.T) {
	for name, damage := range map[string]func(path string, data []byte){
		"one bit":    func(path string, b []byte) { b[len(b)-1] ^= 1; os.WriteFile(path, b, 0o644) },
		"cut":        func(path string, b []byte) { os.WriteFile(path, b[:len(b)/2], 0o644) },
		"empty":      func(path string, b []byte) { os.WriteFile(path, nil, 0o644) },
		"header bit": func(path string, b []byte) { b[9] ^= 1; os.WriteFile(path, b, 0o644) },
		"zeros":      func(path string, b []byte) { os.WriteFile(path, make([]byte, len(b)), 0o644) },
		"longer":     func(path string, b []byte) { os.WriteFile(path, append(b, 0), 0o644) },
		"another one": func(path string, b []byte) {
			other, _ := filepath.Glob(filepath.Join(filepath.Dir(path), "state-1-*"))
			c, _ := os.ReadFile(other[0])
			os.WriteFile(path, c, 0o644)
		},
	} {
		dir := t.TempDir()
		save(t, dir, stateAt(1, 1, 50), 3)
		path := save(t, dir, stateAt(2, 2, 50), 3)
		good, _ := os.ReadFile(path)
		damage(path, bytes.Clone(good))
		s := blank(50)
		loaded, err := LoadState(ctx, dir, &s)
		if err != nil || !reflect.DeepEqual(s, stateAt(1, 1, 50)) || len(loaded.Skipped) != 1 || !strings.Contains(loaded.Skipped[0].Error(), filepath.Base(path)) {
			t.Errorf("%s: %+v, %v", name, loaded, err)
		}
		os.Remove(loaded.Path)
		if _, err := LoadState(ctx, dir, &s); fault.KindOf(err) != fault.Damaged || !strings.Contains(err.Error(), "none of the 1") {
			t.Errorf("%s, nothing else: %v", name, err)
		}
	}
	s := blank(50)
	for _, dir := range []string{t.TempDir(), filepath.Join(t.TempDir(), "nowhere")} {
		if _, err := LoadState(ctx, dir, &s); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("nothing to load: %v", err)
		}
	}
	dir := t.TempDir()
	save(t, dir, stateAt(1, 1, 49), 1)
	if _, err := LoadState(ctx, dir, &s); fault.KindOf(err) != fault.Config || !strings.Contains(err.Error(), "49 parameters, this one has 50") {
		t.Errorf("another model: %v", err)
	}
}

// TestStateFilesAreJudgedByTheirHeader renames valid safetensors files that are
// no states: the name's digest then fits, the contents do not.
func TestStateFilesAreJudgedByTheirHeader(t *testing.T) {
	three := func(names ...string) (out []safetensors.Tensor) {
		for _, n := range names {
			out = append(out, tensor(n, 1, 2))
		}
		return out
	}
	good := map[string]string{stateFormatKey: stateFormat, epochKey: "1", stepKey: "2"}
	with := func(key, value string) map[string]string {
		m := map[string]string{}
		for k, v := range good {
			m[k] = v
		}
		m[key] = value
		return m
	}
	uneven := three("parameters", "moment_m", "moment_v")
	uneven[2] = tensor("moment_v", 1)
	square := three("parameters", "moment_m", "moment_v")
	square[0].Shape = []int{2, 1}
	for _, c := range []struct {
		name     string
		metadata map[string]string
		tensors  []safetensors.Tensor
		says     string
	}{
		{"none", good, three("parameters", "moment_m", "moment_v"), ""},
		{"format", with(stateFormatKey, "9"), three("parameters", "moment_m", "moment_v"), "format"},
		{"no format", map[string]string{}, three("parameters", "moment_m", "moment_v"), "format"},
		{"epoch", with(epochKey, "2"), three("parameters", "moment_m", "moment_v"), "epoch or step"},
		{"step", with(stepKey, "-1"), three("parameters", "moment_m", "moment_v"), "epoch or step"},
		{"vector too few", good, three("parameters", "moment_m"), "three"},
		{"vector too many", good, three("parameters", "moment_m", "moment_v", "x"), "three"},
		{"vector renamed", good, three("parameters", "moment_m", "x"), "three"},
		{"parameters missing", good, three("x", "moment_m", "moment_v"), "three"},
		{"uneven", good, uneven, "equal length"},
		{"matrix", good, square, "equal length"},
	} {
		e, err := safetensors.NewEncoder(c.metadata, c.tensors)
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		path := filepath.Join(dir, stateName{1, 2, e.Digest()}.String())
		var b bytes.Buffer
		e.WriteTo(&b)
		os.WriteFile(path, b.Bytes(), 0o644)
		s := blank(2)
		_, err = LoadState(ctx, dir, &s)
		if c.says == "" && err != nil || c.says != "" && (fault.KindOf(err) != fault.Damaged || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestStateFileServesRanges(t *testing.T) {
	dir := t.TempDir()
	s := stateAt(7, 8, 1000)
	path := save(t, dir, s, 1)
	f, err := OpenState(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	save(t, dir, stateAt(8, 9, 1000), 1) // removes the file that is being served
	if f.Epoch != 7 || f.Step != 8 || f.Elements != 1000 || f.Extra["fingerprint"] != "f" {
		t.Errorf("%+v", f)
	}
	for v, want := range map[Vector][]float32{Parameters: s.Parameters, MomentM: s.M, MomentV: s.V} {
		dst := make([]float32, 300)
		if err := f.ReadRange(v, 700, dst); err != nil || !bytes.Equal(bits(dst), bits(want[700:])) {
			t.Errorf("%v: %v", v, err)
		}
	}
	if err := f.Verify(ctx); err != nil {
		t.Error(err)
	}
	for _, c := range []struct{ lo, n int }{{-1, 1}, {1000, 1}, {999, 2}, {math.MaxInt, 1}, {0, 1001}} {
		if err := f.ReadRange(Parameters, c.lo, make([]float32, c.n)); err == nil {
			t.Errorf("%d elements from %d on were read", c.n, c.lo)
		}
	}
	if err := f.ReadRange(0, 0, make([]float32, 1)); !errors.Is(err, safetensors.Missing) {
		t.Errorf("no vector: %v", err)
	}
	if _, err := OpenState(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a removed file: %v", err)
	}
	for _, name := range []string{"x", "state-1-2.safetensors", "state-01-2-" + strings.Repeat("0", 64) + ".safetensors", "state-1-2-3-" + strings.Repeat("0", 64) + ".safetensors"} {
		if _, err := OpenState(filepath.Join(dir, name)); fault.KindOf(err) != fault.Usage {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// saveWork saves epoch 2 over epoch 1 on the faulty disk and checks that one of
// the two is loaded; then that the next save mends everything.
func saveWork(t *testing.T, base string) func(string, *faultyDisk) func(uint64) error {
	return func(name string, disk *faultyDisk) func(uint64) error {
		dir := filepath.Join(base, name)
		one, two := stateAt(1, 1, 40), stateAt(2, 2, 40)
		save(t, dir, one, 1)
		_, saveErr := saveState(ctx, disk, dir, two, 1)
		return func(uint64) error {
			s := blank(40)
			loaded, err := LoadState(ctx, dir, &s)
			if err != nil || !reflect.DeepEqual(s, one) && !reflect.DeepEqual(s, two) || saveErr == nil && s.Epoch != 2 {
				return fmt.Errorf("saving said %v; loaded epoch %d, %+v, %v", saveErr, s.Epoch, loaded, err)
			}
			if len(loaded.Skipped) != 0 {
				return fmt.Errorf("saving left a damaged file: %v", loaded.Skipped)
			}
			if disk.fail == full && saveErr != nil && (fault.KindOf(saveErr) != fault.Environment || !errors.Is(saveErr, syscall.ENOSPC)) {
				return fmt.Errorf("a full disk was reported as %v", saveErr)
			}
			save(t, dir, stateAt(3, 3, 40), 1)
			if got := stateFiles(t, dir); got != "3.3" {
				return fmt.Errorf("after the next save: %s", got)
			}
			return os.RemoveAll(dir)
		}
	}
}

func TestSaveThroughFailures(t *testing.T) {
	for _, fail := range []failure{full, crash} {
		if err := everyStep(fail, nil, saveWork(t, t.TempDir())); err != nil {
			t.Error(err)
		}
	}
	for name, mutate := range map[string]func(*faultyDisk){
		"fsync":            func(d *faultyDisk) { d.forgetSync = true },
		"fsync of folders": func(d *faultyDisk) { d.forgetSyncDir = true },
	} {
		if err := everyStep(crash, mutate, saveWork(t, t.TempDir())); err == nil {
			t.Errorf("without %s nothing was found", name)
		}
	}
}

func TestSaveAsksForSpaceFirst(t *testing.T) {
	_, err := saveState(ctx, smallDisk{free: 100}, t.TempDir(), stateAt(1, 1, 1000), 1)
	var space *SpaceError
	if !errors.As(err, &space) || space.Need < 12000 || space.Free != 100 {
		t.Errorf("got %v", err)
	}
}

func tensor(name string, values ...float32) safetensors.Tensor {
	return safetensors.Tensor{Name: name, Shape: []int{len(values)}, Data: values}
}

// bits returns x's bit patterns: equality of numbers is not equality of bits.
func bits(x []float32) []byte { return merkle.AppendFloat32(nil, x) }
