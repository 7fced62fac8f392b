package model

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"lockstep/internal/fault"
	"lockstep/internal/testdata"
)

func TestBuiltin(t *testing.T) {
	elements := map[string]int{"distilgpt2": 81912576, "gpt2": 124439808, "tiny": 3332928, "nano": 42880}
	for _, name := range []string{"distilgpt2", "gpt2", "tiny", "nano"} {
		c, ok := Builtin(name)
		if !ok || c.Validate() != nil {
			t.Errorf("%s: %v, %v", name, ok, c.Validate())
		}
		l := NewLayout(c)
		if l.Elements != elements[name] || l.Elements != c.elements() {
			t.Errorf("%s has %d parameters, want %d", name, l.Elements, elements[name])
		}
	}
	if _, ok := Builtin("bert"); ok {
		t.Error("bert is built in")
	}
}

func TestConfigRoundTrip(t *testing.T) {
	tiny, _ := Builtin("tiny")
	for _, c := range []Config{tiny, small()} {
		text := c.JSON()
		got, err := LoadConfig(text)
		if err != nil || got != c {
			t.Errorf("%+v, %v; want %+v", got, err, c)
		}
		if !bytes.Equal(text, c.JSON()) {
			t.Error("two encodings differ")
		}
	}
	if s := string(tiny.JSON()); !strings.Contains(s, `"n_inner": null`) || !strings.HasSuffix(s, "}\n") {
		t.Error(s)
	}
	for _, c := range []Config{tiny, small()} {
		got, err := FromSpec(c.Spec("name"))
		if err != nil || got != c {
			t.Errorf("from the run spec: %+v, %v; want %+v", got, err, c)
		}
	}
	s := tiny.Spec("tiny")
	s.Activation = "relu"
	if _, err := FromSpec(s); fault.KindOf(err) != fault.Config {
		t.Errorf("relu: %v", err)
	}
}

func TestLoadConfigDefaults(t *testing.T) {
	gpt2, _ := Builtin("gpt2")
	if got, err := LoadConfig([]byte(`{}`)); err != nil || got != gpt2 {
		t.Errorf("%+v, %v", got, err)
	}
	got, err := LoadConfig([]byte(`{"n_embd": 8, "n_head": 2, "vocab_size": 10, "n_inner": null, "resid_pdrop": 0.3}`))
	if err != nil || got.Inner != 32 || got.EndOfText != 9 {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestLoadConfigRefuses(t *testing.T) {
	tests := []struct {
		text, says string
		kind       fault.Kind
	}{
		{`{"activation_function": "relu"}`, "activation_function", fault.Config},
		{`{"model_type": "gpt_neo"}`, "model_type", fault.Config},
		{`{"scale_attn_weights": false}`, "scale_attn_weights", fault.Config},
		{`{"scale_attn_by_inverse_layer_idx": true}`, "scale_attn_by_inverse_layer_idx", fault.Config},
		{`{"reorder_and_upcast_attn": true}`, "reorder_and_upcast_attn", fault.Config},
		{`{"tie_word_embeddings": false}`, "tie_word_embeddings", fault.Config},
		{`{"add_cross_attention": true}`, "add_cross_attention", fault.Config},
		{`{"n_head": 7}`, "n_head", fault.Config},
		{`{"n_head": 0}`, "n_head", fault.Config},
		{`{"n_layer": 0}`, "n_layer", fault.Config},
		{`{"n_layer": 1.5}`, "n_layer", fault.Config},
		{`{"n_layer": "six"}`, "n_layer", fault.Config},
		{`{"n_layer": 9223372036854775807}`, "n_layer", fault.Config},
		{`{"n_embd": 9223372036854775807}`, "n_embd", fault.Config},
		{`{"n_inner": 0}`, "n_inner", fault.Config},
		{`{"n_positions": -1}`, "n_positions", fault.Config},
		{`{"vocab_size": 0}`, "vocab_size", fault.Config},
		{`{"layer_norm_epsilon": 0}`, "layer_norm_epsilon", fault.Config},
		{`{"eos_token_id": 50257}`, "eos_token_id", fault.Config},
		{`{"n_layer": 512, "n_embd": 65536, "n_head": 64}`, "parameters", fault.Config},
		{`{"n_layer": 6`, "unexpected end", fault.Damaged},
		{`GPT-2`, "invalid character", fault.Damaged},
		{`{"x": "` + strings.Repeat("y", maxConfigBytes) + `"}`, "at most", fault.Damaged},
	}
	for _, tt := range tests {
		_, err := LoadConfig([]byte(tt.text))
		if fault.KindOf(err) != tt.kind || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%.60s: %v", tt.text, err)
		}
	}
}

func TestPublishedConfigs(t *testing.T) {
	for _, name := range []string{"tiny_gpt2", "fake_gpt2"} {
		data, err := os.ReadFile(testdata.Path(t, "gpt2_hf", name, "config.json"))
		if err != nil {
			t.Fatal(err)
		}
		c, err := LoadConfig(data)
		if err != nil || c.Layers != 1 || c.Embd != 2 || c.Inner != 8 || c.EndOfText != c.Vocab-1 {
			t.Errorf("%s: %+v, %v", name, c, err)
		}
	}
}

func TestNewRefusesBadConfig(t *testing.T) {
	c := small()
	c.Heads = 2
	if _, err := New(c); fault.KindOf(err) != fault.Config {
		t.Errorf("%v", err)
	}
}

// FuzzLoadConfig: any bytes give a valid configuration or an error, and what is
// valid survives being written and read again.
func FuzzLoadConfig(f *testing.F) {
	f.Add([]byte(`{}`))
	f.Add(small().JSON())
	f.Add([]byte(`{"n_embd": 1e400}`))
	f.Add([]byte(`[{"n_layer":null}]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := LoadConfig(data)
		if err != nil {
			if k := fault.KindOf(err); k != fault.Config && k != fault.Damaged {
				t.Errorf("kind %v: %v", k, err)
			}
			return
		}
		if again, err := LoadConfig(c.JSON()); err != nil || again != c {
			t.Errorf("%+v, %v; want %+v", again, err, c)
		}
	})
}
