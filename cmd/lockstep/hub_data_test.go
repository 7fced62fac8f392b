package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"lockstep/hub/server"
	"lockstep/internal/testdata"
	"lockstep/stream"
)

// mirror serves a dataset in FineWeb's layout and returns the server.
func mirror(t *testing.T) (*server.Server, *httptest.Server) {
	t.Helper()
	data, err := os.ReadFile(testdata.Path(t, "fineweb_layout", "fineweb_200_zstd.parquet"))
	if err != nil {
		t.Fatal(err)
	}
	s, err := server.New(t.TempDir(), server.Options{Rows: openRows})
	if err != nil {
		t.Fatal(err)
	}
	h := httptest.NewServer(s)
	t.Cleanup(h.Close)
	home := t.TempDir()
	for name, value := range map[string]string{
		"HF_ENDPOINT": h.URL, "HF_TOKEN": s.WriteToken(), "HF_HOME": home, "HF_HUB_CACHE": filepath.Join(home, "hub"), "HF_HUB_OFFLINE": "", "TRANSFORMERS_OFFLINE": "",
	} {
		t.Setenv(name, value)
	}
	folder := filepath.Join(t.TempDir(), "fineweb")
	if err := os.MkdirAll(filepath.Join(folder, "sample", "350BT"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "sample", "350BT", "000_00000.parquet"), data, 0o644); err != nil {
		t.Fatal(err)
	}
	lockstep(t, nil, "hub", "push", folder, "datasets/HuggingFaceFW/fineweb", "--tag", "v1")
	return s, h
}

const mirrored = "hf://datasets/HuggingFaceFW/fineweb@v1/sample/350BT"

// TestRowsAndRangesAgree reads rows of a served dataset through the rows API and
// from the parquet file by ranges.
func TestRowsAndRangesAgree(t *testing.T) {
	_, h := mirror(t)
	for _, row := range []string{"0", "57", "199"} {
		var ranges, rows stream.Shown
		lockstep(t, &ranges, "data", "show", "--data", mirrored, "--row", row, "--cache", "none", "--json")
		lockstep(t, &rows, "data", "show", "--data", "rows://HuggingFaceFW/fineweb/sample-350BT", "--rows-endpoint", h.URL, "--row", row, "--cache", "none", "--json")
		if ranges.Digest != rows.Digest || ranges.Text != rows.Text || rows.Text == "" {
			t.Errorf("row %s: %s by ranges, %s by rows", row, ranges.Digest, rows.Digest)
		}
	}
}

// rough is a server on a bad line: some answers are errors, some bodies end
// early.
type rough struct {
	proxy  *httputil.ReverseProxy
	mu     sync.Mutex
	random *rand.Rand
	bodies atomic.Int64
	failed atomic.Int64
	cut    atomic.Int64
}

func newRough(t *testing.T, to string) *rough {
	u, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	r := &rough{random: rand.New(rand.NewPCG(4, 30)), proxy: &httputil.ReverseProxy{
		Rewrite:  func(p *httputil.ProxyRequest) { p.SetURL(u); p.Out.Host = p.In.Host },
		ErrorLog: log.New(io.Discard, "", 0), // it would tell of every cut
	}}
	r.proxy.ModifyResponse = func(a *http.Response) error {
		if a.Request.Method == http.MethodGet && a.ContentLength > 1 && r.bodies.Add(1)%3 == 0 {
			r.cut.Add(1)
			a.Body = io.NopCloser(io.MultiReader(io.LimitReader(a.Body, a.ContentLength/2), broken{}))
		}
		return nil
	}
	return r
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func (r *rough) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	r.mu.Lock()
	dice := r.random.IntN(100)
	r.mu.Unlock()
	if dice >= 30 {
		r.proxy.ServeHTTP(w, q)
		return
	}
	r.failed.Add(1)
	io.Copy(io.Discard, q.Body)
	if dice < 15 {
		w.Header().Set("Retry-After", "0")
		w.WriteHeader(http.StatusTooManyRequests)
		return
	}
	w.WriteHeader(http.StatusInternalServerError)
	io.WriteString(w, "<html>oops</html>")
}

// TestSwarmOnARoughLine trains a network on text from a Hub and pushes to it,
// with nothing in the way, and with three of ten answers errors and every third
// body cut short. Both come to the same states, and all tags are there.
func TestSwarmOnARoughLine(t *testing.T) {
	if testing.Short() {
		t.Skip("runs whole networks")
	}
	s, h := mirror(t)
	const epochs = 3
	args := []string{"--data", mirrored, "--segment-rows", "10", "--slots", "3", "--epochs", fmt.Sprint(epochs)}
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	want := runSwarm(t, args...)
	t.Setenv("XDG_CACHE_HOME", t.TempDir()) // nothing is at hand the second time
	line := newRough(t, h.URL)
	bad := httptest.NewServer(line)
	defer bad.Close()
	t.Setenv("HF_ENDPOINT", bad.URL)
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte(s.WriteToken()), 0o600); err != nil {
		t.Fatal(err)
	}
	got := runSwarm(t, append(args, "--hub-url", bad.URL, "--hub-token", token, "--repo", "alice/run")...)
	if len(got.Epochs) != epochs || len(want.Epochs) != epochs {
		t.Fatalf("%d and %d epochs", len(got.Epochs), len(want.Epochs))
	}
	for i, e := range got.Epochs {
		if e.StateRoot != want.Epochs[i].StateRoot || e.Members != 3 {
			t.Errorf("epoch %d: state %s of %d members, undisturbed %s", e.Epoch, e.StateRoot.Short(), e.Members, want.Epochs[i].StateRoot.Short())
		}
	}
	t.Logf("%d answers were errors, %d bodies were cut", line.failed.Load(), line.cut.Load())
	if line.failed.Load() < 10 || line.cut.Load() < 5 {
		t.Error("the line was not rough")
	}
	t.Setenv("HF_ENDPOINT", h.URL)
	var out, errs bytes.Buffer
	if code := run([]string{"hub", "ls", "alice/run"}, &out, &errs); code != 0 {
		t.Fatalf("%s", &errs)
	}
	for epoch := 1; epoch <= epochs; epoch++ {
		if !strings.Contains(out.String(), fmt.Sprintf("tag %d  ", epoch)) {
			t.Errorf("tag %d is missing:\n%s", epoch, &out)
		}
	}
}

// TestDatasetsLoadsAMirror has Hugging Face's datasets, and pyarrow below it,
// load a served dataset.
func TestDatasetsLoadsAMirror(t *testing.T) {
	python := cmp.Or(os.Getenv("TEST_PYTHON"), "python3")
	if err := exec.Command(python, "-c", "import datasets").Run(); err != nil {
		t.Skipf("skipped: %s has no datasets; TEST_PYTHON may name one that has", python)
	}
	mirror(t)
	rows := map[string]string{}
	for _, row := range []string{"0", "57", "199"} {
		var shown stream.Shown
		lockstep(t, &shown, "data", "show", "--data", mirrored, "--row", row, "--cache", "none", "--json")
		rows[row] = shown.Text
	}
	text, err := json.Marshal(rows)
	if err != nil {
		t.Fatal(err)
	}
	expected := filepath.Join(t.TempDir(), "expected.json")
	if err := os.WriteFile(expected, text, 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), python, filepath.Join("testdata", "datasets_client.py"), "HuggingFaceFW/fineweb", "v1", "sample/350BT", expected)
	cmd.Env = append(os.Environ(), "HF_DATASETS_CACHE="+t.TempDir())
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
}
