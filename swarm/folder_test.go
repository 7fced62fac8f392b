package swarm

import (
	"errors"
	"os"
	"strings"
	"testing"

	"lockstep/internal/fault"
	"lockstep/internal/merkle"
	"lockstep/internal/spec"
)

func TestFolderBelongsToOneRun(t *testing.T) {
	run, _ := testRun(t)
	f := Folder(t.TempDir())
	release, err := f.Open(run)
	if err != nil {
		t.Fatal(err)
	}
	if filePrivacy { // where there are locks
		if _, err := f.Open(run); fault.KindOf(err) != fault.Config {
			t.Errorf("a second process: %v", err)
		}
	}
	release()
	release, err = f.Open(run)
	if err != nil {
		t.Fatalf("the same run again: %v", err)
	}
	release()
	back, err := f.LoadRun()
	if err != nil || back.Fingerprint() != run.Fingerprint() {
		t.Errorf("run.json holds %v, %v", back, err)
	}
	other := *run
	other.Assignment.Sequences++
	_, err = f.Open(&other)
	var different *DifferentRun
	if !errors.As(err, &different) || fault.KindOf(err) != fault.Fingerprint || !strings.Contains(err.Error(), "assignment.sequences is 5 here, 4 there") {
		t.Errorf("another run: %v", err)
	}
	release, err = f.Open(run) // a refusal leaves nothing locked
	if err != nil {
		t.Fatal(err)
	}
	release()
}

// TestKnownInit: a folder's run keeps the name of its weights, whether it has one
// or not; other weights are another run's.
func TestKnownInit(t *testing.T) {
	const one, two = "a/b@0123456789abcdef0123456789abcdef01234567", "a/b@76543210fedcba9876543210fedcba9876543210"
	weights := func(root byte, base string) spec.Init {
		return spec.Init{Kind: "weights", Parameters: merkle.Digest{root}, BaseModel: base}
	}
	asked := weights(1, two)
	for _, c := range []struct{ before, want spec.Init }{
		{weights(1, one), weights(1, one)},
		{weights(1, ""), weights(1, "")},
		{weights(2, one), asked},
		{spec.Init{Kind: "seed"}, asked},
	} {
		run, _ := testRun(t)
		run.Init = c.before
		f := Folder(t.TempDir())
		if got, err := f.KnownInit(asked); err != nil || got != asked {
			t.Errorf("in an empty folder: %+v, %v", got, err)
		}
		if err := f.CheckRun(run); err != nil {
			t.Fatal(err)
		}
		if got, err := f.KnownInit(asked); err != nil || got != c.want {
			t.Errorf("where it was %+v: %+v, %v", c.before, got, err)
		}
	}
	f := Folder(t.TempDir())
	if err := os.WriteFile(f.Run(), []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := f.KnownInit(asked); fault.KindOf(err) != fault.Damaged {
		t.Errorf("of a damaged run spec: %v", err)
	}
}

func TestDamagedRunFile(t *testing.T) {
	run, _ := testRun(t)
	for name, text := range map[string]string{
		"no JSON":       "{",
		"unknown field": `{"format":"lockstep-run-1","colour":"blue"}`,
		"huge":          strings.Repeat(" ", maxRunFile+1),
	} {
		f := Folder(t.TempDir())
		if err := os.WriteFile(f.Run(), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := f.Open(run); fault.KindOf(err) != fault.Damaged {
			t.Errorf("%s: %v", name, err)
		}
	}
}
