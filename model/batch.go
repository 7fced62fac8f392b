package model

import (
	"lockstep/internal/fault"
)

// MaxTrainingPositions is the longest sequence that Gradient takes: the sum
// over a sequence's positions has to be one block of N6.
const MaxTrainingPositions = 1024

// headTokens is the number of tokens whose logits are held at once.
const headTokens = 1024

// Batch is B sequences of T tokens, with the token that should follow each. A
// target below 0 is ignored: it adds nothing to loss, gradient or token count.
type Batch struct {
	Inputs, Targets []int32 // (B, T)
	B, T            int
}

// Tokens counts the targets that are not ignored.
func (b Batch) Tokens() uint64 {
	n := uint64(0)
	for _, t := range b.Targets {
		if t >= 0 {
			n++
		}
	}
	return n
}

// sequences returns sequences lo to hi-1.
func (b Batch) sequences(lo, hi int) Batch {
	return Batch{b.Inputs[lo*b.T : hi*b.T], b.Targets[lo*b.T : hi*b.T], hi - lo, b.T}
}

// check returns an error unless the batch fits the model.
func (m *Model) check(b Batch) error {
	c := m.Config
	if b.B < 1 || b.T < 1 || len(b.Inputs) != b.B*b.T || len(b.Targets) != b.B*b.T {
		return fault.Errorf(fault.Damaged, "batch: %d inputs and %d targets for %d sequences of %d", len(b.Inputs), len(b.Targets), b.B, b.T)
	}
	if b.T > c.Positions {
		return fault.Errorf(fault.Config, "batch: sequences of %d tokens; the model has n_positions %d", b.T, c.Positions)
	}
	if err := m.checkInputs(b.Inputs, b.T); err != nil {
		return err
	}
	for i, t := range b.Targets {
		if int(t) >= c.Vocab {
			return fault.Errorf(fault.Damaged, "batch: sequence %d, position %d: target %d is outside the vocabulary of %d", i/b.T, i%b.T, t, c.Vocab)
		}
	}
	return nil
}

// checkInputs returns an error unless inputs, in sequences of t, are tokens of
// the vocabulary.
func (m *Model) checkInputs(inputs []int32, t int) error {
	for i, token := range inputs {
		if token < 0 || int(token) >= m.Config.Vocab {
			return fault.Errorf(fault.Damaged, "batch: sequence %d, position %d: input %d is outside the vocabulary of %d", i/t, i%t, token, m.Config.Vocab)
		}
	}
	return nil
}

// micro returns how many sequences of t tokens to take at a time.
func (m *Model) micro(t int) int {
	if m.MicroBatch > 0 {
		return m.MicroBatch
	}
	return max(1, headTokens/t)
}
