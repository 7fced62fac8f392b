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

	dx, scratch                      []float32 // (B, T, 3C) and (tasks, attentionRows, T), during backward
	forwardTask                      func(int)
	headTask, dvTask, dsTask, dkTask func(int)
}

func newAttention() *attention {
	op := new(attention)
	op.forwardTask = op.forwardGroup
	op.headTask = op.backwardHead
	op.dvTask, op.dsTask, op.dkTask = op.groupDV, op.groupDS, op.groupDK
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
	f32.Parallel(x.B*heads*op.groups(), op.forwardTask)
	return y
}

// groups returns the number of groups of rows in a head.
func (op *attention) groups() int { return (op.x.T + attentionRows - 1) / attentionRows }

// group returns the head and the rows lo to hi-1 of a task. Of a head's groups
// the first is the last one of its rows where that is the most work.
func (op *attention) group(task int, lastFirst bool) (head, lo, hi int) {
	n := op.groups()
	head, g := task/n, task%n
	if lastFirst {
		g = n - 1 - g
	}
	return head, g * attentionRows, min((g+1)*attentionRows, op.x.T)
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

func (op *attention) view(head int) headView {
	t, c := op.x.T, op.y.C
	s, h := head/op.heads, head%op.heads
	width := c / op.heads
	return headView{
		t: t, width: width, ldx: 3 * c, ldy: c,
		p: op.p[head*t*t:][:t*t],
		x: s*t*3*c + h*width,
		y: s*t*c + h*width,
	}
}

// forwardGroup computes a group of rows of one head of one sequence. Of P it
// fills the columns up to the group's last row; those that a row may not see
// are +0. Later columns are never read.
func (op *attention) forwardGroup(task int) {
	head, lo, hi := op.group(task, true)
	h := op.view(head)
	c := op.y.C
	q, k, v := op.x.Data[h.x:], op.x.Data[h.x+c:], op.x.Data[h.x+2*c:]
	p := h.p[lo*h.t:]
	f32.MatMul(f32.NT, p, h.t, q[lo*h.ldx:], h.ldx, k, h.ldx, hi-lo, hi, h.width, false)
	for i := lo; i < hi; i++ {
		causalSoftmax(h.p[i*h.t:][:hi], i, op.scale)
	}
	f32.MatMul(f32.NN, op.y.Data[h.y+lo*h.ldy:], h.ldy, p, h.t, v, h.ldx, hi-lo, h.width, hi, false)
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

// backward overwrites the probabilities, so it can run once. A head at a time
// finds them in the cache; where heads are too few for the threads, groups of
// rows are shared out, one kind of gradient after another.
func (op *attention) backward(t *Tape) {
	if op.x.T > blockPositions {
		panic("autograd: Attention: the derivative of a sequence of more than 1024 positions is not defined (N8)")
	}
	op.dx = t.share(op.x)
	heads := op.x.B * op.heads
	tasks := heads
	if heads < 2*f32.Threads() {
		tasks *= op.groups()
	}
	op.scratch = t.shelf.take(tasks * attentionRows * op.x.T)
	if tasks == heads {
		f32.Parallel(heads, op.headTask)
	} else {
		f32.Parallel(tasks, op.dvTask)
		f32.Parallel(tasks, op.dsTask)
		f32.Parallel(tasks, op.dkTask)
	}
	t.shelf.give(op.scratch)
	t.merge(op.x, op.dx)
	op.dx, op.scratch = nil, nil
}

// blockPositions is the longest sequence whose gradients are one block of N8.
const blockPositions = 1024

// backwardHead computes dq, dk and dv of one head of one sequence.
func (op *attention) backwardHead(head int) {
	for lo := 0; lo < op.x.T; lo += attentionRows {
		op.valueGradients(head, lo, min(lo+attentionRows, op.x.T))
	}
	for lo := 0; lo < op.x.T; lo += attentionRows {
		op.scoreGradients(head, head, lo, min(lo+attentionRows, op.x.T))
	}
	for lo := 0; lo < op.x.T; lo += attentionRows {
		op.keyGradients(head, lo, min(lo+attentionRows, op.x.T))
	}
}

func (op *attention) groupDV(task int) { op.valueGradients(op.group(task, false)) }
func (op *attention) groupDK(task int) { op.keyGradients(op.group(task, false)) }

func (op *attention) groupDS(task int) {
	head, lo, hi := op.group(task, true)
	op.scoreGradients(task, head, lo, hi)
}

// valueGradients computes rows lo to hi-1 of dv = Pᵀ dy.
func (op *attention) valueGradients(head, lo, hi int) {
	h := op.view(head)
	op.transposed(h, op.dx[h.x+2*op.y.C:], op.y.gradient[h.y:], h.ldy, lo, hi)
}

// keyGradients computes rows lo to hi-1 of dk = dSᵀ q.
func (op *attention) keyGradients(head, lo, hi int) {
	h := op.view(head)
	op.transposed(h, op.dx[h.x+op.y.C:], op.x.Data[h.x:], h.ldx, lo, hi)
}

// scoreGradients replaces rows lo to hi-1 of P by dS = P (dP - Σ dP P) scale,
// where dP = dy vᵀ, and computes those of dq = dS k.
func (op *attention) scoreGradients(task, head, lo, hi int) {
	h := op.view(head)
	c := op.y.C
	k, v := op.x.Data[h.x+c:], op.x.Data[h.x+2*c:]
	dy := op.y.gradient[h.y+lo*h.ldy:]
	dp := op.scratch[task*attentionRows*h.t:][:attentionRows*h.t]
	f32.MatMul(f32.NT, dp, h.t, dy, h.ldy, v, h.ldx, hi-lo, hi, h.width, false)
	for i := lo; i < hi; i++ {
		p := h.p[i*h.t:][:i+1]
		f32.SoftmaxBackward(p, p, dp[(i-lo)*h.t:][:i+1], op.scale)
	}
	f32.MatMul(f32.NN, op.dx[h.x+lo*h.ldx:], h.ldx, h.p[lo*h.t:], h.t, k, h.ldx, hi-lo, h.width, hi, false)
}

// transposed computes rows lo to hi-1 of out = Pᵀ a for a (T, C/H); P may hold
// dS. Row j of out takes only rows of P from j on, as the others have +0 there.
func (op *attention) transposed(h headView, out, a []float32, lda, lo, hi int) {
	f32.MatMul(f32.TN, out[lo*h.ldx:], h.ldx, h.p[lo*h.t+lo:], h.t, a[lo*lda:], lda, hi-lo, h.width, h.t-lo, false)
}
