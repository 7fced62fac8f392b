package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"
)

// servedText is the name of the dataset that serveText serves: 2,400 rows in
// four files, a row group for every 20 of them. With segments of 20 rows each
// segment is a piece of its own to fetch.
const servedText = "hf://datasets/org/text"

// serveText starts a `lockstep hub serve` with a dataset, and lets the
// environment point to it.
func serveText(t *testing.T) *hubProcess {
	t.Helper()
	type row struct {
		Text string `parquet:"text"`
	}
	folder := filepath.Join(t.TempDir(), "text")
	if err := os.Mkdir(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	all := documents(2400)
	for i, part := range slices.Collect(slices.Chunk(all, 600)) {
		var buf bytes.Buffer
		w := parquet.NewGenericWriter[row](&buf, parquet.MaxRowsPerRowGroup(20))
		for _, text := range part {
			if _, err := w.Write([]row{{text}}); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, fmt.Sprintf("%03d.parquet", i)), buf.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	p := &hubProcess{t: t, dir: filepath.Join(t.TempDir(), "hub")}
	p.start()
	t.Cleanup(func() { p.kill() })
	for name, value := range map[string]string{
		"HF_ENDPOINT": p.address, "HF_TOKEN": p.token(), "HF_HOME": t.TempDir(), "HF_HUB_CACHE": "", "HF_HUB_OFFLINE": "", "TRANSFORMERS_OFFLINE": "",
		"XDG_CACHE_HOME": t.TempDir(),
	} {
		t.Setenv(name, value)
	}
	lockstep(t, nil, "hub", "push", folder, "datasets/org/text")
	return p
}

// outage is how long a server of text is away: TEST_OUTAGE, or some seconds.
func outage(t *testing.T) time.Duration {
	text := os.Getenv("TEST_OUTAGE")
	if text == "" {
		return 3 * time.Second
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestSwarmOutlivesItsText kills the server of a network's text after epoch 2,
// while nothing but the next epochs' rows is at hand: training pauses, goes on
// when the server is back, and ends as if nothing had been. What is fetched lies
// in the folder of --cache, which the nodes have from the command.
func TestSwarmOutlivesItsText(t *testing.T) {
	if testing.Short() {
		t.Skip("runs whole networks")
	}
	const epochs = 10
	server := serveText(t)
	args := []string{"--data", servedText, "--segment-rows", "20", "--slots", "3", "--epochs", fmt.Sprint(epochs)}
	want := runSwarm(t, args...)

	work := t.TempDir()
	cache, repositories := filepath.Join(work, "cache"), filepath.Join(work, "hub")
	nowhere := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", nowhere)
	tag := func(epoch int) bool {
		return exists(filepath.Join(repositories, "models", "lockstep", "nano", "refs", "tags", fmt.Sprint(epoch)))
	}
	var away sync.WaitGroup
	away.Go(func() {
		for deadline := time.Now().Add(time.Minute); !tag(2) && time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		}
		server.kill()
		time.Sleep(outage(t))
		if tag(epochs) {
			t.Error("the network did not need its text")
		}
		server.start()
	})
	got := runSwarm(t, append(args, "--cache", cache, "--hub-dir", repositories)...)
	away.Wait()
	sameEpochs(t, got, want)
	if files, err := filepath.Glob(filepath.Join(cache, "*")); err != nil || len(files) == 0 {
		t.Errorf("--cache holds %v, %v", files, err)
	}
	if exists(filepath.Join(nowhere, "lockstep")) {
		t.Error("text went into the user's cache folder in spite of --cache")
	}
}

// sameEpochs compares a run's epochs with those of an undisturbed one.
func sameEpochs(t *testing.T, got, want swarmed) {
	t.Helper()
	if len(got.Epochs) != len(want.Epochs) {
		t.Fatalf("%d epochs; undisturbed %d", len(got.Epochs), len(want.Epochs))
	}
	for i, e := range got.Epochs {
		if w := want.Epochs[i]; e.StateRoot != w.StateRoot || e.Members != w.Members || e.Tag != w.Tag || !e.NodesAgree {
			t.Errorf("epoch %d: state %s of %d members, tag %q; undisturbed %s of %d, %q",
				e.Epoch, e.StateRoot.Short(), e.Members, e.Tag, w.StateRoot.Short(), w.Members, w.Tag)
		}
	}
}

// TestTrainGoesOnAfterKillsAwayFromItsText kills a process that trains on text
// of a Hub, with a cache that may be lost with it, and ends with the state of
// one that nobody disturbed.
func TestTrainGoesOnAfterKillsAwayFromItsText(t *testing.T) {
	kills := killsOf(t, 6, 2)
	serveText(t)
	args := []string{"--data", servedText, "--segment-rows", "20", "--steps", fmt.Sprint(3 * kills)}
	want := runTrain(t, append(args, "--cache", "none")...)
	dir := filepath.Join(t.TempDir(), "run")
	random := rand.New(rand.NewPCG(38, 2))
	for range kills {
		if random.IntN(3) == 0 {
			t.Setenv("XDG_CACHE_HOME", t.TempDir())
		}
		killedTrain(t, random.IntN(4), time.Duration(random.IntN(40))*time.Millisecond,
			append(args, "--dir", dir, "--resume", "--save-every", []string{"0s", "20ms", "1h"}[random.IntN(3)])...)
	}
	got := runTrain(t, append(args, "--dir", dir, "--resume")...)
	if got.StateRoot != want.StateRoot || got.Tokens != want.Tokens {
		t.Errorf("%d kills: state %s after %d tokens; undisturbed %s after %d", kills, got.StateRoot.Short(), got.Tokens, want.StateRoot.Short(), want.Tokens)
	}
}
