//go:build linux

package f32

import (
	"math/rand/v2"
	"syscall"
	"testing"
	"unsafe"
)

// fenced returns n floats that end, or else begin, at a page which faults when
// it is touched. Slices do not protect memory from assembly; this does.
func fenced(t *testing.T, n int, atEnd bool) []float32 {
	t.Helper()
	page := syscall.Getpagesize()
	size := (4*n + page - 1) / page * page
	memory, err := syscall.Mmap(-1, 0, size+2*page, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Munmap(memory) })
	for _, fence := range [][]byte{memory[:page], memory[page+size:]} {
		if err := syscall.Mprotect(fence, syscall.PROT_NONE); err != nil {
			t.Fatal(err)
		}
	}
	start := page
	if atEnd {
		start += size - 4*n
	}
	return unsafe.Slice((*float32)(unsafe.Pointer(&memory[start])), n)
}

func TestMatMul_StaysInside(t *testing.T) {
	eachISA(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(6, 8))
		for _, atEnd := range []bool{true, false} {
			for n := range rounds(100) {
				c := matrixCase{layout: Layout(n % 3), m: 1 + r.IntN(40), n: 1 + r.IntN(70), k: 1 + r.IntN(40),
					aGap: r.IntN(2), bGap: r.IntN(2), accumulate: n%2 == 0}
				if n%4 == 0 {
					c.m = 1 // which has kernels of its own
				}
				o := c.operands(normal(r))
				want := c.reference(o)
				for _, x := range []*[]float32{&o.a, &o.b, &o.out} {
					inside := fenced(t, len(*x), atEnd)
					copy(inside, *x)
					*x = inside
				}
				MatMul(c.layout, o.out, o.ldc, o.a, o.lda, o.b, o.ldb, c.m, c.n, c.k, c.accumulate)
				mustEqual(t, c, c.n, o.out, want)
			}
		}
	})
}
