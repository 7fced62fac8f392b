package model

import (
	"bytes"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"

	"lockstep/internal/merkle"
	"lockstep/internal/testdata"
)

var update = flag.Bool("update", false, "rewrite testdata/golden/nano.txt; a changed hash is a new contract id")

// goldenChain trains nano for three steps and states every stage's digest.
// Each line depends on those above it, so the first that differs between two
// machines names the guilty stage.
func goldenChain(t testing.TB) []byte {
	t.Helper()
	c, _ := Builtin("nano")
	m := newModel(t, c)
	s := NewState(Initialise(c, 38))
	acc := NewAccumulator(m.Layout)
	var out bytes.Buffer
	fmt.Fprintf(&out, "contract %s\nmodel nano\nseed 38\n", merkle.Contract)
	fmt.Fprintf(&out, "parameters %v\n", s.Header().Parameters)
	for step := 1; step <= 3; step++ {
		batch := goldenBatch(c, step)
		acc.Reset()
		if err := m.Gradient(s.Parameters(c), batch, acc); err != nil {
			t.Fatal(err)
		}
		g, err := acc.Freeze()
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&out, "\nstep %d\ntokens %d\nloss %016x\n", step, acc.Tokens, math.Float64bits(acc.Loss))
		fmt.Fprintf(&out, "gradient %v\n", m.Layout.Root(merkle.KindGradient, g))
		if err := Average(g, acc.Tokens); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&out, "average %v\n", m.Layout.Root(merkle.KindAverage, g))
		info, err := s.ApplyAverage(g, testOptimizer())
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&out, "norm %016x\nstate %v\n", math.Float64bits(info.Norm), s.Root())
	}
	return out.Bytes()
}

// goldenBatch is three sequences of hashed tokens, the second one shorter by
// ignored targets.
func goldenBatch(c Config, step int) Batch {
	b := Batch{B: 3, T: c.Positions}
	for i := range b.B * b.T {
		key := uint32(step*1000 + i)
		b.Inputs = append(b.Inputs, int32(hash32(key)%uint32(c.Vocab)))
		target := int32(hash32(key+1) % uint32(c.Vocab))
		if i/b.T == 1 && i%b.T > 20 {
			target = -1
		}
		b.Targets = append(b.Targets, target)
	}
	return b
}

// TestN26_GoldenChain compares with the recorded chain on every instruction
// set. It is the test that other architectures and emulators have to pass.
func TestN26_GoldenChain(t *testing.T) {
	path := filepath.Join(testdata.Root(), "testdata", "golden", "nano.txt")
	if *update {
		if os.Getenv("CI") != "" {
			t.Fatal("golden hashes are not rewritten in CI")
		}
		if err := os.WriteFile(path, goldenChain(t), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	eachISA(t, func(t *testing.T) {
		if line, got, want := firstDifference(goldenChain(t), want); line > 0 {
			t.Errorf("line %d is %q, want %q", line, got, want)
		}
	})
}

// firstDifference returns the number of the first line that differs, or 0.
func firstDifference(got, want []byte) (line int, g, w string) {
	a, b := bytes.Split(got, []byte("\n")), bytes.Split(want, []byte("\n"))
	for i := range max(len(a), len(b)) {
		var x, y []byte
		if i < len(a) {
			x = a[i]
		}
		if i < len(b) {
			y = b[i]
		}
		if !bytes.Equal(x, y) {
			return i + 1, string(x), string(y)
		}
	}
	return 0, "", ""
}

// TestGoldenChainCatches feeds the comparison a chain with one digit changed,
// and one cut short.
func TestGoldenChainCatches(t *testing.T) {
	chain := goldenChain(t)
	wrong := bytes.Clone(chain)
	wrong[len(wrong)-2] ^= 1
	if line, _, _ := firstDifference(wrong, chain); line == 0 {
		t.Error("a wrong digit is not caught")
	}
	if line, _, _ := firstDifference(chain[:len(chain)/2], chain); line == 0 {
		t.Error("a short chain is not caught")
	}
}
