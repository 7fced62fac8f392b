package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
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
	old := gemmShapes
	defer func() { gemmShapes = old }()
	gemmShapes = []gemmShape{{Layout: "NN", M: 5, N: 7, K: 9}, {Layout: "NT", M: 5, N: 7, K: 9}, {Layout: "TN", M: 5, N: 7, K: 9}}
	for name, fields := range map[string]string{
		"gemm":     "geometric_mean_gflops",
		"step":     "batch seq_len seconds tokens_per_second matmul_gflops bound_fraction",
		"generate": "prompt_tokens prompt_tokens_per_second new_tokens tokens_per_second read_bytes_per_second bound_fraction",
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
		for _, f := range strings.Fields(fields) {
			if x, ok := got[f].(float64); !ok || !(x > 0) || math.IsInf(x, 0) {
				t.Errorf("%s: %s is %v", name, f, got[f])
			}
		}
		if name == "gemm" && len(got["shapes"].([]any)) != len(gemmShapes) {
			t.Errorf("shapes: %v", got["shapes"])
		}
		if table := runBench(t, name, "--runs", "1", "--model", "nano"); !bytes.HasPrefix(table, []byte(name+": ")) || bytes.Count(table, []byte("\n")) < 3 {
			t.Errorf("%s: table %s", name, table)
		}
	}
}

// TestBenchAll: without a name all of them are measured.
func TestBenchAll(t *testing.T) {
	old := gemmShapes
	defer func() { gemmShapes = old }()
	gemmShapes = gemmShapes[:0:0]
	gemmShapes = append(gemmShapes, gemmShape{Layout: "NN", M: 5, N: 7, K: 9})
	var got map[string]json.RawMessage
	if err := json.Unmarshal(runBench(t, "--json", "--runs", "1"), &got); err != nil || len(got) != len(benchmarks) {
		t.Errorf("%d results, %v", len(got), err)
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
