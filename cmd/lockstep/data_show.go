package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"lockstep/config"
	"lockstep/internal/fault"
	"lockstep/observe"
	"lockstep/stream"
	"lockstep/stream/tokenizer"
)

func (a *app) dataShow() *cobra.Command {
	var row uint64
	var seat seatOfText
	cmd := &cobra.Command{
		Use:   "show",
		Short: "Print one row: text, digest, tokens; or the rows of a segment",
		Args:  cobra.NoArgs,
		Example: `  lockstep data show --row 7
  lockstep data show --data ./fineweb --row 12345 --model distilgpt2
  lockstep data show --epoch 3 --uid 1 --k 0 --seed 38 --slots 8
  lockstep data show --data rows.jsonl --row 0 --json`,
	}
	config.AddFlags(cmd.Flags(), append(textFlags, "seed", "slots", "segments", "segment-rows", "json")...)
	addTokenizer(cmd)
	cmd.Flags().Uint64Var(&row, "row", 0, "row number")
	cmd.Flags().Uint64Var(&seat.epoch, "epoch", 0, "show the segment of this epoch instead, from 1")
	cmd.Flags().Uint32Var(&seat.uid, "uid", 0, "of this miner")
	cmd.Flags().Uint32Var(&seat.k, "k", 0, "its segment number k, from 0")
	cmd.MarkFlagsMutuallyExclusive("row", "epoch")
	cmd.RunE = a.runs(func(ctx context.Context, c config.Config, t *observe.Terminal) error {
		tokens, err := tokenizerOf(c)
		if err != nil {
			return err
		}
		source, err := openText(ctx, &c, t)
		if err != nil {
			return err
		}
		defer source.Close()
		if seat.epoch > 0 {
			return a.showSegment(ctx, c, source, tokens, seat)
		}
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

// seatOfText says whose segment is meant.
type seatOfText struct {
	epoch  uint64
	uid, k uint32
}

// assignmentOf is how a run with these settings deals the rows of a source.
func assignmentOf(c config.Config, source stream.Source) stream.Assignment {
	return stream.Assignment{
		Seed: c.Protocol.Seed, Slots: uint32(networkSlots(c)), SegmentsPerMiner: uint32(c.Protocol.Segments),
		SegmentRows: uint32(c.Protocol.SegmentRows), Rows: source.Rows(),
	}
}

// segmentShown is what `data show --epoch` prints as JSON.
type segmentShown struct {
	Segment uint64          `json:"segment"` // in the order of dealing
	Pass    uint64          `json:"pass"`
	First   uint64          `json:"first_row"`
	Rows    []*stream.Shown `json:"rows"`
}

func (a *app) showSegment(ctx context.Context, c config.Config, source stream.Source, tokens tokenizer.Tokenizer, seat seatOfText) error {
	segments, err := assignmentOf(c, source).Segments(seat.epoch, seat.uid)
	if err != nil {
		return err
	}
	if int(seat.k) >= len(segments) {
		return fault.Errorf(fault.Config, "--k %d: a miner has the segments 0 to %d; --segments for more", seat.k, len(segments)-1)
	}
	s := segments[seat.k]
	stream.Ahead(source, segments[seat.k:seat.k+1])
	out := segmentShown{Segment: s.Number, Pass: s.Pass, First: s.First}
	for row := s.First; row < s.First+s.Rows; row++ {
		shown, err := stream.Show(ctx, source, tokens, row)
		if err != nil {
			return err
		}
		out.Rows = append(out.Rows, shown)
	}
	if c.Output.JSON {
		return a.printJSON(out)
	}
	fmt.Fprintf(a.stdout, "segment %d of pass %d, for miner %d in epoch %d: rows %d to %d of %s\n",
		s.Number, s.Pass, seat.uid, seat.epoch, s.First, s.First+s.Rows-1, source.Name())
	lines := [][]string{{"row", "tokens", "digest", "file", "row in it", "text"}}
	for _, r := range out.Rows {
		lines = append(lines, []string{
			fmt.Sprint(r.Row), fmt.Sprint(len(r.Tokens)), r.Digest.Short(), r.File, fmt.Sprint(r.Number), fmt.Sprintf("%.50q", r.Text),
		})
	}
	for _, line := range observe.Table(lines, 0, 1, 4) {
		fmt.Fprintln(a.stdout, line)
	}
	return nil
}
