package main

import (
	"time"

	"lockstep/config"
	"lockstep/model"
)

// preset is how a built-in model likes to be trained on one small machine. A
// setting given by the user wins.
type preset struct {
	seqLen    int
	sequences int // per miner and epoch, or per step of `train`
	rate      float64
	deadline  time.Duration // of one averaging on loopback
}

var presets = map[string]preset{
	"nano":       {seqLen: 32, sequences: 32, rate: 6e-3, deadline: 20 * time.Second},
	"tiny":       {seqLen: 256, sequences: 8, rate: 3e-3, deadline: 30 * time.Second},
	"distilgpt2": {seqLen: 1024, sequences: 4, rate: 6e-4, deadline: 2 * time.Minute},
	"gpt2":       {seqLen: 1024, sequences: 4, rate: 6e-4, deadline: 2 * time.Minute},
}

// presetOf returns the preset of a model; architectures without one of their
// own, those that come from a file, get distilgpt2's.
func presetOf(name string) preset {
	if p, ok := presets[name]; ok {
		return p
	}
	return presets["distilgpt2"]
}

// fill puts the preset's values where the user gave none.
func fill(c *config.Config, arch model.Config) {
	p := presetOf(c.Protocol.Model)
	setDefault(&c.Protocol.SeqLen, min(p.seqLen, arch.Positions))
	setDefault(&c.Protocol.Sequences, p.sequences)
	setDefault(&c.Train.Batch, p.sequences)
	setDefault(&c.Optimizer.LearningRate, p.rate)
}

func setDefault[T comparable](v *T, value T) {
	var zero T
	if *v == zero {
		*v = value
	}
}
