package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// killsOf is how many kills a test does: TEST_KILLS, or some, or few when short.
func killsOf(t *testing.T, some, few int) int {
	t.Helper()
	if text := os.Getenv("TEST_KILLS"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			t.Fatalf("TEST_KILLS=%s", text)
		}
		return n
	}
	if testing.Short() {
		return few
	}
	return some
}

// TestSwarmUnderKills sends SIGKILL to the processes of a network, one after the
// other in random order: Hub, validator, miner. Since an epoch waits for its only
// miner, the run has the state of one that nobody disturbed, and every tag.
func TestSwarmUnderKills(t *testing.T) {
	if _, err := os.Stat("/proc/self/cmdline"); err != nil {
		t.Skip("finds processes by /proc, which is not here")
	}
	victims := []string{"/miner-0\x00", "/validator/identity.key\x00", "/hub\x00--child\x00"} // see TestKilledProcesses
	kills := killsOf(t, 5, 3)
	if most := maxRestarts * len(victims); kills > most {
		t.Fatalf("a supervisor starts nothing again that ends too often: %d kills are the most", most)
	}
	dir := filepath.Join(t.TempDir(), "run")
	cmd := exec.Command(os.Args[0], "swarm", "--json", "--miners", "1", "--slots", "1", "--dir", dir, "--epochs", "1000000")
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	defer cmd.Process.Kill() // where the test fails

	tags := filepath.Join(dir, "hub", "models", "lockstep", "nano", "refs", "tags")
	random := rand.New(rand.NewPCG(38, 3))
	var count [3]int
	var turn []int
	newest := 0
	await := func(tag int) {
		t.Helper()
		waitFor(t, fmt.Sprintf("tag %d", tag), func() bool { return exists(filepath.Join(tags, strconv.Itoa(tag))) })
	}
	for done := 0; done < kills; done++ {
		newest += 1 + random.IntN(2)
		await(newest)
		time.Sleep(time.Duration(random.IntN(60)) * time.Millisecond)
		if len(turn) == 0 {
			turn = random.Perm(len(victims))
		}
		i := turn[0]
		turn = turn[1:]
		waitFor(t, "the kill", func() bool { return killProcess(dir + victims[i]) })
		count[i]++
		for exists(filepath.Join(tags, strconv.Itoa(newest+1))) {
			newest++
		}
	}
	await(newest + 2) // all processes are back
	cmd.Process.Signal(os.Interrupt)
	if <-ended; cmd.ProcessState.ExitCode() != 130 {
		t.Fatalf("exit code %d\n%s", cmd.ProcessState.ExitCode(), &errs)
	}
	var s swarmed
	if err := json.Unmarshal(out.Bytes(), &s); err != nil {
		t.Fatalf("%v in %s", err, &out)
	}
	t.Logf("killed: the miner %d times, the validator %d, the Hub %d", count[0], count[1], count[2])
	if len(s.Epochs) < newest {
		t.Fatalf("%d epochs, after tag %d", len(s.Epochs), newest)
	}
	want := runTrain(t, "--steps", strconv.Itoa(len(s.Epochs)))
	if last := s.Epochs[len(s.Epochs)-1].StateRoot; last != want.StateRoot {
		t.Errorf("state %s after %d epochs; undisturbed %s", last.Short(), len(s.Epochs), want.StateRoot.Short())
	}
	for i, e := range s.Epochs {
		if e.Members != 1 || e.Tag != strconv.Itoa(i+1) { // a miner that was just killed reports no state to agree with
			t.Errorf("epoch %+v", e)
		}
	}
	var report bytes.Buffer
	if code := run([]string{"verify", filepath.Join(dir, "ledger")}, &report, &errs); code != 0 {
		t.Errorf("the ledger: exit code %d\n%s", code, &errs)
	}
}
