package main

import (
	"cmp"
	"context"
	"path/filepath"
	"strings"

	"lockstep/config"
	"lockstep/internal/fault"
	"lockstep/internal/merkle"
	"lockstep/internal/spec"
	"lockstep/model"
	"lockstep/observe"
	"lockstep/stream"
	"lockstep/stream/tokenizer"
	"lockstep/swarm"
	"lockstep/validate"
)

// basis is what a run stands on: the run spec, and what it names, opened.
type basis struct {
	run     spec.Run
	tokens  tokenizer.Tokenizer
	source  stream.Source
	weights *model.Parameters // of epoch 0
}

func (b *basis) close() { b.source.Close() }

// assemble opens tokenizer, text and initial weights, and writes the run spec
// that names them. slots and sequences come from the caller, since `train` and
// a network count them apart. Names in c of a text and a model on a Hub are
// pinned to their commits, so that whoever gets these settings trains on the
// same. t may be nil.
func assemble(ctx context.Context, c *config.Config, t *observe.Terminal, slots func(config.Config) int, sequences func(config.Config) int) (*basis, error) {
	weights, init, err := startingWeights(ctx, c)
	if err != nil {
		return nil, err
	}
	arch := weights.Config
	fill(c, arch)
	tokens, err := tokenizer.ForVocabulary(arch.Vocab)
	if err != nil {
		return nil, err
	}
	source, err := openRunText(ctx, c, t)
	if err != nil {
		return nil, err
	}
	b := &basis{tokens: tokens, source: source, weights: weights}
	b.run = spec.Run{
		Format: spec.Format, Contract: merkle.Contract, Codec: "f32", Init: init,
		Model:     arch.Spec(modelName(c)),
		Tokenizer: spec.Tokenizer{Name: tokens.Name(), Digest: tokens.Digest()},
		Data:      spec.Data{Source: source.Name(), Identity: source.Identity(), Rows: source.Rows()},
		Assignment: spec.Assignment{
			Seed: c.Protocol.Seed, Slots: uint32(slots(*c)), SegmentsPerMiner: uint32(c.Protocol.Segments),
			SegmentRows: uint32(c.Protocol.SegmentRows), SeqLen: uint32(c.Protocol.SeqLen),
			Sequences: uint32(sequences(*c)), Quotas: quotas(c),
		},
		Optimizer: optimizerSpec(c.Optimizer),
	}
	err = b.run.Validate()
	if err == nil {
		err = validate.Assignment(&b.run).Validate()
	}
	if err != nil {
		source.Close()
		return nil, err
	}
	return b, nil
}

// startingWeights returns the weights of epoch 0: a built-in configuration's,
// from the seed; or those of --init, or of a --model that is a folder. A run that
// goes on keeps the name that they had when it began.
func startingWeights(ctx context.Context, c *config.Config) (*model.Parameters, spec.Init, error) {
	arch, builtin := model.Builtin(c.Protocol.Model)
	if builtin && c.Protocol.Init == "" {
		return model.Initialise(arch, c.Protocol.Seed), spec.Init{Kind: "seed"}, nil
	}
	from := &c.Protocol.Init
	if *from == "" {
		from = &c.Protocol.Model
	}
	m, err := loadModel(ctx, *from, c.Protocol.Seed)
	if err != nil {
		return nil, spec.Init{}, err
	}
	if builtin && m.weights.Config != arch {
		return nil, spec.Init{}, fault.Errorf(fault.Config, "--init %s holds another architecture than --model %s", *from, c.Protocol.Model)
	}
	init := spec.Init{Kind: "weights", Parameters: m.weights.Root(), BaseModel: m.pinned}
	if c.Output.Dir != "" {
		if init, err = swarm.Folder(c.Output.Dir).KnownInit(init); err != nil {
			return nil, spec.Init{}, err
		}
	}
	if m.pinned != "" {
		*from = cmp.Or(init.BaseModel, m.pinned)
	}
	return m.weights, init, nil
}

// modelName is what a run calls its model, and its repository: the last part of
// a path, without a tag.
func modelName(c *config.Config) string {
	name, _, _ := strings.Cut(filepath.Base(c.Protocol.Model), "@")
	return name
}

func optimizerSpec(o config.Optimizer) spec.Optimizer {
	return spec.Optimizer{
		LearningRate: o.LearningRate, MinRate: o.MinRate, WarmupSteps: uint64(o.Warmup),
		DecaySteps: uint64(o.DecaySteps), Beta1: o.Beta1, Beta2: o.Beta2, Epsilon: o.Epsilon,
		WeightDecay: o.WeightDecay, ClipNorm: o.ClipNorm,
	}
}

func quotas(c *config.Config) []spec.Quota {
	out := []spec.Quota{}
	for _, q := range c.Protocol.Quotas {
		out = append(out, spec.Quota{UID: uint32(q.UID), Sequences: uint32(q.Sequences)})
	}
	return out
}
