//go:build !amd64 && !arm64

package f32

// kernelsFor finds no kernels: the portable product serves.
func kernelsFor(ISA, int) *kernels { return nil }

// vectorKernelsFor finds none either.
func vectorKernelsFor(ISA) *vectorKernels { return nil }
