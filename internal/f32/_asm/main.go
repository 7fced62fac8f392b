// Command asm writes the AVX2 and AVX-512 assembly of package f32 and its Go
// stubs. It is a module of its own, so that the generator's dependencies never
// reach the main module; the leading underscore hides it from "./...".
//
// Each set of kernels is generated apart; "go generate" in package f32 runs all:
//
//	go -C _asm run . -set rows     # rows_amd64.s and rows_amd64.go
//	go -C _asm run . -set matmul   # matmul_amd64.s and matmul_amd64.go
//	go -C _asm run . -set matvec   # matvec_amd64.s and matvec_amd64.go
package main

import (
	"flag"
	"fmt"
	"os"

	"github.com/mmcloughlin/avo/build"
)

// sets maps a set's name to the function that emits its kernels. Each set
// enters itself from the file that builds it.
var sets = map[string]func(){}

func main() {
	set := flag.String("set", "", "set of kernels to write: rows, matmul or matvec")
	flag.Parse()
	emit, ok := sets[*set]
	if !ok {
		fmt.Fprintf(os.Stderr, "asm: unknown set %q\n", *set)
		os.Exit(2)
	}
	// avo takes its outputs from flags of its own.
	for name, value := range map[string]string{
		"out":   "../" + *set + "_amd64.s",
		"stubs": "../" + *set + "_amd64.go",
		"pkg":   "f32",
	} {
		if err := flag.Set(name, value); err != nil {
			fmt.Fprintln(os.Stderr, "asm:", err)
			os.Exit(1)
		}
	}
	emit()
	build.Generate()
}
