package f32

import (
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// namedWord is an arm64 instruction that Go's assembler has no name for.
var namedWord = regexp.MustCompile(`(?m)^\s+WORD \$0x([0-9a-f]{8}) // (.*)$`)

// disassembled is a line of objdump: address, word, instruction.
var disassembled = regexp.MustCompile(`(?m)^\s+[0-9a-f]+:\s+([0-9a-f]{8})\s+(.*)$`)

// disassembler is in Debian's binutils-aarch64-linux-gnu, and on an arm64
// machine in binutils.
func disassembler(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"aarch64-linux-gnu-objdump", "objdump"} {
		path, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		if help, err := exec.Command(path, "--help").Output(); err == nil && strings.Contains(string(help), "elf64-littleaarch64") {
			return path
		}
	}
	t.Skip("no disassembler for arm64 here; Debian has it in binutils-aarch64-linux-gnu")
	return ""
}

// misnamed returns the words in the text of an assembly file whose name is not
// what the disassembler reads.
func misnamed(t *testing.T, objdump, text string) (faults []string) {
	t.Helper()
	words := namedWord.FindAllStringSubmatch(text, -1)
	var code []byte
	for _, w := range words {
		bits, err := strconv.ParseUint(w[1], 16, 32)
		if err != nil {
			t.Fatal(err)
		}
		code = binary.LittleEndian.AppendUint32(code, uint32(bits))
	}
	file := filepath.Join(t.TempDir(), "words")
	if err := os.WriteFile(file, code, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(objdump, "-D", "-z", "-b", "binary", "-m", "aarch64", file).Output()
	if err != nil {
		t.Fatal(err)
	}
	read := disassembled.FindAllStringSubmatch(string(out), -1)
	if len(read) != len(words) {
		t.Fatalf("%d words give %d lines of disassembly", len(words), len(read))
	}
	for i, w := range words {
		if got := strings.Join(strings.Fields(read[i][2]), " "); got != w[2] {
			faults = append(faults, fmt.Sprintf("%s is %q, not %q", w[1], got, w[2]))
		}
	}
	return faults
}

func TestN5_WordsAreWhatTheySay(t *testing.T) {
	objdump := disassembler(t)
	files, err := filepath.Glob("*_arm64.s")
	if err != nil || len(files) == 0 {
		t.Fatalf("no assembly found (%v)", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, fault := range misnamed(t, objdump, string(text)) {
			t.Errorf("%s: %s", file, fault)
		}
	}
	wrong := "\tWORD $0x4e22d420 // fadd v0.4s, v1.4s, v2.4s\n\tWORD $0x4ea2d420 // fadd v0.4s, v1.4s, v2.4s\n"
	if faults := misnamed(t, objdump, wrong); len(faults) != 1 {
		t.Errorf("of a right and a wrong name: %q", faults)
	}
}
