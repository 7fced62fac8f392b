package autograd

import (
	"slices"

	"lockstep/internal/f32"
)

// Tape runs operations as they are called and records them, so that Backward
// can run their derivatives in reverse. The zero value is ready to use. A tape
// serves one goroutine; the work inside an operation is shared out by f32.
type Tape struct {
	// ForwardOnly says that Backward will not be called: nothing is kept for
	// it. It may be changed while the tape is empty.
	ForwardOnly bool

	records  []operation // number i is reused when the i-th operation is of the same type again
	spare    []operation // records whose place another type has taken
	recorded int
	stack    stack // activations
	shelf    shelf // gradients of activations
	pairs    pairwise
}

// operation is one recorded step.
type operation interface {
	// result is the tensor whose gradient backward reads; nil for a loss.
	result() *Tensor
	// backward adds this operation's share to the gradients of its inputs and
	// parameters.
	backward(t *Tape)
}

// Mark is a place on a tape.
type Mark struct{ recorded, used int }

// Mark returns the tape's present end.
func (t *Tape) Mark() Mark { return Mark{t.recorded, t.stack.used} }

// Release forgets all operations since m. Their tensors must not be used any
// more. Release(Mark{}) empties the tape and keeps its memory.
func (t *Tape) Release(m Mark) {
	t.recorded = m.recorded
	t.stack.release(m.used)
}

// Bytes returns how much memory the tape holds for activations and their
// gradients, used or not.
func (t *Tape) Bytes() int64 {
	n := 0
	for _, b := range slices.Concat(t.stack.slots, t.shelf.free) {
		n += cap(b)
	}
	return 4 * int64(n)
}

// Replace is for loops over layers: it returns y, the result of the operations
// since m that began with x. On a ForwardOnly tape it moves y into x's memory
// and releases the rest, so that one layer's memory serves all.
func (t *Tape) Replace(m Mark, x, y *Tensor) *Tensor {
	if !t.ForwardOnly {
		return y
	}
	if len(x.Data) != len(y.Data) {
		panic("autograd: Replace: different shapes")
	}
	copy(x.Data, y.Data)
	t.Release(m)
	return x
}

// Backward adds the gradient of the sum of all losses since m to the
// parameters, and to the tensors made before m, and releases the tape to m.
func (t *Tape) Backward(m Mark) {
	if t.ForwardOnly {
		panic("autograd: Backward on a ForwardOnly tape")
	}
	for t.recorded > m.recorded {
		t.recorded--
		op := t.records[t.recorded]
		y := op.result()
		if y == nil {
			op.backward(t)
		} else if y.gradient != nil {
			op.backward(t)
			t.drop(y)
		}
	}
	t.Release(m)
}

// record returns the record of the next operation: the one in its place if the
// type fits, otherwise a spare one, otherwise one that fresh makes.
func record[P operation](t *Tape, fresh func() P) P {
	if t.recorded == len(t.records) {
		t.records = append(t.records, fresh())
	}
	place := &t.records[t.recorded]
	t.recorded++
	if op, ok := (*place).(P); ok {
		return op
	}
	for i, s := range t.spare {
		if op, ok := s.(P); ok {
			t.spare[i], *place = *place, op
			return op
		}
	}
	op := fresh()
	t.spare, *place = append(t.spare, *place), op
	return op
}

// tensor makes y a tensor of the given shape with memory of any content.
func (t *Tape) tensor(y *Tensor, b, positions, c int) *Tensor {
	*y = Tensor{Data: t.stack.take(b * positions * c), B: b, T: positions, C: c}
	return y
}

// gradient returns dx, to be added to; it is +0 at first.
func (t *Tape) gradient(x *Tensor) []float32 {
	if x.gradient == nil {
		x.gradient = t.shelf.take(len(x.Data))
		clear(x.gradient)
	}
	return x.gradient
}

// share returns a buffer of any content in which an operation writes its share
// of dx, all of it; merge then adds the share to dx. The first share becomes dx
// itself.
func (t *Tape) share(x *Tensor) []float32 { return t.shelf.take(len(x.Data)) }

func (t *Tape) merge(x *Tensor, share []float32) {
	if x.gradient == nil {
		x.gradient = share
		return
	}
	t.pairs.run(x.gradient, share, f32.AddTo)
	t.shelf.give(share)
}

// drop forgets the gradient of y, which nobody reads any more.
func (t *Tape) drop(y *Tensor) {
	if !y.borrowed && y.gradient != nil {
		t.shelf.give(y.gradient)
	}
	y.gradient = nil
}

// Sequences returns sequences lo to hi-1 of x, as a view: it shares x's memory,
// and its gradient is that part of dx.
func (t *Tape) Sequences(x *Tensor, lo, hi int) *Tensor {
	return t.view(x, lo*x.T, hi*x.T, x.T)
}

// Rows returns rows lo to hi-1 of x's B*T rows as one sequence, as a view.
func (t *Tape) Rows(x *Tensor, lo, hi int) *Tensor { return t.view(x, lo, hi, hi-lo) }

// view returns rows lo to hi-1 of x as sequences of the given length.
func (t *Tape) view(x *Tensor, lo, hi, positions int) *Tensor {
	if lo < 0 || hi <= lo || hi > x.Rows() {
		panic("autograd: view: outside the tensor")
	}
	op := record(t, newView)
	op.y = Tensor{Data: x.Data[lo*x.C : hi*x.C], B: (hi - lo) / positions, T: positions, C: x.C, borrowed: true}
	if !t.ForwardOnly {
		op.y.gradient = t.gradient(x)[lo*x.C : hi*x.C]
	}
	return &op.y
}

// view is the record of a view. Consumers write straight into the viewed
// tensor's gradient, so nothing is left to do.
type view struct{ y Tensor }

func newView() *view { return new(view) }

func (op *view) result() *Tensor { return &op.y }
func (op *view) backward(*Tape)  {}
