package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"lockstep/config"
	"lockstep/observe"
)

func (a *app) config() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "config",
		Short:   "Show settings, check them, print a run's fingerprint",
		GroupID: "check",
		Long: `Settings come from flags, then LOCKSTEP_ variables, then one YAML file, then
defaults. What all nodes of a network must share becomes the run spec, and its
digest the fingerprint that they compare when they meet.`,
	}
	cmd.AddCommand(a.configShow(), a.configCheck(), a.configFingerprint())
	return cmd
}

func (a *app) configShow() *cobra.Command {
	cmd := &cobra.Command{
		Use: "show", Short: "Print every setting and where it comes from", Args: cobra.NoArgs,
		Example: "  lockstep config show --config run.yaml\n  lockstep config show --model tiny --seed 38\n  LOCKSTEP_SWARM_MINERS=5 lockstep config show --json",
	}
	config.AddFlags(cmd.Flags(), config.Flags()...)
	cmd.RunE = a.runs(func(_ context.Context, c config.Config, _ *observe.Terminal) error {
		settings, err := config.Explain(cmd.Flags(), os.Environ(), a.configFile)
		if err != nil {
			return err
		}
		if c.Output.JSON {
			return a.printJSON(settings)
		}
		rows := [][]string{{"setting", "from", "value"}}
		for _, s := range settings {
			value := fmt.Sprint(s.Value)
			if list, ok := s.Value.([]any); ok {
				text, _ := json.Marshal(list) // plain maps always encode
				value = string(text)
			}
			rows = append(rows, []string{s.Key, s.Origin, value})
		}
		for _, line := range observe.Table(rows) {
			fmt.Fprintln(a.stdout, line)
		}
		return nil
	})
	return cmd
}

func (a *app) configCheck() *cobra.Command {
	cmd := &cobra.Command{
		Use: "check", Short: "Check the settings of a network, with the text and the model that they name", Args: cobra.NoArgs,
		Example: "  lockstep config check --config run.yaml\n  lockstep config check --config run.yaml --json\n  lockstep config check --model tiny --data ./fineweb --segment-rows 10",
	}
	a.onRun(cmd, func(c config.Config, b *basis) error {
		admitted, err := seats(c)
		if err != nil {
			return err
		}
		if c.Output.JSON {
			return a.printJSON(b.run)
		}
		r := &b.run
		fmt.Fprintf(a.stdout, "model  %s, %d layers of width %d, vocabulary %d\ntext   %s, %s rows in segments of %d\nepoch  %d seats, %d sequences of %d tokens each\nnodes  %d admitted\nrun    %s\n",
			r.Model.Name, r.Model.Layers, r.Model.Embd, r.Model.Vocab, r.Data.Source, observe.Count(int64(r.Data.Rows)), r.Assignment.SegmentRows,
			r.Assignment.Slots, r.Assignment.Sequences, r.Assignment.SeqLen, len(admitted), r.Fingerprint())
		return nil
	})
	return cmd
}

func (a *app) configFingerprint() *cobra.Command {
	cmd := &cobra.Command{
		Use: "fingerprint", Short: "Print the fingerprint of the network that the settings describe", Args: cobra.NoArgs,
		Example: "  lockstep config fingerprint --config run.yaml\n  lockstep config fingerprint --model tiny --seed 38\n  lockstep config fingerprint --config run.yaml --json",
	}
	a.onRun(cmd, func(c config.Config, b *basis) error {
		if c.Output.JSON {
			return a.printJSON(map[string]any{"fingerprint": b.run.Fingerprint(), "run": b.run})
		}
		_, err := fmt.Fprintln(a.stdout, b.run.Fingerprint())
		return err
	})
	return cmd
}

// onRun gives a command the flags of a network's run, and a body that gets the
// run assembled.
func (a *app) onRun(cmd *cobra.Command, body func(config.Config, *basis) error) {
	config.AddFlags(cmd.Flags(), append(textFlags, "model", "init", "seed", "seq-len", "sequences", "slots", "segments", "segment-rows",
		"lr", "min-lr", "warmup", "decay-steps", "json")...)
	cmd.RunE = a.runs(func(ctx context.Context, c config.Config, t *observe.Terminal) error {
		b, err := assemble(ctx, &c, t, networkSlots, func(c config.Config) int { return c.Protocol.Sequences })
		if err != nil {
			return err
		}
		defer b.close()
		return body(c, b)
	})
}
