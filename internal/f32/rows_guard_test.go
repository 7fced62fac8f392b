//go:build linux

package f32

import (
	"math/rand/v2"
	"syscall"
	"testing"
	"unsafe"
)

// TestRowKernels_StayInside runs every kernel on operands that begin, or end,
// at a page which faults when it is touched, for every length up to several
// vectors and a tail.
func TestRowKernels_StayInside(t *testing.T) {
	page := syscall.Getpagesize()
	var memory [4][]float32
	for v := range memory {
		memory[v] = fenced(t, page/4, true) // a page between two fences
	}
	words := fenced(t, page/4, true)
	memory8 := unsafe.Slice((*float64)(unsafe.Pointer(&words[0])), page/8)
	eachISA(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(24, 2))
		for _, kernel := range rowKernels {
			for n := range 71 {
				for _, atEnd := range []bool{false, true} {
					o := newRowCall(r, n, 0, drawFinite)
					want := o.clone()
					onISA(Portable, kernel.run, want)
					inside := *o
					for v, view := range []*[]float32{&inside.a, &inside.b, &inside.c, &inside.d} {
						*view = place(memory[v], *view, atEnd)
					}
					inside.p = place(memory8, o.p, atEnd)
					kernel.run(&inside)
					o.results = inside.results
					for v, view := range [][]float32{o.a, o.b, o.c, o.d} {
						copy(view, [][]float32{inside.a, inside.b, inside.c, inside.d}[v])
					}
					copy(o.p, inside.p)
					if diff := o.difference(want); diff != "" {
						t.Fatalf("%s, length %d, at the end %t: %s", kernel.name, n, atEnd, diff)
					}
				}
			}
		}
	})
}

// place copies x to the beginning or the end of memory.
func place[T any](memory, x []T, atEnd bool) []T {
	start := 0
	if atEnd {
		start = len(memory) - len(x)
	}
	view := memory[start:][:len(x):len(x)]
	copy(view, x)
	return view
}
