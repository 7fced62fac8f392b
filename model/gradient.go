package model

import (
	"math"

	"lockstep/autograd"
	"lockstep/internal/fault"
	"lockstep/optim"
)

// Gradient adds the batch to acc: its loss, its number of tokens, and the
// gradient of its summed loss at p, sequence after sequence (N8). It is the
// single gradient function. A batch may come in any number of calls: the bits
// depend on the order of the sequences alone.
//
// A loss that is NaN or infinite ends in an *optim.NonFiniteError (N21). After
// an error acc is void until its Reset.
func (m *Model) Gradient(p *Parameters, batch Batch, acc *Accumulator) error {
	if len(p.Data) != m.Layout.Elements || len(acc.gradient) != m.Layout.Elements {
		panic("model: Gradient: parameters or accumulator of another architecture")
	}
	if acc.frozen {
		panic("model: Gradient: the accumulator is frozen")
	}
	if err := m.check(batch); err != nil {
		return err
	}
	if batch.T > MaxTrainingPositions {
		return fault.Errorf(fault.Config, "batch: sequences of %d tokens; training takes at most %d", batch.T, MaxTrainingPositions)
	}
	m.tape.Release(autograd.Mark{})
	m.tape.ForwardOnly = false
	m.bind(p.Data, acc.gradient, acc.embedding)
	return m.run(batch, &acc.Tally)
}

// Loss returns the batch's summed loss and number of tokens, with the bits that
// Gradient gives. Sequences may be as long as the model allows.
func (m *Model) Loss(p *Parameters, batch Batch) (Tally, error) {
	var sum Tally
	if len(p.Data) != m.Layout.Elements {
		panic("model: Loss: parameters of another architecture")
	}
	if err := m.check(batch); err != nil {
		return sum, err
	}
	m.tape.Release(autograd.Mark{})
	m.tape.ForwardOnly = true
	m.bind(p.Data, nil, nil)
	err := m.run(batch, &sum)
	return sum, err
}

// run takes the batch through the network in micro-batches.
func (m *Model) run(batch Batch, sum *Tally) error {
	micro := m.micro(batch.T)
	for lo := 0; lo < batch.B; lo += micro {
		if err := m.microBatch(batch.sequences(lo, min(lo+micro, batch.B)), sum); err != nil {
			return err
		}
	}
	return nil
}

// microBatch runs forward and, unless the tape is ForwardOnly, backward. The
// head goes first forward and first backward, a slice of sequences at a time,
// so that only one slice's logits (headTokens, V) exist.
func (m *Model) microBatch(batch Batch, sum *Tally) error {
	tape := &m.tape
	x := m.forward(tape, batch.Inputs, batch.B, batch.T)
	slice := max(1, headTokens/batch.T)
	for lo := 0; lo < batch.B; lo += slice {
		part := batch.sequences(lo, min(lo+slice, batch.B))
		mark := tape.Mark()
		logits := tape.Head(tape.Sequences(x, lo, lo+part.B), m.wte)
		losses := tape.CrossEntropy(logits, part.Targets)
		if err := sum.add(losses, part); err != nil {
			return err
		}
		m.backward(mark)
	}
	m.backward(autograd.Mark{})
	return nil
}

// backward runs the tape back to mark, or only forgets what came after it.
func (m *Model) backward(mark autograd.Mark) {
	if m.tape.ForwardOnly {
		m.tape.Release(mark)
		return
	}
	m.tape.Backward(mark)
}

// Tally sums losses over sequences. The zero value is an empty sum.
type Tally struct {
	Loss      float64 // summed over tokens in ascending order (N13)
	Tokens    uint64  // targets that were not ignored
	Sequences int
}

// Mean returns the loss per token, NaN without tokens.
func (t Tally) Mean() float64 { return t.Loss / float64(t.Tokens) }

// add adds the losses of a batch.
func (t *Tally) add(losses []float32, batch Batch) error {
	for i, loss := range losses {
		if l := float64(loss); math.IsNaN(l) || math.IsInf(l, 0) {
			return &optim.NonFiniteError{What: "loss", Index: t.Sequences*batch.T + i, Value: l}
		}
		t.Loss += float64(loss)
	}
	t.Tokens += batch.Tokens()
	t.Sequences += batch.B
	return nil
}
