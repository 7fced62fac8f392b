package model

import (
	"lockstep/autograd"
	"lockstep/internal/f32"
	"lockstep/internal/fault"
	"lockstep/internal/seed"
	"lockstep/optim"
)

// GenerateOptions says how text is continued. The zero value generates nothing.
type GenerateOptions struct {
	MaxTokens   int     // at most so many new tokens
	Temperature float64 // 0: always the likeliest token; else 0.01 to 100
	TopK        int     // sample among the k likeliest tokens; 0: all
	TopP        float64 // sample among the likeliest tokens that together have this probability; 0: all
	Seed        uint64  // of the sampling
	EndOfText   int32   // stop before this token; below 0: never

	// Each, if set, is called with every new token as soon as it is known.
	Each func(token int32)
}

// Validate reports the first impossible option as a fault.Config error.
func (o GenerateOptions) Validate() error {
	switch {
	case o.MaxTokens < 0:
		return fault.Errorf(fault.Config, "generate: %d new tokens; the number cannot be negative", o.MaxTokens)
	case o.Temperature != 0 && !(o.Temperature >= 0.01 && o.Temperature <= 100):
		return fault.Errorf(fault.Config, "generate: temperature is %v; it must be 0, or 0.01 to 100", o.Temperature)
	case o.TopK < 0:
		return fault.Errorf(fault.Config, "generate: top-k is %d; it cannot be negative", o.TopK)
	case !(o.TopP >= 0 && o.TopP <= 1):
		return fault.Errorf(fault.Config, "generate: top-p is %v; it must be 0 to 1", o.TopP)
	case o.Temperature == 0 && (o.TopK > 0 || o.TopP > 0):
		return fault.Errorf(fault.Config, "generate: top-k and top-p choose among samples; they need a temperature above 0")
	}
	return nil
}

// Generate continues a prompt of at least one token and returns the new tokens,
// without the end-of-text token. Equal arguments give equal tokens on every
// machine.
//
// The context is the prompt and what was generated; each new token costs the
// work of one position. A context longer than the model's positions slides: its
// last Positions tokens count, numbered from 0 again, so that nothing computed
// for the one before can be used, and each token costs the work of Positions.
func (m *Model) Generate(p *Parameters, prompt []int32, o GenerateOptions) ([]int32, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	if len(prompt) == 0 {
		return nil, fault.Errorf(fault.Config, "generate: the prompt is empty; give at least one token, such as the end-of-text token")
	}
	s := newSampler(o, m.Config.Vocab)
	text := append([]int32(nil), prompt...)
	context := m.NewContext(p, min(m.Config.Positions, len(prompt)+min(o.MaxTokens, m.Config.Positions)))
	fresh := text[max(0, len(text)-m.Config.Positions):]
	for range o.MaxTokens {
		if context.Len() == m.Config.Positions {
			context.Reset()
			fresh = text[len(text)-m.Config.Positions:]
		}
		logits, err := context.Extend(fresh)
		if err != nil {
			return text[len(prompt):], err
		}
		next := s.next(logits)
		if next == o.EndOfText {
			break
		}
		text = append(text, next)
		fresh = text[len(text)-1:]
		if o.Each != nil {
			o.Each(next)
		}
	}
	return text[len(prompt):], nil
}

// Logits returns the logits of positions from, from+1, ... of one sequence, V
// for each. They are in the model's memory until its next call. A logit that is
// NaN or infinite is an *optim.NonFiniteError.
func (m *Model) Logits(p *Parameters, tokens []int32, from int) ([]float32, error) {
	if from < 0 || from >= len(tokens) {
		panic("model: Logits: position outside the sequence")
	}
	ignored := make([]int32, len(tokens)) // any legal target
	if err := m.check(Batch{Inputs: tokens, Targets: ignored, B: 1, T: len(tokens)}); err != nil {
		return nil, err
	}
	tape := &m.tape
	tape.Release(autograd.Mark{})
	tape.ForwardOnly = true
	m.bind(p.Data, nil, nil)
	x := m.forward(tape, tokens, 1, len(tokens))
	logits := tape.Head(tape.Rows(x, from, len(tokens)), m.wte).Data
	if i := f32.Finite(logits); i >= 0 {
		return nil, &optim.NonFiniteError{What: "logits", Index: i, Value: float64(logits[i])}
	}
	return logits, nil
}

// sampler chooses tokens.
type sampler struct {
	options GenerateOptions
	stream  seed.Stream
	drawn   uint64
	inverse float32 // 1/temperature

	logits  []float32 // of the present choice
	scaled  []float32 // exp((logit - max)/temperature), by token
	weights []uint64  // by token; the likeliest has 2^32
	order   []int32   // tokens by rank, as far as known
	heap    []int32   // the others, the likeliest first
}

func newSampler(o GenerateOptions, vocab int) *sampler {
	s := &sampler{options: o, stream: seed.New(o.Seed, "model/generate")}
	if o.Temperature != 0 {
		s.inverse = float32(1 / o.Temperature)
		s.scaled, s.weights = make([]float32, vocab), make([]uint64, vocab)
		s.order, s.heap = make([]int32, 0, vocab), make([]int32, vocab)
	}
	return s
}
