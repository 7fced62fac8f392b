//go:build !amd64

package f32

// pause lets time pass; other architectures' hints are not worth assembly.
func pause(n uint32) {
	for range n {
		workers.generation.Load()
	}
}
