package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"

	"lockstep/stream/remote/fakehub"
)

// documents makes n texts.
func documents(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = strings.Repeat(fmt.Sprintf("Document %d tells of the sea. ", i), 3+i%4)
	}
	return out
}

// atHub serves documents as two files of a dataset, lets the environment point
// to it, and returns a folder with the same files.
func atHub(t *testing.T) (h *fakehub.Hub, folder string) {
	t.Helper()
	type row struct {
		Text string `parquet:"text"`
	}
	h = fakehub.New(t)
	h.Token = "hf_secret"
	folder = t.TempDir()
	for i, n := range []int{130, 90} {
		var buf bytes.Buffer
		w := parquet.NewGenericWriter[row](&buf, parquet.Compression(&parquet.Snappy), parquet.MaxRowsPerRowGroup(25))
		for _, text := range documents(n) {
			if _, err := w.Write([]row{{text}}); err != nil {
				t.Fatal(err)
			}
			h.Rows = append(h.Rows, text)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		name := fmt.Sprintf("%03d.parquet", i)
		h.Files["sample/"+name] = buf.Bytes()
		if err := os.WriteFile(filepath.Join(folder, name), buf.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, value := range map[string]string{
		"HF_ENDPOINT": h.Hub.URL, "HF_TOKEN": "hf_secret", "HF_HUB_OFFLINE": "", "HF_HOME": t.TempDir(),
		"XDG_CACHE_HOME": t.TempDir(), "LOCKSTEP_FETCH_ROWS_ENDPOINT": h.Hub.URL,
	} {
		t.Setenv(name, value)
	}
	return h, folder
}

func TestDataVerbs(t *testing.T) {
	h, _ := atHub(t)
	t.Chdir(t.TempDir())
	s := &script{t: t, work: t.TempDir()}
	err := s.run(`
		lockstep data ls --data hf://datasets/org/fineweb/sample
		stdout ^sample/001.parquet +130 +90
		stdout ^total +220
		stdout ^source hf://datasets/org/fineweb@0123456789012345678901234567890123456789/sample, identity [0-9a-f]{64}
		lockstep data ls --data rows://org/fineweb/default --json
		stdout "rows":220
		lockstep data show --data hf://datasets/org/fineweb/sample --row 131
		stdout sample/001.parquet row 1$
		stdout Document 1 tells
		lockstep data show --data hf://datasets/org/fineweb/sample --epoch 2 --uid 1 --segment-rows 10 --slots 4
		stdout ^segment 5 of pass 0, for miner 1 in epoch 2
		lines 12
		lockstep data show --data hf://datasets/org/fineweb/sample --epoch 2 --uid 1 --segment-rows 10 --slots 4 --json
		stdout "segment":5
		lockstep data show --data hf://datasets/org/fineweb/sample --epoch 2 --k 1 --segment-rows 10
		exit 3
		stderr --segments
		lockstep data show --row 1 --epoch 1
		exit 2
		lockstep data check --data hf://datasets/org/fineweb/sample --rows 22
		stdout ^total +22 +0
		lockstep data check --data rows://org/fineweb/default --json
		stdout "rows":8
		lockstep data fetch --data hf://datasets/org/fineweb/sample --epochs 5 --slots 4 --segment-rows 10
		stdout ^20 segments with 200 rows of hf://datasets/org/fineweb@0123
		lockstep data fetch --data hf://datasets/org/fineweb/sample --segment-rows 10 --cache none
		exit 3
		stderr no cache
		lockstep data fetch --data hf://datasets/org/fineweb/sample --epochs 4000000 --segment-rows 10
		exit 3
		stderr --epochs
		env HF_HUB_OFFLINE=1
		lockstep data show --data hf://datasets/org/fineweb/sample --epoch 5 --uid 3 --segment-rows 10 --slots 4
		lines 12
		lockstep data show --data hf://datasets/org/other --row 0
		exit 20
		stderr HF_HUB_OFFLINE
		env HF_HUB_OFFLINE=0
		lockstep data ls --data hf://datasets/org/other
		exit 21
		stderr 404
		env HF_TOKEN=hf_wrong
		lockstep data ls --data hf://datasets/org/fineweb/sample
		exit 21
		stderr HF_TOKEN
		env HF_ENDPOINT=nonsense
		lockstep data ls --data hf://datasets/org/fineweb/sample
		exit 3
		stderr HF_ENDPOINT
		lockstep data show --row 3
		stdout builtin`)
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range h.Log() {
		if q.Server == "cdn" && q.Authorization != "" {
			t.Fatalf("a token went to the content server: %+v", q)
		}
	}
}

// trainedOn returns a run's last state root.
func trainedOn(t *testing.T, args ...string) string {
	t.Helper()
	var out, errs bytes.Buffer
	args = append([]string{"train", "--segment-rows", "20", "--json", "--dir", t.TempDir()}, args...)
	if code := run(args, &out, &errs); code != 0 {
		t.Fatalf("%v: exit code %d\n%s", args, code, &errs)
	}
	var result struct {
		State string `json:"state_root"`
	}
	if err := json.Unmarshal(out.Bytes(), &result); err != nil || len(result.State) != 64 {
		t.Fatalf("%s: %v", &out, err)
	}
	return result.State
}

// TestTrainOverHTTP: text from a folder, from the Hub, from the Hub on a bad
// day, and from the rows API trains the same model.
func TestTrainOverHTTP(t *testing.T) {
	h, folder := atHub(t)
	want := trainedOn(t, "--steps", "6", "--data", folder)
	if got := trainedOn(t, "--steps", "6", "--data", "hf://datasets/org/fineweb/sample"); got != want {
		t.Errorf("the Hub's text trains %s, the folder's %s", got, want)
	}
	h.Change(func() {
		h.Fault = func(_ *http.Request, n int) http.HandlerFunc {
			if n%10 == 4 {
				return fakehub.Status(500)
			}
			return nil
		}
		h.Cut = func(_ *http.Request, n int) int {
			if n%3 == 0 {
				return 100
			}
			return -1
		}
	})
	start := time.Now()
	for _, name := range []string{"hf://datasets/org/fineweb/sample", "rows://org/fineweb/default"} {
		t.Setenv("XDG_CACHE_HOME", t.TempDir())
		if got := trainedOn(t, "--steps", "6", "--data", name); got != want {
			t.Errorf("%s on a bad day trains %s, not %s", name, got, want)
		}
	}
	t.Logf("the bad days took %v", time.Since(start))
}
