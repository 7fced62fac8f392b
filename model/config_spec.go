package model

import (
	"lockstep/internal/fault"
	"lockstep/internal/spec"
)

// activation is the only one there is: GELU in its tanh form.
const activation = "gelu_new"

// FromSpec returns the architecture that a run spec fixes. The end-of-text
// token is the last one of the vocabulary: it belongs to the tokenizer, and
// changes no bit of training.
func FromSpec(s spec.Model) (Config, error) {
	if s.Activation != activation {
		return Config{}, fault.Errorf(fault.Config, "run spec: model.activation_function is %q; only %q is supported", s.Activation, activation)
	}
	c := Config{
		Layers: int(s.Layers), Heads: int(s.Heads), Embd: int(s.Embd), Inner: int(s.Inner), Positions: int(s.Positions),
		Vocab: int(s.Vocab), LayerNormEpsilon: s.LayerNormEpsilon, EndOfText: int(s.Vocab) - 1,
	}
	return c, c.Validate()
}

// Spec returns c as a run spec states it, under a name for people.
func (c Config) Spec(name string) spec.Model {
	return spec.Model{
		Name: name, Layers: uint32(c.Layers), Heads: uint32(c.Heads), Embd: uint32(c.Embd), Inner: uint32(c.Inner),
		Positions: uint32(c.Positions), Vocab: uint32(c.Vocab), LayerNormEpsilon: c.LayerNormEpsilon, Activation: activation,
	}
}
