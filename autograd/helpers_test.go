package autograd

import (
	"math"
	"testing"

	"lockstep/internal/f32"
)

// random fills x with numbers in [-1, 1) that depend on key alone.
func random(x []float32, key uint32) []float32 {
	for i := range x {
		h := key*0x9E3779B9 + uint32(i)*0x85EBCA6B
		h ^= h >> 15
		h *= 0x2C1B3C6D
		h ^= h >> 12
		h *= 0x297A2D39
		h ^= h >> 15
		x[i] = float32(int32(h)) / (1 << 31)
	}
	return x
}

// input returns a tensor that no operation made.
func input(b, t, c int, key uint32) *Tensor {
	return &Tensor{Data: random(make([]float32, b*t*c), key), B: b, T: t, C: c}
}

// parameter returns a parameter whose gradient is wanted.
func parameter(in, out int, key uint32) *Parameter {
	return &Parameter{Value: random(make([]float32, in*out), key), Gradient: make([]float32, in*out), In: in, Out: out}
}

// seedGradient makes c the gradient that y's consumers have left.
func seedGradient(y *Tensor, key uint32) []float32 {
	y.gradient = random(make([]float32, len(y.Data)), key)
	return append([]float32(nil), y.gradient...)
}

// equalBits fails unless got and want have the same bits.
func equalBits(t *testing.T, what string, got, want []float32) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d elements, want %d", what, len(got), len(want))
	}
	for i := range got {
		if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
			t.Fatalf("%s: element %d is %v (%08x), want %v (%08x)", what, i,
				got[i], math.Float32bits(got[i]), want[i], math.Float32bits(want[i]))
		}
	}
}

// eachISA runs f once per instruction set that this machine has.
func eachISA(t *testing.T, f func(t *testing.T)) {
	for _, isa := range f32.Available() {
		t.Run(isa.String(), func(t *testing.T) {
			defer f32.ForTest(isa)()
			f(t)
		})
	}
}
