package autograd

import "lockstep/internal/f32"

// head is y = x wteᵀ: the logits of every token, with the embedding's own
// matrix as weights.
type head struct {
	x   *Tensor
	wte *Parameter
	y   Tensor
}

func newHead() *head { return new(head) }

// Head multiplies every row of x (B, T, C) with the transpose of wte (V, C).
// The result (B, T, V) is by far the largest tensor of a GPT-2: callers work in
// slices of whole sequences, see Sequences.
func (t *Tape) Head(x *Tensor, wte *Parameter) *Tensor {
	wte.mustBe(wte.In, x.C)
	op := record(t, newHead)
	op.x, op.wte = x, wte
	y := t.tensor(&op.y, x.B, x.T, wte.In)
	f32.MatMul(f32.NT, y.Data, y.C, x.Data, x.C, wte.Value, wte.Out, y.Rows(), y.C, x.C, false)
	return y
}

func (op *head) result() *Tensor { return &op.y }

// backward: dx = dy wte, and for each sequence dwte += dyᵀ x.
func (op *head) backward(t *Tape) {
	x, y, wte := op.x, &op.y, op.wte
	dy := y.gradient
	dx := t.share(x)
	f32.MatMul(f32.NN, dx, x.C, dy, y.C, wte.Value, wte.Out, x.Rows(), x.C, y.C, false)
	t.merge(x, dx)
	if wte.Gradient == nil {
		return
	}
	for s := range x.B {
		f32.MatMul(f32.TN, wte.Gradient, wte.Out, y.sequence(dy, s), y.C, x.sequence(x.Data, s), x.C, y.C, x.C, x.T, true)
	}
}
