package main

import (
	"context"
	"fmt"
	"math"

	"github.com/spf13/cobra"

	"lockstep/config"
	"lockstep/internal/fault"
	"lockstep/internal/merkle"
	"lockstep/model"
	"lockstep/observe"
	"lockstep/stream"
)

// evaluation is the result of `lockstep eval`.
type evaluation struct {
	Model      string        `json:"model"`
	Parameters merkle.Digest `json:"parameters"` // their root, which the model's card states
	Data       string        `json:"data"`
	FirstRow   uint64        `json:"first_row"`
	Rows       int           `json:"rows"`
	Sequences  int           `json:"sequences"`
	Tokens     uint64        `json:"tokens"`
	Loss       float64       `json:"loss"`
	LossBits   string        `json:"loss_sum_bits"` // of the float64 sum: equal on every machine
	Perplexity float64       `json:"perplexity"`
}

func (a *app) eval() *cobra.Command {
	var firstRow uint64
	cmd := &cobra.Command{
		Use:     "eval",
		Short:   "Measure a model's loss on text",
		GroupID: "use",
		Args:    cobra.NoArgs,
		Example: `  lockstep eval --model run/hub/nano
  lockstep eval --model run/hub/tiny@3 --data ./texts --sequences 64
  lockstep eval --model ./checkpoint --data book.txt --json`,
	}
	config.AddFlags(cmd.Flags(), append(textFlags, "model", "seed", "seq-len", "sequences", "json", "threads", "micro-batch")...)
	cmd.Flags().Uint64Var(&firstRow, "first-row", 0, "row of the text to begin at")
	cmd.RunE = a.runs(func(ctx context.Context, c config.Config, t *observe.Terminal) error {
		e, err := evaluate(ctx, c, firstRow)
		if err != nil {
			return err
		}
		if c.Output.JSON {
			return a.printJSON(e)
		}
		fmt.Fprintf(a.stdout, "%s on %s, %d sequences, %s tokens: loss %.4f, perplexity %.2f\nroot of the parameters %s\n",
			e.Model, e.Data, e.Sequences, observe.Count(int64(e.Tokens)), e.Loss, e.Perplexity, e.Parameters)
		return nil
	})
	return cmd
}

func evaluate(ctx context.Context, c config.Config, firstRow uint64) (*evaluation, error) {
	m, err := loadModel(ctx, c.Protocol.Model, c.Protocol.Seed)
	if err != nil {
		return nil, err
	}
	m.net.MicroBatch = c.Node.MicroBatch
	source, err := openText(ctx, &c, nil)
	if err != nil {
		return nil, err
	}
	defer source.Close()
	if firstRow >= source.Rows() {
		return nil, fault.Errorf(fault.Config, "--first-row %d: the text has %d rows", firstRow, source.Rows())
	}
	setDefault(&c.Protocol.SeqLen, min(m.weights.Config.Positions, model.MaxTrainingPositions))
	setDefault(&c.Protocol.Sequences, 16)
	rest := stream.Segment{First: firstRow, Rows: source.Rows() - firstRow}
	work, err := stream.Load(ctx, source, m.tokens, []stream.Segment{rest}, c.Protocol.SeqLen, c.Protocol.Sequences)
	if err != nil {
		return nil, err
	}
	sum, err := m.net.Loss(m.weights, model.Batch{
		Inputs: work.Inputs, Targets: work.Targets, B: work.Sequences, T: work.SeqLen,
	})
	if err != nil {
		return nil, err
	}
	return &evaluation{
		Model: c.Protocol.Model, Parameters: m.weights.Root(), Data: source.Name(), FirstRow: firstRow, Rows: len(work.Rows),
		Sequences: work.Sequences, Tokens: sum.Tokens, Loss: sum.Mean(),
		LossBits: fmt.Sprintf("%016x", math.Float64bits(sum.Loss)), Perplexity: math.Exp(sum.Mean()),
	}, nil
}
