package f32

import (
	"math/rand/v2"
	"os"
	"strings"
	"testing"
)

// fuzzRow compares a row kernel, and its form in place if it has one, on every
// ISA with its definition, on operands of arbitrary bits at any alignment.
func fuzzRow(f *testing.F, name string) {
	f.Add(uint16(33), uint8(1), []byte("\x00\x00\x80\x3f\xff\xff\x7f\x00\x01\x00\x00\x80"))
	f.Add(uint16(768), uint8(7), []byte("\x00\x00\x80\x7f\x00\x00\xc0\x7f\x17\x72\xb1\x42\xff\xff\x7f\x7f\x01\x00\x80\xff"))
	f.Add(uint16(15), uint8(0), []byte("\x4f\xac\xae\xc2\x00\x00\x20\xc1\x01\x00\x20\xc1\xff\xff\x7f\x33\xab\xaa\xaa\x3e"))
	f.Fuzz(func(t *testing.T, length uint16, offset uint8, bits []byte) {
		next := floatsOf(bits)
		o := newRowCall(rand.New(rand.NewPCG(24, 3)), int(length)%2048, int(offset)%16, func(*rand.Rand) float32 { return next() })
		for _, kernel := range rowKernels {
			if plain, _, _ := strings.Cut(kernel.name, " "); plain != name {
				continue
			}
			want := o.clone()
			onISA(Portable, kernel.run, want)
			for _, isa := range Available()[1:] {
				got := o.clone()
				onISA(isa, kernel.run, got)
				if diff := got.difference(want); diff != "" {
					t.Errorf("%s on %s, length %d: %s", kernel.name, isa, len(o.a), diff)
				}
			}
		}
	})
}

func FuzzExpSlice(f *testing.F)        { fuzzRow(f, "expSlice") }
func FuzzGeluForward(f *testing.F)     { fuzzRow(f, "geluForward") }
func FuzzGeluBackward(f *testing.F)    { fuzzRow(f, "geluBackward") }
func FuzzSum(f *testing.F)             { fuzzRow(f, "sum") }
func FuzzDot(f *testing.F)             { fuzzRow(f, "dot") }
func FuzzSumSquares(f *testing.F)      { fuzzRow(f, "sumSquares") }
func FuzzMaximum(f *testing.F)         { fuzzRow(f, "maximum") }
func FuzzExpStore(f *testing.F)        { fuzzRow(f, "expStore") }
func FuzzExpTotal(f *testing.F)        { fuzzRow(f, "expTotal") }
func FuzzSoftmaxGrad(f *testing.F)     { fuzzRow(f, "softmaxGrad") }
func FuzzSquaresAbout(f *testing.F)    { fuzzRow(f, "squaresAbout") }
func FuzzNormalize(f *testing.F)       { fuzzRow(f, "normalize") }
func FuzzNormalizeSums(f *testing.F)   { fuzzRow(f, "normalizeSums") }
func FuzzNormalizeGrad(f *testing.F)   { fuzzRow(f, "normalizeGrad") }
func FuzzNormalizeParams(f *testing.F) { fuzzRow(f, "normalizeParams") }
func FuzzAdd(f *testing.F)             { fuzzRow(f, "add") }
func FuzzScale(f *testing.F)           { fuzzRow(f, "scale") }
func FuzzAdamW(f *testing.F)           { fuzzRow(f, "adamW") }
func FuzzFiniteBlocks(f *testing.F)    { fuzzRow(f, "finiteBlocks") }
func FuzzAddFloat64(f *testing.F)      { fuzzRow(f, "addFloat64") }
func FuzzDivideRound(f *testing.F)     { fuzzRow(f, "divideRound") }

// TestN24_EveryRowKernelIsFuzzed reads this file.
func TestN24_EveryRowKernelIsFuzzed(t *testing.T) {
	text, err := os.ReadFile("rows_fuzz_test.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, kernel := range rowKernels {
		plain, _, _ := strings.Cut(kernel.name, " ")
		if !strings.Contains(string(text), `{ fuzzRow(f, "`+plain+`") }`) {
			t.Errorf("%s has no fuzz target", plain)
		}
	}
}
