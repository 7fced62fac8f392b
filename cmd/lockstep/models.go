package main

import (
	"context"
	"fmt"
	"io"

	"lockstep/hub"
	"lockstep/internal/fault"
	"lockstep/model"
	"lockstep/stream/tokenizer"
)

// loaded is a model ready for use.
type loaded struct {
	net     *model.Model
	weights *model.Parameters
	tokens  tokenizer.Tokenizer
}

// maxConfig caps a config.json.
const maxConfig = 1 << 20

// loadModel opens a model by any of its names: a built-in configuration, then
// freshly initialised from the seed, or a folder or local repository.
func loadModel(ctx context.Context, name string, seed uint64) (*loaded, error) {
	ref, err := hub.ParseModel(name)
	if err != nil {
		return nil, err
	}
	var weights *model.Parameters
	if ref.Kind == hub.Builtin {
		arch, ok := model.Builtin(ref.Name)
		if !ok {
			return nil, fault.Errorf(fault.Config, "no model is called %q; built in are nano, tiny, distilgpt2, gpt2, and a folder is written ./%s", ref.Name, ref.Name)
		}
		weights = model.Initialise(arch, seed)
	} else if weights, err = readWeights(ctx, ref); err != nil {
		return nil, err
	}
	tokens, err := tokenizer.ForVocabulary(weights.Config.Vocab)
	if err != nil {
		return nil, err
	}
	net, err := model.New(weights.Config)
	if err != nil {
		return nil, err
	}
	return &loaded{net, weights, tokens}, nil
}

// readWeights reads config.json and the safetensors files of a stored model.
func readWeights(ctx context.Context, ref hub.ModelName) (*model.Parameters, error) {
	snapshot, err := openSnapshot(ctx, ref)
	if err != nil {
		return nil, err
	}
	f, err := snapshot.Open(ctx, "config.json")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxConfig+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxConfig {
		return nil, fault.Errorf(fault.Damaged, "%s: config.json is larger than %d bytes", snapshot.Name(), maxConfig)
	}
	arch, err := model.LoadConfig(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", snapshot.Name(), err)
	}
	stored, err := hub.OpenWeights(ctx, snapshot)
	if err != nil {
		return nil, err
	}
	defer stored.Close()
	weights, err := model.Import(arch, checkpoint{ctx, stored})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", snapshot.Name(), err)
	}
	return weights, nil
}

// checkpoint is stored weights as package model reads them.
type checkpoint struct {
	ctx context.Context
	*hub.Weights
}

func (c checkpoint) Read(name string, dst []float32) error { return c.Weights.Read(c.ctx, name, dst) }
