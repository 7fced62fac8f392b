package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"lockstep/hub"
)

// runTrain trains in this process and returns what it prints as JSON.
func runTrain(t *testing.T, args ...string) trained {
	t.Helper()
	var out, errs bytes.Buffer
	line := append([]string{"train", "--json"}, args...)
	if code := run(line, &out, &errs); code != 0 {
		t.Fatalf("lockstep %v: exit code %d\n%s", line, code, &errs)
	}
	var r trained
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatalf("%v in %s", err, &out)
	}
	return r
}

// killedTrain starts a process that trains, and kills it a moment after its
// n-th step line, if it lives so long.
func killedTrain(t *testing.T, n int, moment time.Duration, args ...string) {
	t.Helper()
	cmd := exec.Command(os.Args[0], append([]string{"train"}, args...)...)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	lines := bufio.NewScanner(stderr)
	for n > 0 && lines.Scan() {
		said.WriteString(lines.Text() + "\n")
		if strings.HasPrefix(lines.Text(), "step ") {
			n--
		}
	}
	time.Sleep(moment)
	cmd.Process.Kill()
	io.Copy(&said, stderr)
	if cmd.Wait(); cmd.ProcessState.ExitCode() > 0 {
		t.Fatalf("lockstep train %v: exit code %d\n%s", args, cmd.ProcessState.ExitCode(), &said)
	}
}

// contents returns the digests of each tag's files.
func contents(t *testing.T, root string) map[string][]hub.FileInfo {
	t.Helper()
	repo, err := hub.OpenDirectory(root)
	if err != nil {
		t.Fatal(err)
	}
	tags, err := repo.Tags(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]hub.FileInfo{}
	for _, tag := range tags {
		if out[tag.Name], err = repo.List(context.Background(), tag.Name); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// TestTrainGoesOnAfterKills kills a training process at random points. However
// often that happens, the run ends with the state root and the tags, byte for
// byte, of one that nobody disturbed.
func TestTrainGoesOnAfterKills(t *testing.T) {
	kills := 10
	if testing.Short() {
		kills = 3
	}
	steps := strconv.Itoa(3 * kills)
	work := t.TempDir()
	calm, dir := filepath.Join(work, "calm"), filepath.Join(work, "killed")
	want := runTrain(t, "--steps", steps, "--dir", calm)

	random := rand.New(rand.NewPCG(38, 1))
	for range kills {
		saveEvery := []string{"0s", "0s", "20ms", "1h"}[random.IntN(4)]
		killedTrain(t, random.IntN(5), time.Duration(random.IntN(40))*time.Millisecond,
			"--steps", steps, "--dir", dir, "--resume", "--save-every", saveEvery)
	}
	got := runTrain(t, "--steps", steps, "--dir", dir, "--resume")
	if got.StateRoot != want.StateRoot || got.Steps != want.Steps || got.Tokens != want.Tokens {
		t.Errorf("state %s after %d steps and %d tokens; undisturbed %s after %d and %d",
			got.StateRoot.Short(), got.Steps, got.Tokens, want.StateRoot.Short(), want.Steps, want.Tokens)
	}
	tags, wanted := contents(t, filepath.Join(dir, "hub", "nano")), contents(t, filepath.Join(calm, "hub", "nano"))
	if len(tags) != len(wanted) {
		t.Errorf("%d tags, undisturbed %d", len(tags), len(wanted))
	}
	for name, files := range wanted {
		if !slices.Equal(tags[name], files) {
			t.Errorf("tag %s holds %v, undisturbed %v", name, tags[name], files)
		}
	}
}

// TestTrainResumeChecksTheState damages what was saved: the state before is
// used, and where none is left the command says so.
func TestTrainResumeChecksTheState(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	want := runTrain(t, "--steps", "4")
	runTrain(t, "--steps", "3", "--dir", dir, "--save-every", "0s")
	states := func() []string {
		paths, err := filepath.Glob(filepath.Join(dir, "state", "state-*"))
		if err != nil || len(paths) != keepStates {
			t.Fatalf("states %v, %v", paths, err)
		}
		return paths
	}
	damage := func(path string) {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		b[len(b)-1] ^= 1
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	damage(states()[1]) // the newest
	if got := runTrain(t, "--steps", "4", "--dir", dir, "--resume"); got.ResumedAt != 2 || got.StateRoot != want.StateRoot {
		t.Errorf("resumed at step %d, ended in %s; want 2, %s", got.ResumedAt, got.StateRoot.Short(), want.StateRoot.Short())
	}
	for _, path := range states() {
		damage(path)
	}
	var out, errs bytes.Buffer
	if code := run([]string{"train", "--dir", dir, "--resume"}, &out, &errs); code != 5 || !strings.Contains(errs.String(), "none of the 2 state files") {
		t.Errorf("exit code %d\n%s", code, &errs)
	}
}

// TestSwarmGoesOn interrupts a network, kills its supervisor, and lengthens it:
// it ends with the state roots of one that nobody disturbed.
func TestSwarmGoesOn(t *testing.T) {
	if testing.Short() {
		t.Skip("runs whole networks")
	}
	want := runSwarm(t, "--epochs", "12")
	dir := filepath.Join(t.TempDir(), "run")
	start := func(until string, args ...string) (*exec.Cmd, *bytes.Buffer) {
		cmd := exec.Command(os.Args[0], append([]string{"swarm", "--dir", dir}, args...)...)
		errs := &bytes.Buffer{}
		cmd.Stderr = errs
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		waitFor(t, "tag "+until, func() bool {
			return exists(filepath.Join(dir, "hub", "models", "lockstep", "nano", "refs", "tags", until))
		})
		return cmd, errs
	}
	cmd, errs := start("2", "--epochs", "10")
	cmd.Process.Signal(os.Interrupt)
	if cmd.Wait(); cmd.ProcessState.ExitCode() != 130 || !strings.Contains(errs.String(), "--resume --dir "+dir) {
		t.Fatalf("interrupted: exit code %d\n%s", cmd.ProcessState.ExitCode(), errs)
	}
	cmd, _ = start("5", "--resume")
	cmd.Process.Signal(syscall.SIGKILL)
	cmd.Wait() // its nodes are still about to leave

	cmd, errs = start("10", "--resume")
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v\n%s", err, errs)
	}
	var out bytes.Buffer
	if code := run([]string{"swarm", "--dir", dir, "--resume", "--epochs", "12", "--json"}, &out, errs); code != 0 {
		t.Fatalf("exit code %d\n%s", code, errs)
	}
	var got swarmed
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Epochs) != 12 {
		t.Fatalf("%d epochs", len(got.Epochs))
	}
	for i, e := range got.Epochs {
		if e.StateRoot != want.Epochs[i].StateRoot || e.Tag != want.Epochs[i].Tag {
			t.Errorf("epoch %+v; undisturbed %+v", e, want.Epochs[i])
		}
	}
}
