package swarm

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"lockstep/internal/fault"
	"lockstep/internal/spec"
)

// forget removes everything from a node's folder but its key.
func forget(t *testing.T, f Folder) {
	t.Helper()
	entries, err := os.ReadDir(string(f))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if path := filepath.Join(string(f), e.Name()); path != f.Key() {
			if err := os.RemoveAll(path); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// files lists what a folder holds, by path.
func files(t *testing.T, dir string) (out []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			out = append(out, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestValidatorBegunAnew deletes the folder of a validator, but for its key, and
// starts it again under its miners. It leads another run: what they hold of the
// first one stays with the first one, and new folders get the same states.
func TestValidatorBegunAnew(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, 2, 0, 2)
	v := n.validator(func(c *ValidatorConfig) { c.Epochs = 0 }) // it goes on
	alive, other := n.miner(0), n.miner(1)
	second := n.await("validator", func(e Event) bool { s, ok := e.(Settled); return ok && s.Epoch == 2 })
	v.kill()
	_ = v.wait()
	first, err := n.folder("validator").loadRunID()
	if err != nil || first.IsZero() || second == nil {
		t.Fatalf("run %s, %v", first, err)
	}
	var before []string
	for _, c := range all[Committed](n, "validator") {
		before = append(before, c.State.String())
	}
	other.kill()
	_ = other.wait()
	forget(t, n.folder("validator"))
	v = n.validator()

	// A miner that was there all the time, and one that comes back.
	held := files(t, string(n.folder(name(1))))
	for i, m := range []*running{alive, n.miner(1)} {
		err := m.wait()
		if fault.KindOf(err) != fault.Fingerprint || !strings.Contains(err.Error(), string(n.folder(name(i)))) || !strings.Contains(err.Error(), first.Short()) {
			t.Errorf("miner %d: %v (%v)", i, err, fault.KindOf(err))
		}
	}
	if now := files(t, string(n.folder(name(1)))); !slices.Equal(now, held) {
		t.Errorf("the folder holds %v, before %v", now, held)
	}
	if again, err := n.folder("validator").loadRunID(); err != nil || again == first {
		t.Errorf("run %s again, %v", again, err)
	}

	for i := range 2 {
		forget(t, n.folder(name(i)))
	}
	miners := n.miners()
	n.ended(n.finish(v), miners...)
	if got := roots(v.summary); !slices.Equal(got, before[:2]) {
		t.Errorf("roots %v, in the first run %v", got, before)
	}
}

// TestFolderKnowsItsRun spoils the folder of a validator between two starts.
func TestFolderKnowsItsRun(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, 1, 0, 2)
	v, m := n.validator(), n.miner(0)
	n.ended(n.finish(v), m)
	f := n.folder("validator")
	aside := filepath.Join(t.TempDir(), "kept")
	for name, tt := range map[string]struct {
		file string
		text string // put in its place; nothing where empty
		says string
	}{
		"no journal":          {f.Journal(leaderName), "", "could decide an epoch twice"},
		"empty journal":       {f.Journal(leaderName), "lockstep/journal/1\n", "knows of epoch 0 only"},
		"no run id":           {f.RunID(), "", "says of which run"},
		"no run id at all":    {f.RunID(), "nothing\n", "not a run id"},
		"the zero run id":     {f.RunID(), spec.RunID{}.String() + "\n", "not a run id"},
		"another folder's id": {f.RunID(), spec.RunID{1}.String() + "\n", "of run"},
	} {
		if err := os.Rename(tt.file, aside); err != nil {
			t.Fatal(err)
		}
		if tt.text != "" {
			if err := os.WriteFile(tt.file, []byte(tt.text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		r := n.start(func(c *ValidatorConfig) { c.Epochs = 3 })
		if err := r.wait(); fault.KindOf(err) != fault.Damaged || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v (%v)", name, err, fault.KindOf(err))
		}
		if err := os.Rename(aside, tt.file); err != nil {
			t.Fatal(err)
		}
	}
	if err := n.start().wait(); err != nil {
		t.Errorf("the folder as it was: %v", err)
	}
}
