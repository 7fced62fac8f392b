package autograd

import "lockstep/internal/f32"

// add is y = x + f.
type add struct {
	x, f *Tensor
	y    Tensor

	elements    split
	forwardTask func(int)
}

func newAdd() *add {
	op := new(add)
	op.forwardTask = op.forwardElements
	return op
}

// Add is the residual connection: the stream x plus the output f of a layer.
func (t *Tape) Add(x, f *Tensor) *Tensor {
	if x.B != f.B || x.T != f.T || x.C != f.C {
		panic("autograd: Add: different shapes")
	}
	op := record(t, newAdd)
	op.x, op.f = x, f
	y := t.tensor(&op.y, x.B, x.T, x.C)
	op.elements = splitRows(len(y.Data), 1)
	f32.Parallel(op.elements.tasks(), op.forwardTask)
	return y
}

func (op *add) forwardElements(task int) {
	lo, hi := op.elements.span(task)
	f32.Add(op.y.Data[lo:hi], op.x.Data[lo:hi], op.f.Data[lo:hi])
}

func (op *add) result() *Tensor { return &op.y }

// backward: dx and df are both dy. The buffer of dy becomes dx where nothing
// else has reached x yet, which is so all along the residual stream.
func (op *add) backward(t *Tape) {
	df := t.share(op.f)
	t.pairs.run(df, op.y.gradient, copyTo)
	t.merge(op.f, df)
	t.merge(op.x, op.y.gradient)
	op.y.gradient = nil
}

func copyTo(dst, x []float32) { copy(dst, x) }
