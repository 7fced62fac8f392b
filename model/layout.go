package model

import (
	"fmt"
	"iter"

	"lockstep/internal/merkle"
	"lockstep/optim"
)

// Tensor is one row of the layout.
type Tensor struct {
	Name   string // Hugging Face's name
	Shape  []int  // Conv1D matrices are (in, out)
	Offset int    // of the first element in the flat vector
	Size   int    // number of elements
	Decay  bool   // weight decay applies

	start initialiser
}

// Layout is the only list of a model's tensors. Parameters, gradients, averages
// and moments are flat vectors in this order, without gaps (N22).
type Layout struct {
	Tensors  []Tensor
	Elements int

	spans []optim.Span
}

// NewLayout returns the layout of c, which must be valid. The output head has
// no row: it is transformer.wte.weight.
func NewLayout(c Config) *Layout {
	l := new(Layout)
	l.matrix("transformer.wte.weight", c.Vocab, c.Embd, normal)
	l.matrix("transformer.wpe.weight", c.Positions, c.Embd, normal)
	for i := range c.Layers {
		h := blockName(i)
		l.norm(h+"ln_1", c.Embd)
		l.affine(h+"attn.c_attn", c.Embd, 3*c.Embd, normal)
		l.affine(h+"attn.c_proj", c.Embd, c.Embd, residual)
		l.norm(h+"ln_2", c.Embd)
		l.affine(h+"mlp.c_fc", c.Embd, c.Inner, normal)
		l.affine(h+"mlp.c_proj", c.Inner, c.Embd, residual)
	}
	l.norm("transformer.ln_f", c.Embd)
	for _, t := range l.Tensors {
		l.spans = append(l.spans, optim.Span{Name: t.Name, Offset: t.Offset, Size: t.Size, Decay: t.Decay})
	}
	return l
}

// blockName is what the names of block i begin with.
func blockName(i int) string { return fmt.Sprintf("transformer.h.%d.", i) }

func (l *Layout) matrix(name string, in, out int, start initialiser) {
	l.add(Tensor{Name: name, Shape: []int{in, out}, Size: in * out, Decay: true, start: start})
}

func (l *Layout) vector(name string, n int, start initialiser) {
	l.add(Tensor{Name: name, Shape: []int{n}, Size: n, start: start})
}

func (l *Layout) affine(name string, in, out int, start initialiser) {
	l.matrix(name+".weight", in, out, start)
	l.vector(name+".bias", out, zeros)
}

func (l *Layout) norm(name string, n int) {
	l.vector(name+".weight", n, ones)
	l.vector(name+".bias", n, zeros)
}

func (l *Layout) add(t Tensor) {
	t.Offset = l.Elements
	l.Tensors = append(l.Tensors, t)
	l.Elements += t.Size
}

// Find returns the tensor of that name.
func (l *Layout) Find(name string) (Tensor, bool) {
	for _, t := range l.Tensors {
		if t.Name == name {
			return t, true
		}
	}
	return Tensor{}, false
}

// Place turns an index into a flat vector into a tensor and an index into it.
func (l *Layout) Place(i int) (Tensor, int) {
	if i < 0 || i >= l.Elements {
		panic("model: Place: outside the layout")
	}
	s, at := optim.Place(l.spans, i)
	t, _ := l.Find(s.Name)
	return t, at
}

// Split yields the tensors of a flat vector with their parts of it.
func (l *Layout) Split(x []float32) iter.Seq2[Tensor, []float32] {
	if len(x) != l.Elements {
		panic("model: Split: the vector does not fit the layout")
	}
	return func(yield func(Tensor, []float32) bool) {
		for _, t := range l.Tensors {
			if !yield(t, x[t.Offset:][:t.Size:t.Size]) {
				return
			}
		}
	}
}

// Grid returns the leaf grid of a vector of this layout, as float32.
func (l *Layout) Grid(kind merkle.Kind) merkle.Grid {
	return merkle.Grid{Kind: kind, Codec: merkle.CodecF32, Elements: l.Elements}
}

// Root returns the Merkle root of a vector of this layout.
func (l *Layout) Root(kind merkle.Kind, x []float32) merkle.Digest {
	return merkle.Root(l.Grid(kind).Digests(x))
}
