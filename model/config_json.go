package model

import "encoding/json"

// published is the config.json that describes a trained model to others, in
// the order in which it is written.
type published struct {
	Activation        string   `json:"activation_function"`
	Architectures     []string `json:"architectures"`
	AttnPdrop         float64  `json:"attn_pdrop"`
	BOS               int      `json:"bos_token_id"`
	EmbdPdrop         float64  `json:"embd_pdrop"`
	EOS               int      `json:"eos_token_id"`
	InitializerRange  float64  `json:"initializer_range"`
	LayerNormEpsilon  float64  `json:"layer_norm_epsilon"`
	ModelType         string   `json:"model_type"`
	Embd              int      `json:"n_embd"`
	Heads             int      `json:"n_head"`
	Inner             *int     `json:"n_inner"`
	Layers            int      `json:"n_layer"`
	Positions         int      `json:"n_positions"`
	ResidPdrop        float64  `json:"resid_pdrop"`
	ScaleAttention    bool     `json:"scale_attn_weights"`
	TieWordEmbeddings bool     `json:"tie_word_embeddings"`
	Dtype             string   `json:"torch_dtype"`
	Vocab             int      `json:"vocab_size"`
}

// JSON returns c as a config.json that Hugging Face's transformers read: keys
// ascending, two spaces of indent, a newline at the end. Equal configurations
// give equal bytes. Dropout is 0, as in training.
func (c Config) JSON() []byte {
	p := published{
		Activation:        activation,
		Architectures:     []string{"GPT2LMHeadModel"},
		BOS:               c.EndOfText,
		EOS:               c.EndOfText,
		InitializerRange:  initDeviation,
		LayerNormEpsilon:  c.LayerNormEpsilon,
		ModelType:         "gpt2",
		Embd:              c.Embd,
		Heads:             c.Heads,
		Layers:            c.Layers,
		Positions:         c.Positions,
		ScaleAttention:    true,
		TieWordEmbeddings: true,
		Dtype:             "float32",
		Vocab:             c.Vocab,
	}
	if c.Inner != 4*c.Embd {
		p.Inner = &c.Inner
	}
	b, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		panic("model: a config that JSON cannot hold") // Validate refuses NaN and Inf
	}
	return append(b, '\n')
}
