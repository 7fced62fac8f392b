package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"lockstep/config"
	"lockstep/internal/fault"
	"lockstep/model"
	"lockstep/observe"
)

// maxPrompt caps the prompt's bytes.
const maxPrompt = 1 << 20

// generation is the result of `lockstep generate --json`.
type generation struct {
	Model  string  `json:"model"`
	Prompt string  `json:"prompt"`
	Text   string  `json:"text"` // prompt and continuation
	Tokens []int32 `json:"tokens"`
	Ended  bool    `json:"ended"` // by an end-of-text token
}

func (a *app) generate() *cobra.Command {
	var prompt string
	var options model.GenerateOptions
	cmd := &cobra.Command{
		Use:     "generate",
		Short:   "Continue a text; the same on every machine",
		GroupID: "use",
		Args:    cobra.NoArgs,
		Example: `  lockstep generate --model run/hub/nano --prompt "The sea"
  lockstep generate --model run/hub/tiny@3 --prompt "The sea" --seed 7 --temperature 0.8 --top-k 40
  lockstep generate --model ./checkpoint --prompt "Once" --temperature 0 --json`,
	}
	config.AddFlags(cmd.Flags(), "model", "seed", "json", "threads")
	f := cmd.Flags()
	f.StringVar(&prompt, "prompt", "", "text to continue (empty: start after an end of text)")
	f.IntVar(&options.MaxTokens, "max-tokens", 64, "new tokens at the most")
	f.Float64Var(&options.Temperature, "temperature", 0.8, "0 takes the likeliest token; higher is bolder")
	f.IntVar(&options.TopK, "top-k", 0, "sample among the k likeliest tokens (0: all)")
	f.Float64Var(&options.TopP, "top-p", 0, "sample among the likeliest tokens of this total probability (0: all)")
	cmd.RunE = a.runs(func(ctx context.Context, c config.Config, t *observe.Terminal) error {
		if len(prompt) > maxPrompt {
			return fault.Errorf(fault.Usage, "--prompt has %d bytes; at most %d are taken", len(prompt), maxPrompt)
		}
		options.Seed = c.Protocol.Seed
		if _, fresh := model.Builtin(c.Protocol.Model); fresh {
			t.Line("%s starts from the seed and has learned nothing yet; name a trained model with --model", c.Protocol.Model)
		}
		return a.continueText(ctx, c, prompt, options)
	})
	return cmd
}

func (a *app) continueText(ctx context.Context, c config.Config, prompt string, o model.GenerateOptions) error {
	m, err := loadModel(ctx, c.Protocol.Model, c.Protocol.Seed)
	if err != nil {
		return err
	}
	ids := m.tokens.EncodeWithSpecial(prompt)
	if len(ids) == 0 {
		ids = []int32{m.tokens.EndOfText()}
	}
	o.EndOfText = m.tokens.EndOfText()
	fresh, err := m.net.Generate(m.weights, ids, o)
	if err != nil {
		return err
	}
	text, err := m.tokens.Decode(fresh)
	if err != nil {
		return err
	}
	if c.Output.JSON {
		return a.printJSON(generation{
			Model: c.Protocol.Model, Prompt: prompt, Text: prompt + string(text), Tokens: append([]int32{}, fresh...),
			Ended: len(fresh) < o.MaxTokens,
		})
	}
	_, err = fmt.Fprintf(a.stdout, "%s%s\n", prompt, text)
	return err
}
