package autograd

import "lockstep/internal/f32"

// crossEntropy is loss = log Σ exp(x) - x[target], row by row.
type crossEntropy struct {
	x       *Tensor // logits; holds their gradient after the forward pass
	targets []int32
	losses  []float32 // (B, T)
	forward bool      // forward only: the logits stay

	rows split
	task func(int)
}

func newCrossEntropy() *crossEntropy {
	op := new(crossEntropy)
	op.task = op.forwardRows
	return op
}

// CrossEntropy returns the loss (B, T) of each row of the logits x (B, T, V)
// against its target, in nats. A target below 0 is ignored: its loss and its
// gradient are +0. The losses are the end of the computation: Backward starts
// with a gradient of 1 for each.
//
// Softmax has been computed when the loss is known, so the gradient is written
// at once and, to save the largest buffer there is, over the logits. Only on a
// ForwardOnly tape do the logits survive.
func (t *Tape) CrossEntropy(x *Tensor, targets []int32) []float32 {
	if len(targets) != x.Rows() {
		panic("autograd: CrossEntropy: one target per row is needed")
	}
	op := record(t, newCrossEntropy)
	op.x, op.targets, op.forward = x, targets, t.ForwardOnly
	op.losses = t.stack.take(x.Rows())
	op.rows = splitRows(x.Rows(), x.C)
	f32.Parallel(op.rows.tasks(), op.task)
	return op.losses
}

func (op *crossEntropy) forwardRows(task int) {
	lo, hi := op.rows.span(task)
	for i := lo; i < hi; i++ {
		logits := op.x.Row(i)
		gradient := logits
		if op.forward {
			gradient = nil
		}
		op.losses[i] = f32.CrossEntropy(gradient, logits, int(op.targets[i]))
	}
}

func (op *crossEntropy) result() *Tensor { return nil }

// backward hands over the gradient that the forward pass left in the logits.
func (op *crossEntropy) backward(*Tape) {
	if op.x.gradient != nil {
		panic("autograd: CrossEntropy: its logits have another consumer")
	}
	op.x.gradient = op.x.Data
	op.x.borrowed = true
}
