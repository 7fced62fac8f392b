package model

import (
	"lockstep/autograd"
	"lockstep/internal/f32"
	"lockstep/optim"
)

// Context is a text whose keys and values are kept, so that continuing it costs
// the work of the new tokens alone. Its logits are those of Model.Logits, bit
// for bit. It uses its model's buffers: a Context and its model serve one
// goroutine.
type Context struct {
	m         *Model
	weights   *Parameters
	limit     int
	layers    []*autograd.KeyValues
	positions autograd.Parameter // the rows of wpe that are still to come
	attend    attend
}

// NewContext returns an empty text for at most limit tokens, of which the model
// must have positions.
func (m *Model) NewContext(p *Parameters, limit int) *Context {
	if limit < 1 || limit > m.Config.Positions {
		panic("model: NewContext: limit outside the model's positions")
	}
	if len(p.Data) != m.Layout.Elements {
		panic("model: NewContext: parameters of another architecture")
	}
	c := &Context{m: m, weights: p, limit: limit}
	for range m.blocks {
		c.layers = append(c.layers, autograd.NewKeyValues(limit, m.Config.Embd))
	}
	c.attend = func(i int, qkv *autograd.Tensor) *autograd.Tensor {
		return m.tape.CachedAttention(qkv, m.Config.Heads, c.layers[i])
	}
	return c
}

// Len returns the number of tokens so far.
func (c *Context) Len() int { return c.layers[0].Positions }

// Reset makes the text empty.
func (c *Context) Reset() {
	for _, kv := range c.layers {
		kv.Positions = 0
	}
}

// Extend appends tokens and returns the logits (V) of the last one, in the
// model's memory until its next call. A logit that is NaN or infinite is an
// *optim.NonFiniteError; the Context is then as before.
func (c *Context) Extend(tokens []int32) ([]float32, error) {
	m, from := c.m, c.Len()
	if from+len(tokens) > c.limit {
		panic("model: Extend: more tokens than the Context takes")
	}
	if err := m.checkInputs(tokens, len(tokens)); err != nil {
		return nil, err
	}
	tape := &m.tape
	tape.Release(autograd.Mark{})
	tape.ForwardOnly = true
	m.bind(c.weights.Data, nil, nil)
	c.positions = autograd.Parameter{Value: m.wpe.Value[from*m.wpe.Out:], In: m.wpe.In - from, Out: m.wpe.Out}
	x := tape.Embedding(tokens, 1, len(tokens), m.lookup, &c.positions)
	x = m.blocksOf(tape, x, c.attend)
	logits := tape.Head(tape.Rows(x, len(tokens)-1, len(tokens)), m.wte).Data
	if i := f32.Finite(logits); i >= 0 {
		for _, kv := range c.layers {
			kv.Positions = from
		}
		return nil, &optim.NonFiniteError{What: "logits", Index: i, Value: float64(logits[i])}
	}
	return logits, nil
}
