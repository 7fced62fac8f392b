//go:build !amd64

package f32

// Features lists the extensions beyond the architecture's own: none that these
// kernels ask for.
func Features() []string { return nil }
