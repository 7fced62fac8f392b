package swarm

import (
	"errors"
	"os"
	"strings"
	"testing"

	"lockstep/internal/fault"
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
