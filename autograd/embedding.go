package autograd

import "lockstep/internal/f32"

// embedding is y[s,t] = wte[token] + wpe[t].
type embedding struct {
	tokens   []int32
	wte, wpe *Parameter
	y        Tensor

	rows        split
	forwardTask func(int)
}

func newEmbedding() *embedding {
	op := new(embedding)
	op.forwardTask = op.forwardRows
	return op
}

// Embedding looks up tokens, b sequences of positions tokens each, in wte
// (V, C) and adds the position's row of wpe (at least positions rows, C).
// Tokens must lie in [0, V); the slice must stay as it is until Backward.
func (t *Tape) Embedding(tokens []int32, b, positions int, wte, wpe *Parameter) *Tensor {
	wte.mustBe(wte.In, wpe.Out)
	wpe.mustBe(wpe.In, wpe.Out)
	if len(tokens) != b*positions || positions > wpe.In {
		panic("autograd: Embedding: tokens do not fit the batch or the positions")
	}
	op := record(t, newEmbedding)
	op.tokens, op.wte, op.wpe = tokens, wte, wpe
	y := t.tensor(&op.y, b, positions, wte.Out)
	op.rows = splitRows(y.Rows(), y.C)
	f32.Parallel(op.rows.tasks(), op.forwardTask)
	return y
}

func (op *embedding) forwardRows(task int) {
	c := op.y.C
	lo, hi := op.rows.span(task)
	for i := lo; i < hi; i++ {
		token, position := int(op.tokens[i]), i%op.y.T
		f32.Add(op.y.Row(i), op.wte.Value[token*c:][:c], op.wpe.Value[position*c:][:c])
	}
}

func (op *embedding) result() *Tensor { return &op.y }

// backward adds dy[t] to the rows that were looked up, sequence by sequence
// (N14). A token that occurs twice in a sequence has its rows summed first.
func (op *embedding) backward(*Tape) {
	y := &op.y
	for s := range y.B {
		dy := y.sequence(y.gradient, s)
		if op.wte.Gradient != nil {
			f32.EmbeddingGrad(op.wte.Gradient, dy, op.tokens[s*y.T:][:y.T], y.C)
		}
		if op.wpe.Gradient != nil {
			f32.AddTo(op.wpe.Gradient[:len(dy)], dy)
		}
	}
}
