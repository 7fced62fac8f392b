package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"lockstep/internal/f32"
)

// runSwarm runs a local network in this process's children and returns what it
// prints as JSON.
func runSwarm(t *testing.T, args ...string) swarmed {
	t.Helper()
	var out, errs bytes.Buffer
	line := append([]string{"swarm", "--json", "--dir", filepath.Join(t.TempDir(), "run")}, args...)
	if code := run(line, &out, &errs); code != 0 {
		t.Fatalf("lockstep %v: exit code %d\n%s", line, code, &errs)
	}
	var s swarmed
	if err := json.Unmarshal(out.Bytes(), &s); err != nil {
		t.Fatalf("%v in %s", err, &out)
	}
	return s
}

// TestSwarmKeepsItsPromise checks the main job as README tells it: the loss
// falls, every gradient is exact, all nodes agree, every epoch has its tag, and
// the state roots are the same on every instruction set.
func TestSwarmKeepsItsPromise(t *testing.T) {
	if testing.Short() {
		t.Skip("runs whole networks")
	}
	var roots []string
	for _, isa := range f32.Available() {
		t.Setenv("LOCKSTEP_ISA", isa.String())
		s := runSwarm(t, "--epochs", "8")
		if len(s.Epochs) != 8 || len(s.Miners) != 3 {
			t.Fatalf("%s: %d epochs, %d miners", isa, len(s.Epochs), len(s.Miners))
		}
		if first, last := s.Epochs[0].Loss, s.Epochs[7].Loss; last > 0.9*first {
			t.Errorf("%s: the loss went from %v to %v", isa, first, last)
		}
		var here []string
		for i, e := range s.Epochs {
			here = append(here, e.StateRoot.String())
			if !e.NodesAgree || e.Members != 3 || e.Attempts != 1 || e.Tag != strconv.Itoa(i+1) {
				t.Errorf("%s: epoch %+v", isa, e)
			}
		}
		for _, m := range s.Miners {
			if m.Gradient != "exact" || m.Kind != "" || m.Score == 0 {
				t.Errorf("%s: miner %+v", isa, m)
			}
		}
		if roots == nil {
			roots = here
		}
		if strings.Join(roots, " ") != strings.Join(here, " ") {
			t.Errorf("%s has other state roots than %s", isa, f32.Available()[0])
		}
	}
}

// TestTrainIsANetworkOfOne compares a run in one process with a network of one
// miner: one run spec, one chain of states.
func TestTrainIsANetworkOfOne(t *testing.T) {
	if testing.Short() {
		t.Skip("runs whole networks")
	}
	alone, network := runTrain(t, "--steps", "3"), runSwarm(t, "--miners", "1", "--slots", "1", "--epochs", "3")
	if alone.Fingerprint != network.Fingerprint || alone.StateRoot != network.Epochs[2].StateRoot {
		t.Errorf("alone run %s ends in %s, as a network run %s in %s", alone.Fingerprint.Short(), alone.StateRoot.Short(),
			network.Fingerprint.Short(), network.Epochs[2].StateRoot.Short())
	}
}

// TestCheatersChangeNothing compares a run with four cheaters with a run of the
// two honest miners alone.
func TestCheatersChangeNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("runs whole networks")
	}
	with := runSwarm(t, "--miners", "6", "--cheaters", "4", "--epochs", "2")
	without := runSwarm(t, "--miners", "2", "--epochs", "2")
	for i, e := range with.Epochs {
		if e.StateRoot != without.Epochs[i].StateRoot {
			t.Errorf("epoch %d: cheaters changed the state root", e.Epoch)
		}
	}
	for i, kind := range []string{"", "", "random", "switch", "recommit", "tokens"} {
		m := with.Miners[i]
		if m.Kind != kind || (kind == "") != (m.Score > 0) || (kind == "") != (m.Weight > 0) {
			t.Errorf("miner %+v, want the cheat %q", m, kind)
		}
	}
}

// TestKilledProcesses sends SIGKILL to a miner, to the validator and to the Hub of
// a running network: they are started again, catch up, and the run ends with every
// node on one state and every tag there. As long as no epoch went on without a
// member, its states are those of an undisturbed network.
func TestKilledProcesses(t *testing.T) {
	if testing.Short() {
		t.Skip("runs whole networks")
	}
	if _, err := os.Stat("/proc/self/cmdline"); err != nil {
		t.Skip("finds processes by /proc, which is not here")
	}
	calm := runSwarm(t, "--epochs", "12")
	victims := map[string]string{ // what only its command line has, after the run's folder
		"miner": "/miner-1\x00", "validator": "/validator/identity.key\x00", "hub": "/hub\x00--child\x00",
	}
	for victim, argument := range victims {
		t.Run(victim, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "run")
			cmd := exec.Command(os.Args[0], "swarm", "--json", "--dir", dir, "--epochs", "12")
			var out, errs bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &errs
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			waitFor(t, "tag 2", func() bool {
				_, err := os.Stat(filepath.Join(dir, "hub", "models", "lockstep", "nano", "refs", "tags", "2"))
				return err == nil
			})
			waitFor(t, "the kill", func() bool { return killProcess(dir + argument) })
			if err := cmd.Wait(); err != nil {
				t.Fatalf("%v\n%s", err, &errs)
			}
			var s swarmed
			if err := json.Unmarshal(out.Bytes(), &s); err != nil {
				t.Fatalf("%v in %s", err, &out)
			}
			if len(s.Epochs) != 12 || !s.Epochs[11].NodesAgree || s.Epochs[11].Members != 3 {
				t.Errorf("the run ended as %+v\n%s", s.Epochs, &errs)
			}
			whole := true
			for i, e := range s.Epochs {
				whole = whole && e.Members == 3
				if e.Tag != fmt.Sprint(e.Epoch) || e.Attempts > 2 || whole && e.StateRoot != calm.Epochs[i].StateRoot {
					t.Errorf("epoch %+v; undisturbed %+v", e, calm.Epochs[i])
				}
			}
			if !whole && victim == "hub" {
				t.Error("a member was missing for want of the Hub")
			}
			if !strings.Contains(errs.String(), "starting it again") {
				t.Errorf("nothing was restarted:\n%s", &errs)
			}
		})
	}
}

func waitFor(t *testing.T, what string, ready func() bool) {
	t.Helper()
	for deadline := time.Now().Add(60 * time.Second); !ready(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("no %s within a minute", what)
		}
	}
}

// killProcess kills the process whose command line, each argument ended by a zero
// byte, has the text.
func killProcess(part string) bool {
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range lines {
		text, err := os.ReadFile(path)
		if err != nil || !strings.Contains(string(text), part) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err != nil || pid == os.Getpid() {
			continue
		}
		if p, err := os.FindProcess(pid); err == nil {
			return p.Kill() == nil
		}
	}
	return false
}
