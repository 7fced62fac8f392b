package model

import (
	"encoding/json"
	"errors"
	"math"

	"lockstep/internal/fault"
)

// Config is a GPT-2 architecture. The names in brackets are those of Hugging
// Face's config.json. The zero value is invalid: use Builtin or LoadConfig.
type Config struct {
	Layers           int     // transformer blocks [n_layer]
	Heads            int     // attention heads, a divisor of Embd [n_head]
	Embd             int     // width of the residual stream [n_embd]
	Inner            int     // width inside the MLP; null in config.json stands for 4 Embd [n_inner]
	Positions        int     // longest context [n_positions]
	Vocab            int     // tokens [vocab_size]
	LayerNormEpsilon float64 // [layer_norm_epsilon]
	EndOfText        int     // token between documents [bos_token_id, eos_token_id]
}

// Builtin returns a configuration by name: distilgpt2, gpt2, tiny or nano.
// nano is for tests: small enough for the portable kernels and for emulators.
func Builtin(name string) (Config, bool) {
	switch name {
	case "distilgpt2":
		return gpt2(6, 12, 768, 1024, 50257), true
	case "gpt2":
		return gpt2(12, 12, 768, 1024, 50257), true
	case "tiny":
		return gpt2(2, 4, 64, 256, 50257), true
	case "nano":
		return gpt2(2, 2, 32, 32, 512), true
	}
	return Config{}, false
}

// gpt2 returns a configuration with GPT-2's proportions; the end of text is
// its last token.
func gpt2(layers, heads, embd, positions, vocab int) Config {
	return Config{
		Layers: layers, Heads: heads, Embd: embd, Inner: 4 * embd, Positions: positions,
		Vocab: vocab, LayerNormEpsilon: 1e-5, EndOfText: vocab - 1,
	}
}

// Limits of a configuration, so that no file makes us allocate without bound.
const (
	maxConfigBytes = 1 << 20
	maxLayers      = 1 << 9
	maxEmbd        = 1 << 16
	maxInner       = 1 << 18
	maxPositions   = 1 << 16
	maxVocab       = 1 << 20
	maxElements    = 1 << 31
)

// Validate reports the first impossible field as a fault.Config error.
func (c Config) Validate() error {
	checks := []struct {
		ok    bool
		field string
		got   any
		want  string
	}{
		{c.Layers >= 1 && c.Layers <= maxLayers, "n_layer", c.Layers, "1 to 512"},
		{c.Embd >= 1 && c.Embd <= maxEmbd, "n_embd", c.Embd, "1 to 65536"},
		{c.Heads >= 1 && c.Embd%max(1, c.Heads) == 0, "n_head", c.Heads, "a divisor of n_embd"},
		{c.Inner >= 1 && c.Inner <= maxInner, "n_inner", c.Inner, "null or 1 to 262144"},
		{c.Positions >= 1 && c.Positions <= maxPositions, "n_positions", c.Positions, "1 to 65536"},
		{c.Vocab >= 1 && c.Vocab <= maxVocab, "vocab_size", c.Vocab, "1 to 1048576"},
		{float32(c.LayerNormEpsilon) > 0 && c.LayerNormEpsilon < 1, "layer_norm_epsilon", c.LayerNormEpsilon, "above 0 and below 1"},
		{c.EndOfText >= 0 && c.EndOfText < c.Vocab, "eos_token_id", c.EndOfText, "a token below vocab_size"},
	}
	for _, k := range checks {
		if !k.ok {
			return fault.Errorf(fault.Config, "model config: %s is %v; it must be %s", k.field, k.got, k.want)
		}
	}
	if n := c.elements(); n > maxElements {
		return fault.Errorf(fault.Config, "model config: %d parameters; at most %d are supported", n, maxElements)
	}
	return nil
}

// elements counts the parameters. It cannot overflow within the limits.
func (c Config) elements() int {
	attention := 4*c.Embd*c.Embd + 4*c.Embd
	mlp := 2*c.Embd*c.Inner + c.Inner + c.Embd
	norms := 4 * c.Embd
	return (c.Vocab+c.Positions)*c.Embd + c.Layers*(attention+mlp+norms) + 2*c.Embd
}

// document is config.json as far as it matters here. Fields that are absent
// have Hugging Face's defaults.
type document struct {
	ModelType         *string  `json:"model_type"`
	Activation        *string  `json:"activation_function"`
	Layers            *int     `json:"n_layer"`
	Heads             *int     `json:"n_head"`
	Embd              *int     `json:"n_embd"`
	Inner             *int     `json:"n_inner"`
	Positions         *int     `json:"n_positions"`
	Vocab             *int     `json:"vocab_size"`
	LayerNormEpsilon  *float64 `json:"layer_norm_epsilon"`
	EndOfText         *int     `json:"eos_token_id"`
	ScaleAttention    *bool    `json:"scale_attn_weights"`
	ScaleByLayer      *bool    `json:"scale_attn_by_inverse_layer_idx"`
	ReorderAndUpcast  *bool    `json:"reorder_and_upcast_attn"`
	TieWordEmbeddings *bool    `json:"tie_word_embeddings"`
	CrossAttention    *bool    `json:"add_cross_attention"`
}

// LoadConfig reads a config.json. What it asks for and this package does not
// do is a fault.Config error, never ignored: another activation, untied
// embeddings, attention scaled otherwise. Dropout probabilities are ignored, as
// training runs without dropout (N20); so is initializer_range, which is 0.02.
func LoadConfig(data []byte) (Config, error) {
	if len(data) > maxConfigBytes {
		return Config{}, fault.Errorf(fault.Damaged, "config.json: %d bytes; at most %d are read", len(data), maxConfigBytes)
	}
	var d document
	if err := json.Unmarshal(data, &d); err != nil {
		if wrong := (*json.UnmarshalTypeError)(nil); errors.As(err, &wrong) {
			return Config{}, fault.Errorf(fault.Config, "config.json: %s: %s where %s belongs", wrong.Field, wrong.Value, wrong.Type)
		}
		return Config{}, fault.Errorf(fault.Damaged, "config.json: %w", err)
	}
	if err := d.supported(); err != nil {
		return Config{}, err
	}
	c := Config{
		Layers:           value(d.Layers, 12),
		Heads:            value(d.Heads, 12),
		Embd:             value(d.Embd, 768),
		Positions:        value(d.Positions, 1024),
		Vocab:            value(d.Vocab, 50257),
		LayerNormEpsilon: value(d.LayerNormEpsilon, 1e-5),
	}
	c.Inner = value(d.Inner, 4*min(c.Embd, math.MaxInt/4))
	c.EndOfText = value(d.EndOfText, min(50256, c.Vocab-1))
	if err := c.Validate(); err != nil {
		return Config{}, err
	}
	return c, nil
}

// value returns *p, or otherwise where the field is absent or null.
func value[T any](p *T, otherwise T) T {
	if p == nil {
		return otherwise
	}
	return *p
}

// supported reports the first setting that asks for another model than this.
func (d *document) supported() error {
	function := value(d.Activation, activation)
	checks := []struct {
		ok    bool
		field string
		got   any
		want  string
	}{
		{value(d.ModelType, "gpt2") == "gpt2", "model_type", value(d.ModelType, ""), `"gpt2"`},
		{function == activation || function == "gelu_pytorch_tanh", "activation_function", function, `"gelu_new"`},
		{value(d.ScaleAttention, true), "scale_attn_weights", false, "true"},
		{!value(d.ScaleByLayer, false), "scale_attn_by_inverse_layer_idx", true, "false"},
		{!value(d.ReorderAndUpcast, false), "reorder_and_upcast_attn", true, "false"},
		{value(d.TieWordEmbeddings, true), "tie_word_embeddings", false, "true"},
		{!value(d.CrossAttention, false), "add_cross_attention", true, "false"},
	}
	for _, k := range checks {
		if !k.ok {
			return fault.Errorf(fault.Config, "config.json: %s is %v; only %s is supported", k.field, k.got, k.want)
		}
	}
	return nil
}
