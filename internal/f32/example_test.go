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
