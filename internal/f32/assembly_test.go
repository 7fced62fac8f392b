package f32

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// forbidden names the instructions that N5 shuts out: estimates, dot products,
// low precision, matrix tiles, horizontal adds, writes to MXCSR and FPCR, and
// NEON's maximum and minimum, whose NaN rules are not N11's. On arm64 most
// instructions are words with the name in a comment.
var forbidden = regexp.MustCompile(`(?mi)^\s+(WORD \$0x[0-9a-f]+ // )?(V?RCP|V?RSQRT|V?DPP[SD]|VDPBF16|VP?HADD|VHSUB|HADD|TDP|TILE|V?LDMXCSR|VCVTNE|VPDP` +
	`|FRECP|FRSQRT|URECPE|URSQRTE|[SU]DOT|BF|FADDP|FMAX|FMIN|FMLAL|FMLSL|[SU]MMLA|MSR)\w*`)

// bareWord is a word without a name.
var bareWord = regexp.MustCompile(`(?m)^\s+WORD \$0x[0-9a-f]+\s*$`)

// wideRegister names what AVX2 code cannot use; the assembler would encode it
// for AVX-512 without a word.
var wideRegister = regexp.MustCompile(`\b([XY](1[6-9]|2\d|3[01])|Z\d+|K[0-7])\b`)

// wideOnly names instructions of AVX-512 that need no such register.
var wideOnly = regexp.MustCompile(`Requires:.*AVX512`)

// lintAssembly returns what in the text of an assembly file breaks N5 or the
// bounds of AVX2.
func lintAssembly(text string) (faults []string) {
	for _, use := range forbidden.FindAllString(text, -1) {
		faults = append(faults, "forbidden instruction "+strings.TrimSpace(use))
	}
	for _, use := range bareWord.FindAllString(text, -1) {
		faults = append(faults, "word without a name:"+use)
	}
	for _, function := range strings.Split(text, "\n// func ")[1:] {
		name, _, _ := strings.Cut(function, "(")
		if !strings.HasSuffix(name, "AVX2") {
			continue
		}
		body, _, _ := strings.Cut(function, "\nDATA")
		for _, use := range wideRegister.FindAllString(body, -1) {
			faults = append(faults, fmt.Sprintf("%s uses %s", name, use))
		}
		if wideOnly.MatchString(body) {
			faults = append(faults, name+" requires AVX-512")
		}
	}
	return faults
}

func TestN5_AssemblyHoldsNoForbiddenInstruction(t *testing.T) {
	files, err := filepath.Glob("*.s")
	if err != nil || len(files) == 0 {
		t.Fatalf("no assembly found (%v)", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, fault := range lintAssembly(string(text)) {
			t.Errorf("%s: %s", file, fault)
		}
	}
}

func TestN5_LintCatchesViolations(t *testing.T) {
	for _, line := range []string{
		"\tVRSQRT14PS Z1, Z2", "\tRCPPS X1, X2", "\tVHADDPS Y1, Y2, Y3", "\tVDPPS $1, X1, X2, X3", "\tVLDMXCSR (AX)",
		"\tWORD $0x4ea1d820 // frecpe v0.4s, v1.4s", "\tMSR R0, FPCR", "\tWORD $0x6e23f441 // fmax v1.4s, v2.4s, v3.4s", "\tWORD $0x4e20d400\n",
		"\n// func sumAVX2(x)\nTEXT\n\tVADDPS Y1, Y17, Y2", "\n// func sumAVX2(x)\n\tVADDPS Z1, Z2, Z3",
		"\n// func sumAVX2(x)\n// Requires: AVX, AVX512F\nTEXT",
	} {
		if len(lintAssembly(line)) == 0 {
			t.Errorf("passes: %q", line)
		}
	}
}
