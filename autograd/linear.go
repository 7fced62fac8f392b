package autograd

import "lockstep/internal/f32"

// linear is y = x W + b.
type linear struct {
	x    *Tensor
	w, b *Parameter // b may be nil
	y    Tensor

	rows, columns           split
	biasTask, biasGradients func(int)
}

func newLinear() *linear {
	op := new(linear)
	op.biasTask = op.addBias
	op.biasGradients = op.biasGradient
	return op
}

// Linear multiplies every row of x (B, T, in) with w (in, out) and adds the
// bias b (out), unless that is nil.
func (t *Tape) Linear(x *Tensor, w, b *Parameter) *Tensor {
	w.mustBe(x.C, w.Out)
	if b != nil {
		b.mustBe(1, w.Out)
	}
	op := record(t, newLinear)
	op.x, op.w, op.b = x, w, b
	y := t.tensor(&op.y, x.B, x.T, w.Out)
	f32.MatMul(f32.NN, y.Data, y.C, x.Data, x.C, w.Value, w.Out, y.Rows(), y.C, x.C, false)
	if b != nil {
		op.rows = splitRows(y.Rows(), y.C)
		f32.Parallel(op.rows.tasks(), op.biasTask)
	}
	return y
}

func (op *linear) addBias(task int) {
	lo, hi := op.rows.span(task)
	n := op.y.C
	f32.AddBias(op.y.Data[lo*n:], n, op.b.Value, hi-lo, n)
}

func (op *linear) result() *Tensor { return &op.y }

// backward: dx = dy Wᵀ, and for each sequence dW += xᵀ dy, db += Σt dy[t].
func (op *linear) backward(t *Tape) {
	x, y, w := op.x, &op.y, op.w
	dy := y.gradient
	dx := t.share(x)
	f32.MatMul(f32.NT, dx, x.C, dy, y.C, w.Value, w.Out, x.Rows(), x.C, y.C, false)
	t.merge(x, dx)
	if w.Gradient != nil {
		for s := range x.B {
			f32.MatMul(f32.TN, w.Gradient, w.Out, x.sequence(x.Data, s), x.C, y.sequence(dy, s), y.C, x.C, y.C, x.T, true)
		}
	}
	if op.b != nil && op.b.Gradient != nil {
		op.columns = split{n: y.C, per: sumColumns}
		f32.Parallel(op.columns.tasks(), op.biasGradients)
	}
}

// biasGradient sums a task's columns of dy.
func (op *linear) biasGradient(task int) {
	y := &op.y
	lo, hi := op.columns.span(task)
	for s := range y.B {
		f32.SumRows(op.b.Gradient[lo:hi], y.sequence(y.gradient, s)[lo:], y.T, hi-lo, y.C)
	}
}
