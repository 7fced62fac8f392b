package f32

import (
	"cmp"
	"math"
	"runtime"
	"sync"

	"lockstep/internal/fault"
)

// SelfTest checks on as many OS threads as Parallel can keep busy, the caller's
// among them, that arithmetic is what N1 says: ties round to even, subnormals
// are neither flushed nor read as zero, and a fused multiply-add rounds once, in
// scalar code and in the kernels of the active ISA. A process calls it once at
// its start; an error, of kind fault.SelfTest, means that no result of this
// process can be trusted. Workers that Parallel starts later check the threads
// on which they start, and a failure is Parallel's panic.
func SelfTest() error {
	if what := onThreads(min(Threads(), runtime.GOMAXPROCS(0)), checkThread); what != "" {
		return wrongArithmetic(what)
	}
	return nil
}

// onThreads calls check on n OS threads, the caller's among them, and returns
// the first answer that is not "". All n are held until each has its own.
func onThreads(n int, check func() string) string {
	answers := make([]string, n)
	var held, checked sync.WaitGroup
	held.Add(n)
	one := func(i int) {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		held.Done()
		held.Wait()
		answers[i] = check()
	}
	for i := 1; i < n; i++ {
		checked.Go(func() { one(i) })
	}
	one(0)
	checked.Wait()
	return cmp.Or(answers...)
}

// checkThread returns what is wrong with the arithmetic of one OS thread, or
// "". Rounding and the treatment of subnormals are settings of the thread, so
// the goroutine must not move to another one meanwhile.
func checkThread() string {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	return checkArithmetic(arithmetic{add, scale, normalizeParams})
}

func wrongArithmetic(what string) error {
	return fault.Errorf(fault.SelfTest, "this machine's float32 arithmetic (%s) is not the contract's: %s; "+
		"look for a library in the process that changes the rounding mode or flushes subnormals", Active(), what)
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
	operands := new([3][lanes + 1]float32)
	filled := func(operand int, x float32) []float32 {
		v := operands[operand][:]
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
	x := filled(0, 1)
	k.add(x, x, filled(1, 0x1p-24))
	if !all(x, one) {
		return "1 + 2^-24, a tie, does not round to even"
	}
	k.add(x, filled(1, math.Float32frombits(one+1)), filled(2, 0x1p-24))
	if !all(x, one+2) {
		return "1 + 2^-23 + 2^-24, a tie, does not round to even"
	}
	k.scale(x, filled(1, math.Float32frombits(least)), 0.5)
	if !all(x, subnormal) {
		return "2^-127 is flushed to zero"
	}
	k.scale(x, filled(1, math.Float32frombits(subnormal)), 2)
	if !all(x, least) {
		return "a subnormal operand is read as zero"
	}
	// (1 + 2^-12)^2 - (1 + 2^-11) is 2^-24, and 0 if the product is rounded.
	x = filled(0, -(1 + 0x1p-11))
	k.fma(x, filled(1, 1+0x1p-12), filled(2, 1+0x1p-12), 0, 1)
	if !all(x, math.Float32bits(0x1p-24)) {
		return "a fused multiply-add rounds twice"
	}
	return ""
}
