package f32

import (
	"math"

	"lockstep/internal/fault"
)

// SelfTest checks on the threads of the pool that arithmetic is what N1 says:
// ties round to even, subnormals are neither flushed nor read as zero, and a
// fused multiply-add rounds once, in scalar code and in the kernels of the
// active ISA. A process calls it once at its start; an error, of kind
// fault.SelfTest, means that no result of this process can be trusted.
func SelfTest() error {
	failed := make([]string, 4*Threads())
	Parallel(len(failed), func(i int) { failed[i] = checkArithmetic(arithmetic{add, scale, normalizeParams}) })
	for _, what := range failed {
		if what != "" {
			return fault.Errorf(fault.SelfTest, "this machine's float32 arithmetic (%s) is not the contract's: %s; "+
				"look for a library in the process that changes the rounding mode or flushes subnormals", Active(), what)
		}
	}
	return nil
}

// arithmetic holds the kernels that SelfTest exercises: dst = x + y, dst = x*s
// and t = fma(dy, (x - mean) * rstd, t).
type arithmetic struct {
	add   func(dst, x, y []float32)
	scale func(dst, x []float32, s float32)
	fma   func(t, dy, x []float32, mean, rstd float32)
}

// checkArithmetic returns what is wrong, or "". Seventeen elements exercise both
// a whole vector and a tail.
func checkArithmetic(k arithmetic) string {
	const n = lanes + 1
	filled := func(x float32) []float32 {
		v := make([]float32, n)
		for i := range v {
			v[i] = x
		}
		return v
	}
	all := func(x []float32, bits uint32) bool {
		for _, v := range x {
			if math.Float32bits(v) != bits {
				return false
			}
		}
		return true
	}
	const (
		one       = 0x3F800000
		least     = 0x00800000 // 2^-126, the smallest normal number
		subnormal = 0x00400000 // 2^-127
	)
	x := filled(1)
	k.add(x, x, filled(0x1p-24))
	if !all(x, one) {
		return "1 + 2^-24, a tie, does not round to even"
	}
	k.add(x, filled(math.Float32frombits(one+1)), filled(0x1p-24))
	if !all(x, one+2) {
		return "1 + 2^-23 + 2^-24, a tie, does not round to even"
	}
	k.scale(x, filled(math.Float32frombits(least)), 0.5)
	if !all(x, subnormal) {
		return "2^-127 is flushed to zero"
	}
	k.scale(x, filled(math.Float32frombits(subnormal)), 2)
	if !all(x, least) {
		return "a subnormal operand is read as zero"
	}
	// (1 + 2^-12)^2 - (1 + 2^-11) is 2^-24, and 0 if the product is rounded.
	x = filled(-(1 + 0x1p-11))
	k.fma(x, filled(1+0x1p-12), filled(1+0x1p-12), 0, 1)
	if !all(x, math.Float32bits(0x1p-24)) {
		return "a fused multiply-add rounds twice"
	}
	return ""
}
