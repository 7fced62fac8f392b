package autograd

import "lockstep/internal/f32"

// layerNorm is y = (x - mean) r γ + β with r = 1/√(variance + ε), row by row.
type layerNorm struct {
	x           *Tensor
	gamma, beta *Parameter
	epsilon     float32
	mean, r     []float32 // (B, T)
	y           Tensor

	dx                        []float32 // (B, T, C), during backward
	rows, columns             split
	forwardTask, backwardTask func(int)
	gradientTask              func(int)
}

func newLayerNorm() *layerNorm {
	op := new(layerNorm)
	op.forwardTask = op.forwardRows
	op.backwardTask = op.backwardRows
	op.gradientTask = op.parameterGradients
	return op
}

// LayerNorm normalises every row of x (B, T, C), scales it by gamma (C) and
// shifts it by beta (C) (N10).
func (t *Tape) LayerNorm(x *Tensor, gamma, beta *Parameter, epsilon float32) *Tensor {
	gamma.mustBe(1, x.C)
	beta.mustBe(1, x.C)
	op := record(t, newLayerNorm)
	op.x, op.gamma, op.beta, op.epsilon = x, gamma, beta, epsilon
	y := t.tensor(&op.y, x.B, x.T, x.C)
	op.mean = t.stack.take(x.Rows())
	op.r = t.stack.take(x.Rows())
	op.rows = splitRows(x.Rows(), x.C)
	f32.Parallel(op.rows.tasks(), op.forwardTask)
	return y
}

func (op *layerNorm) forwardRows(task int) {
	lo, hi := op.rows.span(task)
	for i := lo; i < hi; i++ {
		op.mean[i], op.r[i] = f32.LayerNorm(op.y.Row(i), op.x.Row(i), op.gamma.Value, op.beta.Value, op.epsilon)
	}
}

func (op *layerNorm) result() *Tensor { return &op.y }

// backward adds to dx row by row, and to dγ and dβ column by column.
func (op *layerNorm) backward(t *Tape) {
	op.dx = t.gradient(op.x)
	f32.Parallel(op.rows.tasks(), op.backwardTask)
	op.dx = nil
	if op.gamma.Gradient != nil && op.beta.Gradient != nil {
		op.columns = split{n: op.x.C, per: sumColumns}
		f32.Parallel(op.columns.tasks(), op.gradientTask)
	}
}

// parameterGradients sums a task's columns, sequence after sequence.
func (op *layerNorm) parameterGradients(task int) {
	x, y := op.x, &op.y
	lo, hi := op.columns.span(task)
	for s := range x.B {
		rows := s * x.T
		f32.LayerNormParams(op.gamma.Gradient[lo:hi], op.beta.Gradient[lo:hi], y.sequence(y.gradient, s)[lo:], x.sequence(x.Data, s)[lo:],
			op.mean[rows:][:x.T], op.r[rows:][:x.T], x.T, hi-lo, x.C)
	}
}

func (op *layerNorm) backwardRows(task int) {
	lo, hi := op.rows.span(task)
	c := op.x.C
	for i := lo; i < hi; i++ {
		f32.LayerNormBackward(op.dx[i*c:][:c], op.y.gradient[i*c:][:c], op.x.Row(i), op.gamma.Value, op.mean[i], op.r[i])
	}
}
