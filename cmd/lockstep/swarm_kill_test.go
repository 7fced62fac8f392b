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
// other in random order: Hub, validator, miner. Since an epoch waits for its only miner, the
// run ends with the states, and tags of one that nobody disturbed.
func TestSwarmUnderKills(t *testing.T) {
	if _, err := os.Stat("/proc/self/cmdline"); err != nil {
		t.Skip("finds processes by /proc, which is not here")
	}
	kills := killsOf(t, 5, 3)
	epochs := 12 * kills // the network goes on while its Hub is away
	want := runTrain(t, "--steps", strconv.Itoa(epochs), "--dir", filepath.Join(t.TempDir(), "calm"))

	dir := filepath.Join(t.TempDir(), "run")
	cmd := exec.Command(os.Args[0], "swarm", "--json", "--miners", "1", "--slots", "1", "--dir", dir, "--epochs", strconv.Itoa(epochs))
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	defer cmd.Process.Kill()

	tags := filepath.Join(dir, "hub", "models", "lockstep", "nano", "refs", "tags")
	random := rand.New(rand.NewPCG(38, 3))
	victims := []string{"/miner-0\x00", "/validator/identity.key\x00", "/hub\x00--child\x00"} // see TestKilledProcesses
	var counted [3]restarts                                                                   // as the supervisor does
	var count [3]int
	var turn []int
	newest := 0
	for done := 0; done < kills; done++ {
		newest += 1 + random.IntN(2)
		waitFor(t, fmt.Sprintf("tag %d", newest), func() bool { return exists(filepath.Join(tags, strconv.Itoa(newest))) })
		time.Sleep(time.Duration(random.IntN(60)) * time.Millisecond)
		if len(turn) == 0 {
			turn = random.Perm(len(victims))
		}
		i := turn[0]
		turn = turn[1:]
		waitFor(t, "the time when it may be killed once more", func() bool { _, ok := counted[i].next(time.Now()); return ok })
		waitFor(t, "the kill", func() bool { return killProcess(dir + victims[i]) })
		count[i]++
		for exists(filepath.Join(tags, strconv.Itoa(newest+1))) {
			newest++
		}
	}
	if err := <-ended; err != nil {
		t.Fatalf("%v\n%s", err, &errs)
	}
	var s swarmed
	if err := json.Unmarshal(out.Bytes(), &s); err != nil {
		t.Fatalf("%v in %s", err, &out)
	}
	t.Logf("killed: the miner %d times, the validator %d, the Hub %d", count[0], count[1], count[2])
	if len(s.Epochs) != epochs || s.Epochs[epochs-1].StateRoot != want.StateRoot {
		t.Fatalf("%d epochs of %d, to state %s; undisturbed %s", len(s.Epochs), epochs, s.Epochs[len(s.Epochs)-1].StateRoot.Short(), want.StateRoot.Short())
	}
	for i, e := range s.Epochs {
		if e.Members != 1 || e.Tag != strconv.Itoa(i+1) || !e.NodesAgree {
			t.Errorf("epoch %+v", e)
		}
	}
	var report bytes.Buffer
	if code := run([]string{"verify", filepath.Join(dir, "ledger")}, &report, &errs); code != 0 {
		t.Errorf("the ledger: exit code %d\n%s", code, &errs)
	}
}
