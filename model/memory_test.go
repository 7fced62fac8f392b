package model

import "testing"

// TestTrainingMemory compares the estimate with what the tape holds after a
// step, and with the vectors.
func TestTrainingMemory(t *testing.T) {
	wide := Config{Layers: 3, Heads: 2, Embd: 64, Inner: 256, Positions: 512, Vocab: 300, LayerNormEpsilon: 1e-5, EndOfText: 1}
	nano, _ := Builtin("nano")
	for _, tt := range []struct {
		c           Config
		b, t, micro int
	}{{wide, 1, 512, 0}, {wide, 3, 512, 0}, {wide, 5, 100, 0}, {wide, 5, 100, 2}, {wide, 5, 400, 4}, {nano, 4, 32, 0}, {nano, 4, 32, 1}} {
		m := newModel(t, tt.c)
		m.MicroBatch = tt.micro
		p, acc := Initialise(tt.c, 1), NewAccumulator(m.Layout)
		if err := m.Gradient(p, syntheticBatch(tt.c, tt.b, tt.t, 0), acc); err != nil {
			t.Fatal(err)
		}
		need := TrainingMemory(tt.c, tt.b, tt.t, tt.micro)
		held, want := float64(m.tape.Bytes()), float64(need.Activations+need.Logits)
		if held > 1.05*want || held < 0.85*want {
			t.Errorf("%d x %d, micro-batch %d: the tape holds %.0f bytes, the estimate says %.0f", tt.b, tt.t, tt.micro, held, want)
		}
		if v := 4 * int64(len(p.Data)); need.Parameters != v || need.Moments != 2*v || need.Gradient != v+4*int64(len(acc.embedding)) {
			t.Errorf("vectors: %+v for %d elements", need, len(p.Data))
		}
	}
}
