package autograd

import "lockstep/internal/f32"

// gelu is y = GELU(x), the tanh form, element by element.
type gelu struct {
	x *Tensor
	y Tensor

	dx                        []float32 // (B, T, C), during backward
	elements                  split
	forwardTask, backwardTask func(int)
}

func newGELU() *gelu {
	op := new(gelu)
	op.forwardTask = op.forwardElements
	op.backwardTask = op.backwardElements
	return op
}

// GELU applies the Gaussian error linear unit in its tanh form ("gelu_new").
func (t *Tape) GELU(x *Tensor) *Tensor {
	op := record(t, newGELU)
	op.x = x
	y := t.tensor(&op.y, x.B, x.T, x.C)
	op.elements = splitRows(len(x.Data), 1)
	f32.Parallel(op.elements.tasks(), op.forwardTask)
	return y
}

func (op *gelu) forwardElements(task int) {
	lo, hi := op.elements.span(task)
	f32.GELUForward(op.y.Data[lo:hi], op.x.Data[lo:hi])
}

func (op *gelu) result() *Tensor { return &op.y }

// backward: dx = dy GELU'(x).
func (op *gelu) backward(t *Tape) {
	op.dx = t.share(op.x)
	f32.Parallel(op.elements.tasks(), op.backwardTask)
	t.merge(op.x, op.dx)
	op.dx = nil
}

func (op *gelu) backwardElements(task int) {
	lo, hi := op.elements.span(task)
	f32.GELUBackward(op.dx[lo:hi], op.y.gradient[lo:hi], op.x.Data[lo:hi])
}
