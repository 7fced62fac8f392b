package swarm

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"lockstep/hub"
	"lockstep/internal/fault"
	"lockstep/internal/merkle"
	"lockstep/internal/signed"
	"lockstep/internal/spec"
	"lockstep/model"
	"lockstep/swarm/control"
)

// testState returns a nano state of an epoch, filled from its number.
func testState(t testing.TB, epoch uint64) *model.State {
	t.Helper()
	c, _ := model.Builtin("nano")
	s := model.NewState(model.Initialise(c, epoch))
	s.Epoch, s.Step = epoch, epoch
	for i := range s.M {
		s.M[i], s.V[i] = float32(i%7)*0.5, float32(epoch)
	}
	return s
}

func unsigned(control.State) signed.Envelope { return nil }

func TestArchive(t *testing.T) {
	fingerprint := merkle.Digest{1}
	a := &archive{dir: t.TempDir(), save: hub.SaveState, backlog: 9}
	defer a.close()
	put := func(epoch, tagged uint64) *digests {
		s := testState(t, epoch)
		d := digestsOf(fingerprint, spec.RunID{1}, s)
		if lost, err := a.put(t.Context(), s, d, nil, tagged); err != nil || len(lost) > 0 {
			t.Fatal(lost, err)
		}
		return d
	}
	for epoch := uint64(1); epoch <= 5; epoch++ {
		put(epoch, min(epoch-1, 2)) // from epoch 3 on nothing is pushed any more
	}
	for epoch := uint64(1); epoch <= 5; epoch++ {
		theta := testState(t, epoch).Theta
		x := make([]float32, len(theta))
		err := a.weights(t.Context(), epoch, x)
		if kept := epoch > 1; (err == nil) != kept || x[100] != theta[100] && kept { // 2 is the newest that is pushed, the rest is not
			t.Errorf("weights of epoch %d: %v", epoch, err)
		}
		s, shown := a.get(epoch)
		if shown != (epoch > 3) {
			t.Errorf("epoch %d is shown: %v", epoch, shown)
		}
		if !shown {
			continue
		}
		for v := range vectors {
			raw, err := s.chunk(v, 0)
			g := merkle.Grid{Kind: vectors[v].kind, Codec: merkle.CodecF32, Elements: s.file.Elements}
			if err != nil || !leavesFit(g, s.leaves[v], 0, g.Leaves(), raw) {
				t.Errorf("epoch %d, %s: %v", epoch, vectors[v].name, err)
			}
		}
	}
	want := put(6, 6)
	var gone *LostEpoch
	if err := a.weights(t.Context(), 4, nil); !errors.As(err, &gone) || gone.Epoch != 4 {
		t.Errorf("weights whose epoch is pushed, with two newer ones there: %v", err)
	}

	b := &archive{dir: a.dir, save: hub.SaveState}
	defer b.close()
	s := testState(t, 0)
	d, skipped, err := b.load(t.Context(), fingerprint, spec.RunID{1}, s, unsigned)
	if err != nil || len(skipped) > 0 || d.root != want.root || s.Epoch != 6 || s.M[8] != 0.5 {
		t.Errorf("loaded epoch %d, %v, %v", s.Epoch, skipped, err)
	}
	if _, _, err := (&archive{dir: a.dir}).load(t.Context(), merkle.Digest{2}, spec.RunID{1}, s, unsigned); fault.KindOf(err) != fault.Fingerprint {
		t.Errorf("a state of another run: %v", err)
	}
}

func TestArchiveGoesBackOverDamage(t *testing.T) {
	fingerprint := merkle.Digest{1}
	a := &archive{dir: t.TempDir(), save: hub.SaveState}
	defer a.close()
	for _, epoch := range []uint64{1, 2} {
		s := testState(t, epoch)
		if _, err := a.put(t.Context(), s, digestsOf(fingerprint, spec.RunID{1}, s), nil, 0); err != nil {
			t.Fatal(err)
		}
	}
	paths, _ := filepath.Glob(filepath.Join(a.dir, "state-2-*"))
	raw, err := os.ReadFile(paths[0])
	if err != nil {
		t.Fatal(err)
	}
	raw[len(raw)-1] ^= 1
	if err := os.WriteFile(paths[0], raw, 0o644); err != nil {
		t.Fatal(err)
	}
	s := testState(t, 0)
	d, skipped, err := a.load(t.Context(), fingerprint, spec.RunID{1}, s, unsigned)
	if err != nil || s.Epoch != 1 || len(skipped) != 1 || d == nil {
		t.Errorf("epoch %d, skipped %v, %v", s.Epoch, skipped, err)
	}
	empty := &archive{dir: t.TempDir()}
	if d, _, err := empty.load(t.Context(), fingerprint, spec.RunID{1}, s, unsigned); d != nil || err != nil {
		t.Errorf("nothing saved: %v, %v", d, err)
	}
}

func TestArchiveOnAFullDisk(t *testing.T) {
	a := &archive{dir: t.TempDir(), save: func(context.Context, string, hub.State, int) (string, error) {
		return "", &os.PathError{Op: "write", Path: "state", Err: syscall.ENOSPC}
	}}
	s := testState(t, 1)
	if _, err := a.put(t.Context(), s, digestsOf(merkle.Digest{1}, spec.RunID{1}, s), nil, 0); fault.KindOf(err) != fault.Environment {
		t.Errorf("%v (%v)", err, fault.KindOf(err))
	}
}

// TestBacklogHasAnEnd: states wait for the repository in bounded numbers, and
// where the disk is full before, in fewer. The oldest go first, and are named.
func TestBacklogHasAnEnd(t *testing.T) {
	room := 9
	a := &archive{dir: t.TempDir(), backlog: 4}
	a.save = func(ctx context.Context, dir string, s hub.State, keep int) (string, error) {
		if stored, _ := a.stored(); len(stored) >= room {
			return "", &hub.SpaceError{Path: dir, Need: 1}
		}
		return hub.SaveState(ctx, dir, s, keep)
	}
	defer a.close()
	var lost []uint64
	for epoch := uint64(1); epoch <= 8; epoch++ {
		if epoch == 7 {
			room = 3
		}
		s := testState(t, epoch)
		more, err := a.put(t.Context(), s, digestsOf(merkle.Digest{1}, spec.RunID{1}, s), nil, 1)
		if err != nil {
			t.Fatal(err)
		}
		lost = append(lost, more...)
	}
	stored, err := a.stored()
	if !slices.Equal(stored, []uint64{6, 7, 8}) || !slices.Equal(lost, []uint64{2, 3, 4, 5}) || err != nil {
		t.Errorf("stored %v, lost %v, %v", stored, lost, err)
	}
	room = 2
	s := testState(t, 9)
	if _, err := a.put(t.Context(), s, digestsOf(merkle.Digest{1}, spec.RunID{1}, s), nil, 1); fault.KindOf(err) != fault.Environment {
		t.Errorf("no room for a third state: %v", err)
	}
	if stored, _ := a.stored(); !slices.Equal(stored, []uint64{7, 8}) {
		t.Errorf("what catching up needs is gone: %v", stored)
	}
}

func TestDigestsNameTheState(t *testing.T) {
	s := testState(t, 3)
	d := digestsOf(merkle.Digest{1}, spec.RunID{1}, s)
	if d.root != s.Root() || d.Epoch != 3 || d.Step != 3 {
		t.Errorf("%+v, root %s", d.State, d.root)
	}
	s.V[5]++
	if digestsOf(merkle.Digest{1}, spec.RunID{1}, s).root == d.root {
		t.Error("another state has the same root")
	}
}
