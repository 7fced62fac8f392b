package model

import (
	"lockstep/internal/f32"
	"lockstep/internal/fault"
	"lockstep/internal/merkle"
	"lockstep/optim"
)

// Accumulator is a gradient in the making: the ordered sum over sequences. It
// has one tensor more than the model, as the two uses of wte, output head and
// embedding, are summed apart until Freeze (N14). The zero value is invalid:
// use NewAccumulator.
type Accumulator struct {
	Tally

	layout    *Layout
	gradient  []float32 // layout order; wte holds the output head's share until Freeze
	embedding []float32 // (V, C): the embedding's share of wte
	frozen    bool
}

// NewAccumulator returns an empty sum for a layout.
func NewAccumulator(l *Layout) *Accumulator {
	return &Accumulator{
		layout:    l,
		gradient:  make([]float32, l.Elements),
		embedding: make([]float32, l.Tensors[0].Size),
	}
}

// Reset empties the sum and keeps its memory, which earlier results of Freeze
// share.
func (a *Accumulator) Reset() {
	clear(a.gradient)
	clear(a.embedding)
	a.Tally, a.frozen = Tally{}, false
}

// Freeze ends the sum and returns the flat gradient, in the accumulator's own
// memory: wte = head + embedding (N14). A gradient that holds a NaN or an
// infinity is a *optim.NonFiniteError (N21). Freezing again returns the same.
func (a *Accumulator) Freeze() ([]float32, error) {
	if !a.frozen {
		f32.AddTo(a.gradient[:len(a.embedding)], a.embedding)
		a.frozen = true
	}
	if err := optim.Check("gradient", a.layout.spans, a.gradient); err != nil {
		return nil, err
	}
	return a.gradient, nil
}

// Average turns the summed gradient of a group of one into the average per
// token, in place, with the roundings of a group of any size (N16): a float64
// sum from +0, one division by the number of tokens, one rounding.
func Average(gradient []float32, tokens uint64) error {
	if tokens == 0 {
		return fault.Errorf(fault.Damaged, "average: the batch has no targets")
	}
	grid := merkle.Grid{Elements: len(gradient)}
	const tasks = 64 // each with a buffer of its own
	f32.Parallel(tasks, func(task int) {
		var sum []float64
		for leaf := task; leaf < grid.Leaves(); leaf += tasks {
			if sum == nil {
				sum = make([]float64, merkle.LeafElements)
			}
			lo, hi := grid.LeafSpan(leaf)
			acc := sum[:hi-lo]
			clear(acc)
			f32.AddFloat64(acc, gradient[lo:hi])
			f32.DivideRound(gradient[lo:hi], acc, float64(tokens))
		}
	})
	return nil
}
