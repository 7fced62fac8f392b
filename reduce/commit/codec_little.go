//go:build amd64 || arm64 || loong64 || ppc64le || riscv64

package commit

import (
	"unsafe"

	"lockstep/internal/f32"
)

// On these machines memory is little-endian: the codec is a copy.

func encode(dst []byte, x []float32) { copy(dst, view(x)) }

func decode(dst []float32, src []byte) bool {
	copy(view(dst), src)
	return f32.Finite(dst) < 0
}

// view returns the bytes of x.
func view(x []float32) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(x))), 4*len(x))
}
