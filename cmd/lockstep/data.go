package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"lockstep/config"
	"lockstep/model"
	"lockstep/observe"
	"lockstep/stream"
	"lockstep/stream/tokenizer"
)

func (a *app) data() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "data",
		Short:   "Look at text: one row with its tokens, or a check of all rows",
		GroupID: "use",
	}
	cmd.AddCommand(a.dataShow(), a.dataCheck())
	return cmd
}

// tokenizerOf returns the tokenizer of --model: the one that its vocabulary
// calls for.
func tokenizerOf(c config.Config) (tokenizer.Tokenizer, error) {
	if arch, ok := model.Builtin(c.Protocol.Model); ok {
		return tokenizer.ForVocabulary(arch.Vocab)
	}
	return tokenizer.ByName(c.Protocol.Model)
}

func (a *app) dataShow() *cobra.Command {
	var row uint64
	cmd := &cobra.Command{
		Use:   "show",
		Short: "Print one row: text, digest, tokens",
		Args:  cobra.NoArgs,
		Example: `  lockstep data show --row 7
  lockstep data show --data ./fineweb --row 12345 --model distilgpt2
  lockstep data show --data rows.jsonl --row 0 --json`,
	}
	config.AddFlags(cmd.Flags(), "data", "model", "json")
	cmd.Flags().Uint64Var(&row, "row", 0, "row number")
	cmd.RunE = a.runs(func(ctx context.Context, c config.Config, _ *observe.Terminal) error {
		tokens, err := tokenizerOf(c)
		if err != nil {
			return err
		}
		source, err := stream.Open(ctx, c.Protocol.Data)
		if err != nil {
			return err
		}
		defer source.Close()
		shown, err := stream.Show(ctx, source, tokens, row)
		if err != nil {
			return err
		}
		if c.Output.JSON {
			return a.printJSON(shown)
		}
		a.printRow(shown, source, tokens)
		return nil
	})
	return cmd
}

func (a *app) printRow(s *stream.Shown, source stream.Source, tokens tokenizer.Tokenizer) {
	fmt.Fprintf(a.stdout, "row %d of %s, %s row %d\nsha-256 of the row %s\n", s.Row, source.Name(), s.File, s.Number, s.Digest)
	if s.Defect != "" {
		fmt.Fprintf(a.stdout, "counts as empty text: %s\n", s.Defect)
	}
	fmt.Fprintf(a.stdout, "\n%s\n\n%d tokens (%s), then one end of text:\n", s.Text, len(s.Tokens), tokens.Name())
	var b strings.Builder
	for i, id := range s.Tokens {
		fmt.Fprintf(&b, "%d %q  ", id, s.Pieces[i])
		if i%8 == 7 {
			b.WriteByte('\n')
		}
	}
	fmt.Fprintln(a.stdout, strings.TrimRight(b.String(), " \n"))
}

// someRows is how many rows of the built-in text are checked unless more are
// asked for: it is endless for most purposes, and made here.
const someRows = 10_000

func (a *app) dataCheck() *cobra.Command {
	var options stream.CheckOptions
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Read every row, count what it holds, find damage",
		Args:  cobra.NoArgs,
		Example: `  lockstep data check --data ./fineweb --model distilgpt2
  lockstep data check --data rows.jsonl --json
  lockstep data check --rows 1000`,
	}
	config.AddFlags(cmd.Flags(), "data", "model", "json")
	cmd.Flags().Uint64Var(&options.Rows, "rows", 0, "rows of each file at the most (0: all)")
	cmd.RunE = a.runs(func(ctx context.Context, c config.Config, t *observe.Terminal) error {
		tokens, err := tokenizerOf(c)
		if err != nil {
			return err
		}
		if c.Protocol.Data == stream.BuiltinName && options.Rows == 0 {
			options.Rows = someRows
			t.Line("checking the first %s rows of the built-in text; --rows for more", observe.Count(someRows))
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
