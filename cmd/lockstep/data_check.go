package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"lockstep/config"
	"lockstep/observe"
	"lockstep/stream"
)

// someRows is how many rows of the built-in text are checked unless more are
// asked for: it is endless for most purposes, and made here.
const someRows = 10_000

func (a *app) dataCheck() *cobra.Command {
	var options stream.CheckOptions
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Read rows, count what they hold, find damage",
		Args:  cobra.NoArgs,
		Long: `Read every row of text on this machine, of the built-in text the first ones,
of text elsewhere some that are spread evenly; count what they hold, and find
damage. --rows says how many.`,
		Example: `  lockstep data check --data ./fineweb --model distilgpt2
  lockstep data check --data rows.jsonl --json
  lockstep data check --data hf://datasets/HuggingFaceFW/fineweb/sample-350BT --rows 100`,
	}
	config.AddFlags(cmd.Flags(), append(textFlags, "json")...)
	addTokenizer(cmd)
	cmd.Flags().Uint64Var(&options.Rows, "rows", 0, "rows of each file at the most, of text elsewhere in all (0: all, or a sample)")
	cmd.RunE = a.runs(func(ctx context.Context, c config.Config, t *observe.Terminal) error {
		tokens, err := tokenizerOf(c)
		if err != nil {
			return err
		}
		if c.Protocol.Data == stream.BuiltinName && options.Rows == 0 {
			options.Rows = someRows
			t.Line("checking the first %s rows of the built-in text; --rows for more", observe.Count(someRows))
		}
		if options.Remote, err = remoteText(c, t); err != nil {
			return err
		}
		if isRemote(c.Protocol.Data) && options.Rows == 0 {
			t.Line("checking rows here and there; --rows for more")
		}
		ints := catch(ctx, t)
		defer ints.release()
		ints.stopAtOnce() // reading leaves nothing half-done
		done := int64(0)
		options.Progress = func(file string, n int) {
			done += int64(n)
			t.Status("%s rows, %s", observe.Count(done), file)
		}
		report, err := stream.Check(ints.Context, c.Protocol.Data, tokens, options)
		t.Status("")
		if err != nil {
			return ints.outcome(err, "nothing was changed")
		}
		if c.Output.JSON {
			err = a.printJSON(report)
		} else {
			a.printReport(report)
		}
		if err != nil {
			return err
		}
		return report.Err()
	})
	return cmd
}

func (a *app) printReport(r *stream.Report) {
	rows := [][]string{{"file", "rows", "empty", "null", "not UTF-8", "unreadable", "bytes", "tokens"}}
	line := func(name string, c stream.Counts) {
		n := func(v uint64) string { return observe.Count(int64(v)) }
		rows = append(rows, []string{name, n(c.Rows), n(c.Empty), n(c.Null), n(c.NotUTF8), n(c.Unreadable), n(c.Bytes), n(c.Tokens)})
	}
	for _, f := range r.Files {
		line(f.Name, f.Counts)
	}
	line("total", r.Total)
	for _, l := range observe.Table(rows, 1, 2, 3, 4, 5, 6, 7) {
		fmt.Fprintln(a.stdout, l)
	}
	fmt.Fprintf(a.stdout, "source %s, identity %s\n", r.Source, r.Identity)
	for _, f := range r.Files {
		if f.Damage != "" {
			fmt.Fprintf(a.stdout, "damaged: %s\n", f.Damage)
		}
	}
}
