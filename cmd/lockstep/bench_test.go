package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"lockstep/hub/safetensors"
	"lockstep/model"
)

// runBench runs one command line and returns what it prints.
func runBench(t *testing.T, args ...string) []byte {
	t.Helper()
	var out, errs bytes.Buffer
	if code := run(append([]string{"bench"}, args...), &out, &errs); code != 0 {
		t.Fatalf("bench %v: exit code %d: %s", args, code, &errs)
	}
	return out.Bytes()
}

// TestBenchJSON: every benchmark prints one object with the machine and, under
// the published names, positive numbers.
func TestBenchJSON(t *testing.T) {
	peak := ""
	if runtime.GOOS == "linux" {
		peak = " peak_rss_bytes"
	}
	defer smallProducts()()
	for name, fields := range map[string]string{
		"gemm":     "geomean_gflops",
		"step":     "batch seq_len seconds tokens_per_second matmul_gflops bound_fraction" + peak,
		"generate": "prompt_tokens prompt_tokens_per_second new_tokens tokens_per_second read_bytes_per_second bound_fraction" + peak,
		"reduce":   "peers bytes seconds bytes_per_second",
		"hash":     "bytes seconds bytes_per_second",
	} {
		var got map[string]any
		line := runBench(t, name, "--json", "--runs", "1", "--model", "nano", "--threads", "2")
		if err := json.Unmarshal(line, &got); err != nil || bytes.Count(line, []byte("\n")) != 1 {
			t.Fatalf("%s: %v in %s", name, err, line)
		}
		if got["cpu"] == "" || got["isa"] == "" || got["threads"] != 2.0 || (name != "gemm" && got["model"] != "nano") {
			t.Errorf("%s: %s", name, line)
		}
		positive(t, name, got, fields)
		if _, ok := got["allocs_per_step"].(float64); ok != (name == "step") {
			t.Errorf("%s: allocs_per_step is %v", name, got["allocs_per_step"])
		}
		if name == "gemm" {
			checkShapes(t, got["shapes"], "NN", "NT", "TN")
			checkShapes(t, got["other_shapes"], "NT")
		}
		if table := runBench(t, name, "--runs", "1", "--model", "nano"); !bytes.HasPrefix(table, []byte(name+": ")) || bytes.Count(table, []byte("\n")) < 3 {
			t.Errorf("%s: table %s", name, table)
		}
	}
}

// smallProducts lets `bench gemm` measure one small size, until what it returns
// is called.
func smallProducts() (restore func()) {
	sizes, others := gemmSizes, otherShapes
	gemmSizes, otherShapes = [][3]int{{5, 7, 9}}, []gemmShape{{Layout: "NT", M: 5, N: 7, K: 9}}
	return func() { gemmSizes, otherShapes = sizes, others }
}

// positive expects a positive number in each of the fields.
func positive(t *testing.T, name string, got map[string]any, fields string) {
	t.Helper()
	for _, f := range strings.Fields(fields) {
		if x, ok := got[f].(float64); !ok || !(x > 0) || math.IsInf(x, 0) {
			t.Errorf("%s: %s is %v", name, f, got[f])
		}
	}
}

// checkShapes expects the size of smallProducts in each of the layouts.
func checkShapes(t *testing.T, got any, layouts ...string) {
	t.Helper()
	shapes, ok := got.([]any)
	if !ok || len(shapes) != len(layouts) {
		t.Fatalf("shapes: %v", got)
	}
	for i, layout := range layouts {
		s := shapes[i].(map[string]any)
		positive(t, "shape", s, "gflops")
		if s["layout"] != layout || s["m"] != 5.0 || s["n"] != 7.0 || s["k"] != 9.0 {
			t.Errorf("shape %d is %v, want 5 x 7 x 9 as %s", i, s, layout)
		}
	}
}

// TestGEMMShapes: eighteen products have the mean.
func TestGEMMShapes(t *testing.T) {
	want := map[[3]int]bool{
		{1024, 2304, 768}: true, {1024, 3072, 768}: true, {1024, 768, 3072}: true,
		{1024, 50257, 768}: true, {768, 3072, 1024}: true, {50257, 768, 1024}: true,
	}
	for _, size := range gemmSizes {
		delete(want, size)
	}
	if len(want) > 0 || len(gemmSizes) != 6 {
		t.Errorf("%d sizes, without %v", len(gemmSizes), want)
	}
}

// TestBenchAll: without a name all of them are measured.
func TestBenchAll(t *testing.T) {
	defer smallProducts()()
	var got map[string]json.RawMessage
	if err := json.Unmarshal(runBench(t, "--json", "--runs", "1"), &got); err != nil || len(got) != len(benchmarks) {
		t.Errorf("%d results, %v", len(got), err)
	}
}

// TestBenchmarksAreApart runs a benchmark that fills in its settings and holds
// 64 MiB for a while, and looks at what the next one finds of both.
func TestBenchmarksAreApart(t *testing.T) {
	old := benchmarks
	defer func() { benchmarks = old }()
	const held = 64 << 20
	var peak int64
	var second benchSettings
	benchmarks = []benchmark{
		{"first", "", func(_ context.Context, s benchSettings) (measurement, error) {
			fill(&s.config, model.Config{Positions: 512})
			filled(nil, held/4)
			peak = s.peakRSS()
			return bytesResult{}, nil
		}},
		{"second", "", func(_ context.Context, s benchSettings) (measurement, error) {
			second = s
			if s.peakIsOwn && s.peakRSS() > peak-held/2 {
				t.Errorf("peaks of %d and %d bytes", peak, s.peakRSS())
			}
			return bytesResult{}, nil
		}},
	}
	runBench(t)
	if p := second.config.Protocol; p.SeqLen != 0 || p.Sequences != 0 || second.config.Train.Batch != 0 {
		t.Errorf("the second benchmark got the settings of the first: %+v", second.config)
	}
	second.peakIsOwn = false
	if n := second.peakRSS(); n != 0 {
		t.Errorf("a peak of another benchmark is shown: %d bytes", n)
	}
}

// TestStepProducts counts the work of distilgpt2 by hand: six operations for
// each weight that a token meets, and attention's half of its squares.
func TestStepProducts(t *testing.T) {
	c, _ := model.Builtin("distilgpt2")
	weights := 6*(4*768*768+2*768*3072) + 50257*768
	for _, tt := range []struct{ b, t int }{{4, 256}, {1, 1024}, {8, 1024}, {3, 400}} {
		attention := 6 * 6 * 768 * (tt.t + 1)
		want := float64(tt.b*tt.t) * float64(6*weights+attention)
		if got := stepProducts(c, tt.b, tt.t).flops(); math.Abs(got-want) > 1e-9*want {
			t.Errorf("%d x %d: %.4g operations, want %.4g", tt.b, tt.t, got, want)
		}
	}
}

func TestBenchRefuses(t *testing.T) {
	for _, tt := range []struct {
		args string
		code int
	}{
		{"bench nonsense", 2}, {"bench gemm step", 2}, {"bench gemm --runs 0", 2},
		{"bench step --model nano --seq-len 33", 3}, {"bench hash --model nosuch", 3},
	} {
		var out, errs bytes.Buffer
		if code := run(strings.Fields(tt.args), &out, &errs); code != tt.code || out.Len() > 0 {
			t.Errorf("%s: exit code %d, want %d: %s%s", tt.args, code, tt.code, &out, &errs)
		}
	}
}

// BenchmarkLoadModel opens a checkpoint of distilgpt2 with the mask buffers that
// the published one has, 353 MB, from the page cache.
func BenchmarkLoadModel(b *testing.B) {
	arch, _ := model.Builtin("distilgpt2")
	dir := b.TempDir()
	var tensors []safetensors.Tensor
	for t, data := range model.NewParameters(arch).Tensors() {
		tensors = append(tensors, safetensors.Tensor{Name: t.Name, Shape: t.Shape, Data: data})
	}
	mask := make([]float32, arch.Positions*arch.Positions)
	for i := range arch.Layers {
		tensors = append(tensors, safetensors.Tensor{
			Name: fmt.Sprintf("transformer.h.%d.attn.bias", i), Shape: []int{1, 1, arch.Positions, arch.Positions}, Data: mask,
		})
	}
	f, err := os.Create(filepath.Join(dir, "model.safetensors"))
	if err != nil {
		b.Fatal(err)
	}
	var size int64
	e, err := safetensors.NewEncoder(nil, tensors)
	if err == nil {
		size, err = e.WriteTo(f)
	}
	if err == nil {
		err = f.Close()
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "config.json"), arch.JSON(), 0o644)
	}
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(size)
	for b.Loop() {
		if _, err := loadModel(context.Background(), dir, 1); err != nil {
			b.Fatal(err)
		}
	}
}
