package main

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/spf13/cobra"

	"lockstep/config"
	"lockstep/hub"
	"lockstep/internal/merkle"
	"lockstep/internal/signed"
	"lockstep/internal/spec"
	"lockstep/model"
	"lockstep/observe"
	"lockstep/optim"
	"lockstep/stream"
	"lockstep/swarm"
	"lockstep/validate"
)

// link is one line of the chain.
type link struct {
	Epoch  uint64        `json:"epoch"`
	Stage  string        `json:"stage"`
	Digest merkle.Digest `json:"digest"`
}

func (a *app) hash() *cobra.Command {
	var epochs uint64
	cmd := &cobra.Command{
		Use:     "hash",
		Short:   "Print the chain of digests from text to tag",
		GroupID: "check",
		Args:    cobra.NoArgs,
		Long: `Compute a few epochs of a group of one and print a digest after each stage.
Run it on two machines: of two outputs, the first line that differs names the
stage, and so the package, that does not reproduce.`,
		Example: `  lockstep hash
  lockstep hash --model tiny --epochs 1
  LOCKSTEP_ISA=portable lockstep hash | diff - other-machine.txt`,
	}
	config.AddFlags(cmd.Flags(), append(textFlags, "model", "init", "seed", "seq-len", "sequences", "segment-rows", "micro-batch", "threads", "json")...)
	cmd.Flags().Uint64Var(&epochs, "epochs", 3, "epochs")
	cmd.RunE = a.runs(func(ctx context.Context, c config.Config, t *observe.Terminal) error {
		b, err := assemble(ctx, &c, t, func(config.Config) int { return 1 }, func(c config.Config) int { return c.Protocol.Sequences })
		if err != nil {
			return err
		}
		defer b.close()
		var chain []link
		show := func(epoch uint64, stage string, d merkle.Digest) {
			chain = append(chain, link{epoch, stage, d})
			if !c.Output.JSON {
				fmt.Fprintf(a.stdout, chainLine, epoch, stage, d)
			}
		}
		if err := hashChain(ctx, c, b, epochs, show); err != nil {
			return err
		}
		if c.Output.JSON {
			return a.printJSON(chain)
		}
		return nil
	})
	return cmd
}

// chainLine is how a link is printed.
const chainLine = "%-3d %-10s %s\n"

// hashChain runs the twelve stages of each epoch and shows the digest behind
// each. Epoch 0 is what the run starts from.
func hashChain(ctx context.Context, c config.Config, b *basis, epochs uint64, show func(uint64, string, merkle.Digest)) error {
	computer, err := validate.NewComputer(&b.run, b.source, c.Node.MicroBatch)
	if err != nil {
		return err
	}
	arch := b.weights.Config
	state := model.NewState(b.weights)
	base := state.Root()
	show(0, "run", b.run.Fingerprint())
	show(0, "state", base)
	for e := uint64(1); e <= epochs; e++ {
		work, err := computer.Compute(ctx, state.Parameters(arch), e, 0)
		if err != nil {
			return err
		}
		segments, err := validate.Assignment(&b.run).Segments(e, 0)
		if err != nil {
			return err
		}
		claim, err := signed.Marshal(computer.Claim(work, spec.RunID{}, base))
		if err != nil {
			return err
		}
		show(e, "segment", stream.SegmentsDigest(segments))
		show(e, "rows", work.Text.RowsDigest)
		show(e, "tokens", work.Text.EncodingDigest)
		show(e, "batch", work.Text.TokensDigest)
		show(e, "loss", sha256.Sum256(binary.LittleEndian.AppendUint64(nil, work.Facts.LossBits)))
		show(e, "gradient", work.Facts.Gradient)
		show(e, "claim", sha256.Sum256(claim))

		if err := model.Average(work.Gradient, work.Facts.Tokens); err != nil {
			return err
		}
		show(e, "average", state.Layout.Root(merkle.KindAverage, work.Gradient))
		if _, err := state.ApplyAverage(work.Gradient, optim.Config(b.run.Optimizer)); err != nil {
			return err
		}
		base = state.Root()
		show(e, "parameters", state.Layout.Root(merkle.KindParameters, state.Theta))
		show(e, "state", base)

		published := swarm.Published{
			Run: &b.run, Parameters: state.Parameters(arch), Tokenizer: b.tokens, Epoch: e, State: base,
		}
		weights, err := published.Weights()
		if err != nil {
			return err
		}
		file := weights.Digest()
		show(e, "checkpoint", file)
		show(e, "tag", sha256.Sum256(append([]byte(hub.EpochTag(e)), file[:]...)))
	}
	return nil
}
