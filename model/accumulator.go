package model

import (
	"slices"
	"sync"

	"lockstep/internal/f32"
	"lockstep/internal/fault"
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

	norms              optim.Norms
	clearTask, addTask func(int)
}

// NewAccumulator returns an empty sum for a layout.
func NewAccumulator(l *Layout) *Accumulator {
	a := &Accumulator{
		layout:    l,
		gradient:  make([]float32, l.Elements),
		embedding: make([]float32, l.Tensors[0].Size),
	}
	a.clearTask, a.addTask = a.clearPart, a.addPart
	return a
}

// accumulatorPart is how many elements one task clears or adds.
const accumulatorPart = 1 << 16

// parts returns the number of tasks for n elements.
func parts(n int) int { return (n + accumulatorPart - 1) / accumulatorPart }

// part returns a task's elements of x.
func part(x []float32, task int) []float32 {
	return x[min(task*accumulatorPart, len(x)):min((task+1)*accumulatorPart, len(x))]
}

// Reset empties the sum and keeps its memory, which earlier results of Freeze
// share.
func (a *Accumulator) Reset() {
	f32.Parallel(parts(len(a.gradient)), a.clearTask)
	a.Tally, a.frozen = Tally{}, false
}

// clearPart clears a part of both vectors; the embedding is the shorter one.
func (a *Accumulator) clearPart(task int) {
	clear(part(a.gradient, task))
	clear(part(a.embedding, task))
}

// Freeze ends the sum and returns the flat gradient, in the accumulator's own
// memory: wte = head + embedding (N14). A gradient that holds a NaN or an
// infinity is a *optim.NonFiniteError (N21). Freezing again returns the same.
func (a *Accumulator) Freeze() ([]float32, error) {
	if !a.frozen {
		f32.Parallel(parts(len(a.embedding)), a.addTask)
		a.frozen = true
	}
	if err := a.norms.Check("gradient", a.layout.spans, a.gradient); err != nil {
		return nil, err
	}
	return a.gradient, nil
}

// addPart adds a part of the embedding's share of wte to the head's.
func (a *Accumulator) addPart(task int) {
	x := part(a.embedding, task)
	f32.AddTo(part(a.gradient, task)[:len(x)], x)
}

// Average turns the summed gradient of a group of one into the average per
// token, in place, with the roundings of a group of any size (N16): a float64
// sum from +0, one division by the number of tokens, one rounding.
func Average(gradient []float32, tokens uint64) error {
	if tokens == 0 {
		return fault.Errorf(fault.Damaged, "average: the batch has no targets")
	}
	averaging.Lock()
	defer averaging.Unlock()
	a := &averaging.average
	if a.task == nil {
		a.task = a.part
	}
	a.gradient, a.tokens = gradient, float64(tokens)
	f32.Parallel(parts(len(gradient)), a.task)
	a.gradient = nil
	return nil
}

// averaging is the call of Average under way. One at a time uses all threads;
// it is kept from call to call, so that its task is made only once.
var averaging struct {
	sync.Mutex
	average
}

// average is one call of Average.
type average struct {
	gradient []float32
	tokens   float64
	task     func(int)
}

// part averages a task's elements, as many at a time as the first-level cache
// holds in float64.
func (a *average) part(task int) {
	var sums [1024]float64
	for x := range slices.Chunk(part(a.gradient, task), len(sums)) {
		sum := sums[:len(x)]
		clear(sum)
		f32.AddFloat64(sum, x)
		f32.DivideRound(x, sum, a.tokens)
	}
}
