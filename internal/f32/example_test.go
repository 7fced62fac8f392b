package f32_test

import (
	"fmt"
	"math"

	"lockstep/internal/f32"
)

// Probabilities, their maximum score and the sum of their numerators: the bits
// are the same on every machine.
func ExampleSoftmax() {
	scores := []float32{2, 1, 0.5, -3}
	m, z := f32.Softmax(scores, scores)
	fmt.Printf("m %v, z %08x\n", m, math.Float32bits(z))
	for _, p := range scores {
		fmt.Printf("%.6f %08x\n", p, math.Float32bits(p))
	}
	// Output:
	// m 2, z 3fcc82fe
	// 0.625881 3f2039be
	// 0.230249 3e6bc656
	// 0.139653 3e0f012f
	// 0.004217 3b8a300c
}

// A row sum has sixteen lanes and a fixed fold, so it depends on the elements
// alone: not on their address, nor on the width of the machine's registers.
func ExampleSum() {
	x := make([]float32, 40)
	for i := range x {
		x[i] = 0.1 * float32(i)
	}
	fmt.Printf("%08x\n", math.Float32bits(f32.Sum(x)))
	fmt.Printf("%08x\n", math.Float32bits(f32.Sum(append([]float32{0}, x...)[1:])))
	// Output:
	// 429c0000
	// 429c0000
}
