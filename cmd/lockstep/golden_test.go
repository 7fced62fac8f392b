package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lockstep/internal/f32"
	"lockstep/internal/testdata"
)

// TestGoldenChainsOfLargerModels compares the chains of tiny and distilgpt2,
// from text to tag, with the published ones. The portable kernels take twenty
// seconds for distilgpt2: testdata/README.md names the command for them.
func TestGoldenChainsOfLargerModels(t *testing.T) {
	for _, tt := range []struct {
		file, args string
		portable   bool
	}{
		{"chain-tiny.txt", "hash --model tiny --sequences 2 --seq-len 64 --epochs 2", true},
		{"chain-distilgpt2.txt", "hash --model distilgpt2 --sequences 1 --seq-len 64 --epochs 1", false},
	} {
		if testing.Short() && tt.file != "chain-tiny.txt" {
			continue
		}
		want, err := os.ReadFile(filepath.Join(testdata.Root(), "testdata", "golden", tt.file))
		if err != nil {
			t.Fatal(err)
		}
		for _, isa := range f32.Available() {
			if isa == f32.Portable && (testing.Short() || !tt.portable) {
				continue
			}
			t.Setenv("LOCKSTEP_ISA", isa.String())
			var out, errs bytes.Buffer
			if code := run(strings.Fields(tt.args), &out, &errs); code != 0 {
				t.Fatalf("%s: exit code %d: %s", isa, code, &errs)
			}
			if d := firstDifferentLine(out.String(), string(want)); d != "" {
				t.Errorf("%s, %s: %s", tt.file, isa, d)
			}
		}
	}
}
