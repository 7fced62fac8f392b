package model

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"

	"lockstep/internal/testdata"
	"lockstep/optim"
)

// vector is a file of testdata/torch, computed in float64 by PyTorch.
type vector struct {
	Config    json.RawMessage      `json:"config"`
	Batch     int                  `json:"batch"`
	Positions int                  `json:"positions"`
	Inputs    []int32              `json:"inputs"`
	Targets   []int32              `json:"targets"`
	Loss      float64              `json:"loss"`
	Tokens    uint64               `json:"tokens"`
	Gradient  map[string][]float64 `json:"gradient"`
	Optimizer struct {
		LearningRate float64 `json:"learning_rate"`
		WarmupSteps  uint64  `json:"warmup_steps"`
		Beta1        float64 `json:"beta1"`
		Beta2        float64 `json:"beta2"`
		Epsilon      float64 `json:"epsilon"`
		WeightDecay  float64 `json:"weight_decay"`
		ClipNorm     float64 `json:"clip_norm"`
	} `json:"optimizer"`
	Steps []struct {
		Loss float64 `json:"loss"`
		Norm float64 `json:"norm"`
	} `json:"steps"`
	Parameters map[string][]float64 `json:"parameters"`
}

func loadVector(t *testing.T, name string) vector {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(testdata.Root(), "testdata", "torch", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	var v vector
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func (v *vector) batch() Batch {
	return Batch{Inputs: v.Inputs, Targets: v.Targets, B: v.Batch, T: v.Positions}
}

func (v *vector) optimizer() optim.Config {
	o := v.Optimizer
	return optim.Config{
		LearningRate: o.LearningRate, WarmupSteps: o.WarmupSteps, Beta1: o.Beta1, Beta2: o.Beta2,
		Epsilon: o.Epsilon, WeightDecay: o.WeightDecay, ClipNorm: o.ClipNorm,
	}
}

// hash32 is the finaliser of MurmurHash3, as mix in make.py.
func hash32(x uint32) uint32 {
	x ^= x >> 16
	x *= 0x85EBCA6B
	x ^= x >> 13
	x *= 0xC2B2AE35
	return x ^ x>>16
}

// hashedParameters are the weights of make.py.
func hashedParameters(c Config) *Parameters {
	p := NewParameters(c)
	for _, t := range p.Layout.Tensors {
		scale, centre := 0.4, 0.0
		if t.Decay {
			scale = 0.8
		}
		if t.start == ones {
			centre = 1
		}
		for i := t.Offset; i < t.Offset+t.Size; i++ {
			u := float64(hash32(uint32(i)))/(1<<32) - 0.5
			p.Data[i] = float32(centre + float64(scale*u))
		}
	}
	return p
}

// unit is half the distance between 1 and the next float32.
const unit = 1.0 / (1 << 24)

// compare checks x against float64 values tensor by tensor. The error of an
// element may be tolerance units of 2^-24 of its tensor's largest element: all
// sums here are short chains (2 to 3 units each, NUMERICS.md "Accuracy"), and a
// gradient passes through some ten of them.
func compare(t *testing.T, l *Layout, what string, x []float32, want map[string][]float64, tolerance float64) {
	t.Helper()
	if err := difference(l, x, want, tolerance); err != nil {
		t.Errorf("%s: %v", what, err)
	}
}

func difference(l *Layout, x []float32, want map[string][]float64, tolerance float64) error {
	if len(want) != len(l.Tensors) {
		return fmt.Errorf("%d tensors, want %d", len(l.Tensors), len(want))
	}
	for tensor, got := range l.Split(x) {
		w := want[tensor.Name]
		if len(w) != len(got) {
			return fmt.Errorf("%s has %d elements, want %d", tensor.Name, len(got), len(w))
		}
		scale := 1e-3 // of gradients that are zero in exact arithmetic
		for _, v := range w {
			scale = max(scale, math.Abs(v))
		}
		for i, v := range w {
			if e := math.Abs(float64(got[i]) - v); !(e <= tolerance*unit*scale) {
				return fmt.Errorf("%s[%d] = %g, want %g: off by %.1f units of 2^-24", tensor.Name, i, got[i], v, e/(unit*scale))
			}
		}
	}
	return nil
}

// TestPyTorch compares loss, gradients and three optimizer steps with
// PyTorch's in float64.
func TestPyTorch(t *testing.T) {
	for _, name := range []string{"plain", "odd", "ignored"} {
		t.Run(name, func(t *testing.T) {
			v := loadVector(t, name)
			c, err := LoadConfig(v.Config)
			if err != nil {
				t.Fatal(err)
			}
			m, err := New(c)
			if err != nil {
				t.Fatal(err)
			}
			s := NewState(hashedParameters(c))
			acc := NewAccumulator(m.Layout)
			for i, want := range v.Steps {
				acc.Reset()
				if err := m.Gradient(s.Parameters(c), v.batch(), acc); err != nil {
					t.Fatal(err)
				}
				g, err := acc.Freeze()
				if err != nil {
					t.Fatal(err)
				}
				if i == 0 {
					near(t, "loss", acc.Loss, v.Loss, 4)
					compare(t, m.Layout, "gradient", g, v.Gradient, 30)
				}
				if acc.Tokens != v.Tokens {
					t.Errorf("%d tokens, want %d", acc.Tokens, v.Tokens)
				}
				near(t, fmt.Sprintf("loss of step %d", i+1), acc.Mean(), want.Loss, 4)
				if err := Average(g, acc.Tokens); err != nil {
					t.Fatal(err)
				}
				info, err := s.ApplyAverage(g, v.optimizer())
				if err != nil {
					t.Fatal(err)
				}
				near(t, fmt.Sprintf("norm of step %d", i+1), info.Norm, want.Norm, 8)
			}
			// AdamW divides by the gradient's own size plus epsilon: the noise in
			// the gradients of key biases, 0 in exact arithmetic, grows a hundredfold.
			compare(t, m.Layout, "parameters", s.Theta, v.Parameters, 300)
		})
	}
}

// near checks a scalar to some units of 2^-24 of itself.
func near(t *testing.T, what string, got, want, tolerance float64) {
	t.Helper()
	if e := math.Abs(got - want); !(e <= tolerance*unit*math.Abs(want)) {
		t.Errorf("%s = %v, want %v: off by %.1f units of 2^-24", what, got, want, e/(unit*math.Abs(want)))
	}
}
