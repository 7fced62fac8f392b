// Command asm writes the assembly of package f32 and its Go stubs: AVX2 and
// AVX-512 for amd64, through avo, and NEON for arm64, through the small
// assembler in neon.go. It is a module of its own, so that the generator's
// dependencies never reach the main module; the leading underscore hides it
// from "./...".
//
// Each set of kernels is generated apart; "go generate" in package f32 runs all:
//
//	go -C _asm run . -set rows -arch amd64     # rows_amd64.s and rows_amd64.go
//	go -C _asm run . -set rows -arch arm64     # rows_arm64.s and rows_arm64.go
//	go -C _asm run . -set matmul -arch amd64   # matmul_amd64.s and matmul_amd64.go
//	go -C _asm run . -set matmul -arch arm64   # matmul_arm64.s and matmul_arm64.go
//	go -C _asm run . -set matvec -arch amd64   # matvec_amd64.s and matvec_amd64.go
//	go -C _asm run . -set matvec -arch arm64   # matvec_arm64.s and matvec_arm64.go
//
// The row kernels are templates over a target (kernel.go); files that begin
// with the name of an ISA are for it alone.
package main

import (
	"flag"
	"fmt"
	"os"

	"github.com/mmcloughlin/avo/build"
)

func main() {
	set := flag.String("set", "", "set of kernels to write: rows, matmul or matvec")
	arch := flag.String("arch", "", "architecture to write them for: amd64 or arm64")
	flag.Parse()
	if err := write(*set, *arch); err != nil {
		fmt.Fprintln(os.Stderr, "asm:", err)
		os.Exit(1)
	}
}

func write(set, arch string) error {
	file := fmt.Sprintf("../%s_%s", set, arch)
	switch set + " " + arch {
	case "rows amd64":
		targets = []target{avx(machines[0]), avx(machines[1])}
		return writeAVX(rows, file)
	case "matmul amd64":
		return writeAVX(matmul, file)
	case "matvec amd64":
		return writeAVX(matvec, file)
	case "rows arm64":
		n := &neonFile{command: "-set rows -arch arm64", table: "row_constants"}
		targets = []target{n}
		rows()
		return n.write(file)
	case "matmul arm64":
		n := &neonFile{command: "-set matmul -arch arm64"}
		neonMatmul(n)
		return n.write(file)
	case "matvec arm64":
		n := &neonFile{command: "-set matvec -arch arm64"}
		neonMatvec(n)
		return n.write(file)
	}
	return fmt.Errorf("no set %q for %q", set, arch)
}

// writeAVX runs emit, which builds functions in avo's context, and writes them.
func writeAVX(emit func(), file string) error {
	// avo takes its outputs from flags of its own.
	for name, value := range map[string]string{"out": file + ".s", "stubs": file + ".go", "pkg": "f32"} {
		if err := flag.Set(name, value); err != nil {
			return err
		}
	}
	emit()
	build.Generate()
	return nil
}
