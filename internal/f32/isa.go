package f32

import (
	"fmt"
	"strings"
	"sync/atomic"

	"lockstep/internal/fault"
)

// ISA is an instruction set for which this package has kernels. All give the
// same bits (N24); they differ in speed alone.
type ISA uint8

// The instruction sets. Portable is the definition and runs everywhere.
const (
	Portable ISA = iota
	AVX2
	AVX512
	NEON
)

var isaNames = [...]string{"portable", "avx2", "avx512", "neon"}

// String returns the name that LOCKSTEP_ISA takes.
func (i ISA) String() string { return isaNames[i] }

// active is the chosen ISA, read by every dispatcher.
var active atomic.Uint32

func init() { active.Store(uint32(best())) }

// Active returns the ISA in use.
func Active() ISA { return ISA(active.Load()) }

// Available lists the ISAs that this machine can run, Portable first and the
// fastest last.
func Available() []ISA { return append([]ISA{Portable}, detect()...) }

func best() ISA {
	all := Available()
	return all[len(all)-1]
}

// Select chooses the ISA by name; "" or "auto" is the fastest. It is called
// once, before any kernel runs. A name that is unknown, or an ISA that this
// machine lacks, is an error and never a silent fallback.
func Select(name string) error {
	if name == "" || name == "auto" {
		active.Store(uint32(best()))
		return nil
	}
	for _, isa := range Available() {
		if isa.String() == name {
			active.Store(uint32(isa))
			return nil
		}
	}
	return fault.Errorf(fault.Config, "LOCKSTEP_ISA=%s: this machine has %s", name, names(Available()))
}

func names(isas []ISA) string {
	s := make([]string, len(isas))
	for i, isa := range isas {
		s[i] = isa.String()
	}
	return strings.Join(s, ", ")
}

// ForTest forces an ISA and returns a function that restores the former one.
// It panics where the machine lacks the ISA.
func ForTest(isa ISA) (restore func()) {
	old := Active()
	if err := Select(isa.String()); err != nil {
		panic(fmt.Sprintf("f32: %v", err))
	}
	return func() { active.Store(uint32(old)) }
}
