package autograd

import "lockstep/internal/f32"

// attention is causal multi-head self-attention. For each sequence and head,
// with q, k, v of shape (T, C/H) cut out of the columns of x:
//
//	P = softmax(q kᵀ scale), row t over positions up to t; y = P v
type attention struct {
	x     *Tensor   // (B, T, 3C): q, k, v side by side, each H heads wide
	p     []float32 // (B, H, T, T): probabilities; above the diagonal see forwardHead
	y     Tensor    // (B, T, C)
	heads int
	scale float32 // 1/√(C/H)

	dx, scratch               []float32 // (B, T, 3C) and (B, H, attentionRows, T), during backward
	forwardTask, backwardTask func(int)
}

func newAttention() *attention {
	op := new(attention)
	op.forwardTask = op.forwardHead
	op.backwardTask = op.backwardHead
	return op
}

// attentionRows is how many rows of P are computed together. A group of rows
// needs no column beyond its last row's, which saves almost half the products.
// It changes no bit: a masked probability counts as +0, and a chain of fused
// multiply-adds is not changed by zeros at its ends.
const attentionRows = 64

// Attention mixes positions: x (B, T, 3C) holds queries, keys and values of
// heads heads, as GPT-2's c_attn lays them out; the result is (B, T, C).
func (t *Tape) Attention(x *Tensor, heads int) *Tensor {
	if heads < 1 || x.C%(3*heads) != 0 {
		panic("autograd: Attention: width is not a multiple of three times the heads")
	}
	c := x.C / 3
	op := record(t, newAttention)
	op.x, op.heads = x, heads
	op.scale = attentionScale(c / heads)
	y := t.tensor(&op.y, x.B, x.T, c)
	op.p = t.stack.take(x.B * heads * x.T * x.T)
	f32.Parallel(x.B*heads, op.forwardTask)
	return y
}

// headView is one head of one sequence. Rows of q, k, v and of their gradients
// are 3C apart, those of y are C apart.
type headView struct {
	t, width int
	ldx, ldy int
	p        []float32 // (T, T)
	x        int       // offset of q in x; k and v follow C and 2C later
	y        int       // offset in y
}

func (op *attention) view(task int) headView {
	t, c := op.x.T, op.y.C
	s, h := task/op.heads, task%op.heads
	width := c / op.heads
	return headView{
		t: t, width: width, ldx: 3 * c, ldy: c,
		p: op.p[task*t*t:][:t*t],
		x: s*t*3*c + h*width,
		y: s*t*c + h*width,
	}
}

// forwardHead computes one head of one sequence. Of P it fills, for each group
// of rows, the columns up to the group's last row; those that a row may not
// see are +0. Later columns are never read.
func (op *attention) forwardHead(task int) {
	h := op.view(task)
	c := op.y.C
	q, k, v := op.x.Data[h.x:], op.x.Data[h.x+c:], op.x.Data[h.x+2*c:]
	for lo := 0; lo < h.t; lo += attentionRows {
		hi := min(lo+attentionRows, h.t)
		p := h.p[lo*h.t:]
		f32.MatMul(f32.NT, p, h.t, q[lo*h.ldx:], h.ldx, k, h.ldx, hi-lo, hi, h.width, false)
		for i := lo; i < hi; i++ {
			causalSoftmax(h.p[i*h.t:][:hi], i, op.scale)
		}
		f32.MatMul(f32.NN, op.y.Data[h.y+lo*h.ldy:], h.ldy, p, h.t, v, h.ldx, hi-lo, h.width, hi, false)
	}
}

// causalSoftmax turns the products of position t's query with keys into
// probabilities: those of later positions are +0.
func causalSoftmax(row []float32, t int, scale float32) {
	seen := row[:t+1]
	f32.Scale(seen, scale)
	f32.Softmax(seen, seen)
	clear(row[t+1:])
}

func (op *attention) result() *Tensor { return &op.y }

// backward overwrites the probabilities, so it can run once.
func (op *attention) backward(t *Tape) {
	op.dx = t.share(op.x)
	op.scratch = t.shelf.take(op.x.B * op.heads * attentionRows * op.x.T)
	f32.Parallel(op.x.B*op.heads, op.backwardTask)
	t.shelf.give(op.scratch)
	t.merge(op.x, op.dx)
	op.dx, op.scratch = nil, nil
}

// backwardHead computes dq, dk and dv of one head of one sequence.
func (op *attention) backwardHead(task int) {
	h := op.view(task)
	c := op.y.C
	dy := op.y.gradient[h.y:]
	q, k := op.x.Data[h.x:], op.x.Data[h.x+c:]
	dq, dk, dv := op.dx[h.x:], op.dx[h.x+c:], op.dx[h.x+2*c:]
	op.transposed(h, dv, dy, h.ldy) // dv = Pᵀ dy
	for lo := 0; lo < h.t; lo += attentionRows {
		hi := min(lo+attentionRows, h.t)
		op.scoreGradients(task, h, lo, hi)
		f32.MatMul(f32.NN, dq[lo*h.ldx:], h.ldx, h.p[lo*h.t:], h.t, k, h.ldx, hi-lo, h.width, hi, false)
	}
	op.transposed(h, dk, q, h.ldx) // dk = dSᵀ q
}

// scoreGradients replaces rows lo to hi-1 of P by dS = P (dP - Σ dP P) scale,
// where dP = dy vᵀ.
func (op *attention) scoreGradients(task int, h headView, lo, hi int) {
	c := op.y.C
	dy := op.y.gradient[h.y+lo*h.ldy:]
	v := op.x.Data[h.x+2*c:]
	dp := op.scratch[task*attentionRows*h.t:][:attentionRows*h.t]
	f32.MatMul(f32.NT, dp, h.t, dy, h.ldy, v, h.ldx, hi-lo, hi, h.width, false)
	for i := lo; i < hi; i++ {
		row := dp[(i-lo)*h.t:][:i+1]
		p := h.p[i*h.t:][:i+1]
		f32.SoftmaxBackward(row, p, row, op.scale)
		copy(p, row)
	}
}

// transposed computes out = Pᵀ a for a (T, C/H), in groups of rows of out; P
// may hold dS. Row j of out takes only rows of P from j on, as the others have
// +0 there.
func (op *attention) transposed(h headView, out, a []float32, lda int) {
	for lo := 0; lo < h.t; lo += attentionRows {
		hi := min(lo+attentionRows, h.t)
		f32.MatMul(f32.TN, out[lo*h.ldx:], h.ldx, h.p[lo*h.t+lo:], h.t, a[lo*lda:], lda, hi-lo, h.width, h.t-lo, false)
	}
}
