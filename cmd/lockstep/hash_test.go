package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"lockstep/internal/f32"
	"lockstep/internal/testdata"
)

// TestGoldenChain compares the chain of nano, from text to tag, with the
// published one on each instruction set of this machine. A difference in any
// line is a new contract, or a defect.
func TestGoldenChain(t *testing.T) {
	want, err := os.ReadFile(filepath.Join(testdata.Root(), "testdata", "golden", "chain-nano.txt"))
	if err != nil {
		t.Fatal(err)
	}
	for _, isa := range f32.Available() {
		if testing.Short() && isa == f32.Portable {
			continue // slow under the race detector; the packages below test it
		}
		t.Setenv("LOCKSTEP_ISA", isa.String())
		for _, micro := range []string{"1", "4"} {
			var out, errs bytes.Buffer
			if code := run([]string{"hash", "--model", "nano", "--micro-batch", micro}, &out, &errs); code != 0 {
				t.Fatalf("%s: exit code %d: %s", isa, code, &errs)
			}
			if d := firstDifferentLine(out.String(), string(want)); d != "" {
				t.Errorf("%s, micro-batch %s: %s", isa, micro, d)
			}
		}
	}
	t.Setenv("LOCKSTEP_ISA", "")
	var out, errs bytes.Buffer
	run([]string{"hash", "--model", "nano", "--seed", "2"}, &out, &errs)
	if firstDifferentLine(out.String(), string(want)) == "" {
		t.Error("another seed gives the same chain")
	}
}
