//go:build !amd64

package f32

// pause lets time pass; other architectures' hints are not worth assembly.
func pause(n uint32) {
	for range n {
		workers.generation.Load()
	}
}

// kernelsFor finds no kernels: the portable product serves.
func kernelsFor(ISA, int) *kernels { return nil }

// vectorKernelsFor finds none either.
func vectorKernelsFor(ISA) *vectorKernels { return nil }
