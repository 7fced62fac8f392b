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
	pinned  string // "OWNER/NAME@COMMIT" of a model on a Hub, "" of others
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
	var commit string
	if ref.Kind == hub.Builtin {
		var arch model.Config
		if arch, err = builtin(ref.Name); err == nil {
			weights = model.Initialise(arch, seed)
		}
	} else {
		weights, commit, err = readWeights(ctx, ref)
	}
	if err != nil {
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
	m := &loaded{net: net, weights: weights, tokens: tokens}
	if ref.Kind == hub.OnHub {
		ref.Revision = commit
		m.pinned = ref.String()
	}
	return m, nil
}

// architecture returns the configuration of a model by any of its names. Of a
// stored model it reads config.json alone.
func architecture(ctx context.Context, name string) (model.Config, error) {
	ref, err := hub.ParseModel(name)
	if err != nil {
		return model.Config{}, err
	}
	if ref.Kind == hub.Builtin {
		return builtin(ref.Name)
	}
	snapshot, err := openSnapshot(ctx, ref)
	if err != nil {
		return model.Config{}, err
	}
	return readConfig(ctx, snapshot)
}

func builtin(name string) (model.Config, error) {
	arch, ok := model.Builtin(name)
	if !ok {
		return arch, fault.Errorf(fault.Config, "no model is called %q; built in are nano, tiny, distilgpt2, gpt2, and a folder is written ./%s", name, name)
	}
	return arch, nil
}

// readWeights reads config.json and the safetensors files of a stored model, of
// one commit where it has commits.
func readWeights(ctx context.Context, ref hub.ModelName) (weights *model.Parameters, commit string, err error) {
	snapshot, err := openSnapshot(ctx, ref)
	if err != nil {
		return nil, "", err
	}
	arch, err := readConfig(ctx, snapshot)
	if err != nil {
		return nil, "", err
	}
	stored, err := hub.OpenWeights(ctx, snapshot)
	if err != nil {
		return nil, "", err
	}
	defer stored.Close()
	weights, err = model.Import(arch, checkpoint{ctx, stored})
	if err != nil {
		return nil, "", fmt.Errorf("%s: %w", snapshot.Name(), err)
	}
	return weights, snapshot.Revision(), nil
}

func readConfig(ctx context.Context, snapshot hub.Snapshot) (model.Config, error) {
	f, err := snapshot.Open(ctx, "config.json")
	if err != nil {
		return model.Config{}, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxConfig+1))
	if err != nil {
		return model.Config{}, err
	}
	if len(text) > maxConfig {
		return model.Config{}, fault.Errorf(fault.Damaged, "%s: config.json is larger than %d bytes", snapshot.Name(), maxConfig)
	}
	arch, err := model.LoadConfig(text)
	if err != nil {
		return arch, fmt.Errorf("%s: %w", snapshot.Name(), err)
	}
	return arch, nil
}

// checkpoint is stored weights as package model reads them.
type checkpoint struct {
	ctx context.Context
	*hub.Weights
}

func (c checkpoint) Read(name string, dst []float32) error { return c.Weights.Read(c.ctx, name, dst) }
