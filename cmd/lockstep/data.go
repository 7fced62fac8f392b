package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"lockstep/config"
	"lockstep/internal/merkle"
	"lockstep/model"
	"lockstep/observe"
	"lockstep/stream"
	"lockstep/stream/tokenizer"
)

func (a *app) data() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "data",
		Short:   "Look at text: what there is, a row with its tokens, a check, a fetch for later",
		GroupID: "use",
	}
	cmd.AddCommand(a.dataList(), a.dataShow(), a.dataCheck(), a.dataFetch())
	return cmd
}

// addTokenizer gives a command --model, of which it needs the tokenizer only.
func addTokenizer(cmd *cobra.Command) {
	config.AddFlags(cmd.Flags(), "model")
	cmd.Flags().Lookup("model").Usage = "model whose tokens are shown and counted: a built-in name (nano, tiny, distilgpt2, gpt2)"
}

// tokenizerOf returns the tokenizer of --model: the one that its vocabulary
// calls for.
func tokenizerOf(c config.Config) (tokenizer.Tokenizer, error) {
	if arch, ok := model.Builtin(c.Protocol.Model); ok {
		return tokenizer.ForVocabulary(arch.Vocab)
	}
	return tokenizer.ByName(c.Protocol.Model)
}

// textListing is what `data ls` prints.
type textListing struct {
	Source   string            `json:"source"`
	Identity merkle.Digest     `json:"identity"`
	Rows     uint64            `json:"rows"`
	Size     int64             `json:"size"`
	Files    []stream.FileInfo `json:"files"`
}

func (a *app) dataList() *cobra.Command {
	cmd := &cobra.Command{
		Use: "ls", Short: "List the files of a source, and where their rows are", Args: cobra.NoArgs,
		Example: `  lockstep data ls --data ./fineweb
  lockstep data ls --data hf://datasets/HuggingFaceFW/fineweb@9bb295ddab0e05d785b879661af7260fed5140fc/sample-10BT
  lockstep data ls --data rows://HuggingFaceFW/fineweb/sample-350BT --json`,
	}
	config.AddFlags(cmd.Flags(), append(textFlags, "json")...)
	cmd.RunE = a.runs(func(ctx context.Context, c config.Config, t *observe.Terminal) error {
		source, err := openText(ctx, &c, t)
		if err != nil {
			return err
		}
		defer source.Close()
		l := textListing{Source: source.Name(), Identity: source.Identity(), Rows: source.Rows(), Files: stream.Files(source)}
		for _, f := range l.Files {
			l.Size += f.Size
		}
		if c.Output.JSON {
			return a.printJSON(l)
		}
		a.printText(l)
		return nil
	})
	return cmd
}

func (a *app) printText(l textListing) {
	rows := [][]string{{"file", "first row", "rows", "bytes"}}
	n := func(v int64) string { return observe.Count(v) }
	for _, f := range l.Files {
		rows = append(rows, []string{f.Name, n(int64(f.First)), n(int64(f.Rows)), n(f.Size)})
	}
	rows = append(rows, []string{"total", "", n(int64(l.Rows)), n(l.Size)})
	for _, line := range observe.Table(rows, 1, 2, 3) {
		fmt.Fprintln(a.stdout, line)
	}
	fmt.Fprintf(a.stdout, "source %s, identity %s\n", l.Source, l.Identity)
}
