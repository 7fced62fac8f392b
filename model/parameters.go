package model

import (
	"iter"
	"slices"
	"strings"

	"lockstep/internal/f32"
	"lockstep/internal/fault"
	"lockstep/internal/merkle"
)

// Parameters are a model's weights: one flat vector in layout order. The zero
// value is invalid.
type Parameters struct {
	Config Config
	Layout *Layout
	Data   []float32
}

// NewParameters returns parameters that are all zero. c must be valid.
func NewParameters(c Config) *Parameters {
	l := NewLayout(c)
	return &Parameters{Config: c, Layout: l, Data: make([]float32, l.Elements)}
}

// Tensors yields every tensor with its data, which may be written to.
func (p *Parameters) Tensors() iter.Seq2[Tensor, []float32] { return p.Layout.Split(p.Data) }

// Root returns the Merkle root of the parameters.
func (p *Parameters) Root() merkle.Digest { return p.Layout.Root(merkle.KindParameters, p.Data) }

// Checkpoint is a set of stored tensors, whatever the file format.
type Checkpoint interface {
	Names() []string                       // in a fixed order
	Shape(name string) []int               // of a name in Names
	Read(name string, dst []float32) error // converts to float32; dst has the shape's size
}

// Import returns the parameters in a checkpoint of architecture c. Names may
// stand with or without "transformer.", as GPT2LMHeadModel and GPT2Model save
// them. Buffers of attention masks are ignored, and a separately stored output
// head must equal the embedding. A tensor that is missing, doubled, unknown, of
// another shape, or not finite is a fault.Damaged error with its name.
func Import(c Config, from Checkpoint) (*Parameters, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	stored, err := storedNames(NewLayout(c), from)
	if err != nil {
		return nil, err
	}
	p := NewParameters(c)
	for t, data := range p.Tensors() {
		name, ok := stored[t.Name]
		if !ok {
			return nil, fault.Errorf(fault.Damaged, "checkpoint: tensor %s is missing", t.Name)
		}
		if shape := from.Shape(name); !slices.Equal(shape, t.Shape) {
			return nil, fault.Errorf(fault.Damaged, "checkpoint: tensor %s has shape %v; the config asks for %v", name, shape, t.Shape)
		}
		if err := from.Read(name, data); err != nil {
			return nil, fault.Errorf(fault.Damaged, "checkpoint: tensor %s: %w", name, err)
		}
		if i := f32.Finite(data); i >= 0 {
			return nil, fault.Errorf(fault.Damaged, "checkpoint: tensor %s: element %d is %v", name, i, data[i])
		}
	}
	if name, ok := stored[outputHead]; ok {
		if err := p.checkHead(name, from); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// outputHead is the name under which some files repeat transformer.wte.weight.
const outputHead = "lm_head.weight"

// storedNames maps the names of the layout, and outputHead, to the names used
// in the checkpoint.
func storedNames(l *Layout, from Checkpoint) (map[string]string, error) {
	known := map[string]bool{outputHead: true}
	for _, t := range l.Tensors {
		known[t.Name] = true
	}
	stored := map[string]string{}
	for _, name := range from.Names() {
		full := name
		if name != outputHead && !strings.HasPrefix(name, "transformer.") {
			full = "transformer." + name
		}
		if isMaskBuffer(full) {
			continue
		}
		if !known[full] {
			return nil, fault.Errorf(fault.Damaged, "checkpoint: tensor %s is not part of this model", name)
		}
		if other, ok := stored[full]; ok {
			return nil, fault.Errorf(fault.Damaged, "checkpoint: tensors %s and %s are the same", other, name)
		}
		stored[full] = name
	}
	return stored, nil
}

// isMaskBuffer reports whether name is the causal mask that older versions of
// transformers saved with every block: transformer.h.N.attn.bias or
// .masked_bias. attn.c_attn.bias and attn.c_proj.bias are weights.
func isMaskBuffer(name string) bool {
	block, ok := strings.CutPrefix(name, "transformer.h.")
	if !ok {
		return false
	}
	number, rest, _ := strings.Cut(block, ".")
	return strings.Trim(number, "0123456789") == "" && (rest == "attn.bias" || rest == "attn.masked_bias")
}

// checkHead returns an error unless the stored output head is the embedding.
func (p *Parameters) checkHead(name string, from Checkpoint) error {
	wte := p.Layout.Tensors[0]
	if shape := from.Shape(name); !slices.Equal(shape, wte.Shape) {
		return fault.Errorf(fault.Damaged, "checkpoint: tensor %s has shape %v; the config asks for %v", name, shape, wte.Shape)
	}
	head := make([]float32, wte.Size)
	if err := from.Read(name, head); err != nil {
		return fault.Errorf(fault.Damaged, "checkpoint: tensor %s: %w", name, err)
	}
	if !slices.Equal(head, p.Data[wte.Offset:][:wte.Size]) {
		return fault.Errorf(fault.Damaged, "checkpoint: tensor %s differs from %s; untied heads are not supported", name, wte.Name)
	}
	return nil
}
