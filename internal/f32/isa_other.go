//go:build !amd64 && !arm64

package f32

func detect() []ISA { return nil }
