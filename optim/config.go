package optim

import (
	"math"

	"lockstep/internal/fault"
)

// Config holds the optimizer's hyper-parameters, which all peers of a run
// share. Its fields are those of spec.Optimizer in the same order, so that one
// converts to the other. The zero value is invalid: start from Default.
type Config struct {
	LearningRate float64 // highest rate, reached at step WarmupSteps
	MinRate      float64 // rate from step DecaySteps on; 0 unless DecaySteps is set
	WarmupSteps  uint64  // steps over which the rate rises linearly; 0: none
	DecaySteps   uint64  // step at which a linear decay has reached MinRate; 0: constant after the warmup
	Beta1        float64 // decay of the first moment, in [0, 1)
	Beta2        float64 // decay of the second moment, in [0, 1)
	Epsilon      float64 // added to the root of the second moment
	WeightDecay  float64 // decoupled decay of matrices, times the learning rate
	ClipNorm     float64 // longest gradient that passes unchanged
}

// Default returns settings that suit GPT-2 of any size: AdamW with a constant
// rate, clipped at length 1.
func Default() Config {
	return Config{
		LearningRate: 1e-3, Beta1: 0.9, Beta2: 0.999, Epsilon: 1e-8, WeightDecay: 0.01, ClipNorm: 1,
	}
}

// Validate reports the first setting that is impossible, or that would have no
// effect, as a fault.Config error.
func (c Config) Validate() error {
	checks := []struct {
		ok   bool
		name string
		got  any
		want string
	}{
		{positive(c.LearningRate), "learning_rate", c.LearningRate, "a positive float32"},
		{c.MinRate >= 0 && c.MinRate <= c.LearningRate, "min_rate", c.MinRate, "between 0 and learning_rate"},
		{c.MinRate == 0 || c.DecaySteps > 0, "min_rate", c.MinRate, "0 where decay_steps is 0"},
		{c.WarmupSteps <= maxStep, "warmup_steps", c.WarmupSteps, "at most 2^53"},
		{c.DecaySteps <= maxStep, "decay_steps", c.DecaySteps, "at most 2^53"},
		{c.DecaySteps == 0 || c.DecaySteps > c.WarmupSteps, "decay_steps", c.DecaySteps, "0 or more than warmup_steps"},
		{c.Beta1 >= 0 && float32(c.Beta1) < 1, "beta1", c.Beta1, "in [0, 1)"},
		{c.Beta2 >= 0 && float32(c.Beta2) < 1, "beta2", c.Beta2, "in [0, 1)"},
		{positive(c.Epsilon), "epsilon", c.Epsilon, "a positive float32"},
		{c.WeightDecay >= 0 && finite32(c.WeightDecay), "weight_decay", c.WeightDecay, "0 or a positive float32"},
		{positive(c.ClipNorm), "clip_norm", c.ClipNorm, "a positive float32 (a large one never clips)"},
	}
	for _, k := range checks {
		if !k.ok {
			return fault.Errorf(fault.Config, "optimizer: %s is %v; it must be %s", k.name, k.got, k.want)
		}
	}
	return nil
}

// maxStep is the last step that float64 counts exactly.
const maxStep = 1 << 53

// positive reports whether x is above zero and finite once it is a float32.
func positive(x float64) bool { return float32(x) > 0 && finite32(x) }

func finite32(x float64) bool { return math.Abs(x) <= math.MaxFloat32 }
