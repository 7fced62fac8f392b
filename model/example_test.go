package model_test

import (
	"fmt"

	"lockstep/internal/merkle"
	"lockstep/model"
)

// Two parties who hold the same weights and tokens compare one digest.
func Example() {
	config, _ := model.Builtin("nano")
	m, err := model.New(config)
	if err != nil {
		fmt.Println(err)
		return
	}
	weights := model.Initialise(config, 1)
	batch := model.Batch{Inputs: []int32{5, 6, 7, 8}, Targets: []int32{6, 7, 8, 9}, B: 1, T: 4}
	sum := model.NewAccumulator(m.Layout)
	if err := m.Gradient(weights, batch, sum); err != nil {
		fmt.Println(err)
		return
	}
	gradient, err := sum.Freeze()
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(sum.Tokens, "tokens, loss", sum.Mean())
	fmt.Println(m.Layout.Root(merkle.KindGradient, gradient).Short())
	// Output:
	// 4 tokens, loss 6.214650869369507
	// ced5aa2b
}
