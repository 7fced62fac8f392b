package model

import (
	"lockstep/autograd"
)

// Model is the computation of one architecture: the wiring of operations, and
// the buffers they reuse from call to call. It holds no weights; calls take
// Parameters. A Model serves one goroutine at a time. The zero value is
// invalid: use New.
type Model struct {
	Config Config
	Layout *Layout

	// MicroBatch is how many sequences go through the network together; 0
	// stands for as many as make 1024 tokens. It changes time and memory, and
	// no bit.
	MicroBatch int

	tape    autograd.Tape
	leaves  []leaf
	wte     *autograd.Parameter // as the output head
	lookup  *autograd.Parameter // wte again, as the embedding: its gradient is kept apart (N14)
	wpe     *autograd.Parameter
	blocks  []block
	lnFinal pair
}

// leaf ties a tensor of the layout to its parameter.
type leaf struct {
	offset, size int
	p            *autograd.Parameter
}

// pair is a weight with its bias.
type pair struct{ weight, bias *autograd.Parameter }

// block is one transformer block.
type block struct {
	ln1, attention, projection pair // h.N.ln_1, attn.c_attn, attn.c_proj
	ln2, expand, contract      pair // h.N.ln_2, mlp.c_fc, mlp.c_proj
}

// New returns the model of architecture c.
func New(c Config) (*Model, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	m := &Model{Config: c, Layout: NewLayout(c)}
	m.wte = m.parameter("transformer.wte.weight")
	m.lookup = &autograd.Parameter{In: c.Vocab, Out: c.Embd}
	m.wpe = m.parameter("transformer.wpe.weight")
	for i := range c.Layers {
		h := blockName(i)
		m.blocks = append(m.blocks, block{
			ln1:        m.pair(h + "ln_1"),
			attention:  m.pair(h + "attn.c_attn"),
			projection: m.pair(h + "attn.c_proj"),
			ln2:        m.pair(h + "ln_2"),
			expand:     m.pair(h + "mlp.c_fc"),
			contract:   m.pair(h + "mlp.c_proj"),
		})
	}
	m.lnFinal = m.pair("transformer.ln_f")
	return m, nil
}

func (m *Model) pair(name string) pair {
	return pair{m.parameter(name + ".weight"), m.parameter(name + ".bias")}
}

// parameter returns a new parameter for the tensor of that name.
func (m *Model) parameter(name string) *autograd.Parameter {
	t, ok := m.Layout.Find(name)
	if !ok {
		panic("model: a tensor that is not in the layout")
	}
	p := &autograd.Parameter{In: 1, Out: t.Size}
	if len(t.Shape) == 2 {
		p.In, p.Out = t.Shape[0], t.Shape[1]
	}
	m.leaves = append(m.leaves, leaf{t.Offset, t.Size, p})
	return p
}

// bind points the parameters to weights, and to the places of their gradients:
// gradient in layout order, embedding for the embedding's share of wte. Both
// are nil where no gradient is wanted.
func (m *Model) bind(weights, gradient, embedding []float32) {
	for _, l := range m.leaves {
		l.p.Value = weights[l.offset:][:l.size]
		l.p.Gradient = nil
		if gradient != nil {
			l.p.Gradient = gradient[l.offset:][:l.size]
		}
	}
	m.lookup.Value = m.wte.Value
	m.lookup.Gradient = embedding
}

// forward runs tokens, b sequences of t, through the network up to the final
// LayerNorm. The result (B, T, C) times wteᵀ is the logits.
func (m *Model) forward(tape *autograd.Tape, tokens []int32, b, t int) *autograd.Tensor {
	return m.blocksOf(tape, tape.Embedding(tokens, b, t, m.lookup, m.wpe), func(_ int, qkv *autograd.Tensor) *autograd.Tensor {
		return tape.Attention(qkv, m.Config.Heads)
	})
}

// attend computes block i's attention from queries, keys and values (B, T, 3C).
type attend func(i int, qkv *autograd.Tensor) *autograd.Tensor

// blocksOf runs embedded tokens x (B, T, C) through all blocks and the final
// LayerNorm.
func (m *Model) blocksOf(tape *autograd.Tape, x *autograd.Tensor, attend attend) *autograd.Tensor {
	for i := range m.blocks {
		mark := tape.Mark()
		x = tape.Replace(mark, x, m.block(tape, i, x, attend))
	}
	return tape.LayerNorm(x, m.lnFinal.weight, m.lnFinal.bias, m.epsilon())
}

// block adds attention and then the MLP to the residual stream x (B, T, C),
// each behind a LayerNorm.
func (m *Model) block(tape *autograd.Tape, i int, x *autograd.Tensor, attend attend) *autograd.Tensor {
	b := &m.blocks[i]
	f := tape.LayerNorm(x, b.ln1.weight, b.ln1.bias, m.epsilon())
	f = tape.Linear(f, b.attention.weight, b.attention.bias) // (B, T, 3C)
	f = attend(i, f)
	f = tape.Linear(f, b.projection.weight, b.projection.bias)
	x = tape.Add(x, f)

	f = tape.LayerNorm(x, b.ln2.weight, b.ln2.bias, m.epsilon())
	f = tape.Linear(f, b.expand.weight, b.expand.bias) // (B, T, n_inner)
	f = tape.GELU(f)
	f = tape.Linear(f, b.contract.weight, b.contract.bias)
	return tape.Add(x, f)
}

func (m *Model) epsilon() float32 { return float32(m.Config.LayerNormEpsilon) }
