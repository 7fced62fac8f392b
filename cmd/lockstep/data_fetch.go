package main

import (
	"context"
	"fmt"
	"math"

	"github.com/spf13/cobra"

	"lockstep/config"
	"lockstep/internal/fault"
	"lockstep/observe"
	"lockstep/stream"
)

// fetched is what `data fetch` prints.
type fetched struct {
	Source   string `json:"source"`
	Segments int    `json:"segments"`
	Rows     uint64 `json:"rows"`
	Chunks   int    `json:"chunks"`
	Bytes    int64  `json:"bytes"`
}

func (a *app) dataFetch() *cobra.Command {
	var from, epochs uint64
	var uid int
	cmd := &cobra.Command{
		Use:   "fetch",
		Short: "Bring the rows of coming epochs into the cache",
		Long: `Bring the rows that miners owe in the next epochs into the cache, for a run with
these settings. The command may be interrupted and started again, by several at
once; HF_HUB_OFFLINE=1 then trains from the cache alone. It fails if the cache does
not hold all of it in the end.`,
		Args: cobra.NoArgs,
		Example: `  lockstep data fetch --data hf://datasets/HuggingFaceFW/fineweb/sample-350BT --epochs 100 --uid 3
  lockstep data fetch --data rows://HuggingFaceFW/fineweb/sample-10BT --epochs 2 --slots 4`,
	}
	config.AddFlags(cmd.Flags(), append(textFlags, "seed", "slots", "segments", "segment-rows", "json")...)
	cmd.Flags().Uint64Var(&from, "from", 1, "first epoch")
	cmd.Flags().Uint64Var(&epochs, "epochs", 1, "number of epochs")
	cmd.Flags().IntVar(&uid, "uid", -1, "the miner whose rows are fetched (-1: all)")
	cmd.RunE = a.runs(func(ctx context.Context, c config.Config, t *observe.Terminal) error {
		ints := catch(ctx, t)
		defer ints.release()
		ints.stopAtOnce() // what is fetched stays in the cache
		source, err := openText(ints.Context, &c, t)
		if err != nil {
			return ints.outcome(err, "nothing was fetched")
		}
		defer source.Close()
		segments, err := segmentsOf(assignmentOf(c, source), from, epochs, uid)
		if err != nil {
			return err
		}
		out := fetched{Source: source.Name(), Segments: len(segments)}
		for _, s := range segments {
			out.Rows += s.Rows
		}
		err = stream.Prefill(ints.Context, source, segments, func(f stream.Fetched) {
			out.Chunks, out.Bytes = f.Chunks, f.Bytes
			t.Progress(float64(f.Chunks)/float64(f.AllChunks), fmt.Sprintf("%d of %d", f.Chunks, f.AllChunks), observe.Count(f.Bytes)+" bytes")
		})
		t.Status("")
		if err != nil {
			return ints.outcome(err, "what was fetched is in the cache")
		}
		if c.Output.JSON {
			return a.printJSON(out)
		}
		fmt.Fprintf(a.stdout, "%d segments with %s rows of %s: %d pieces with %s bytes\n",
			out.Segments, observe.Count(int64(out.Rows)), out.Source, out.Chunks, observe.Count(out.Bytes))
		return nil
	})
	return cmd
}

// maxFetch is the most segments of one command.
const maxFetch = 1 << 20

// segmentsOf lists the segments of a miner, or of all if uid is -1, in epochs.
func segmentsOf(a stream.Assignment, from, epochs uint64, uid int) ([]stream.Segment, error) {
	first, last := uint32(0), a.Slots
	switch {
	case uid < -1 || uid >= int(a.Slots):
		return nil, fault.Errorf(fault.Config, "--uid %d: the miners of %d --slots are 0 to %d, and -1 is all of them", uid, a.Slots, a.Slots-1)
	case epochs == 0 || from == 0 || from > math.MaxUint64-epochs:
		return nil, fault.Errorf(fault.Config, "--from %d --epochs %d: at least one epoch is wanted, from 1 up to 2^64 - 2", from, epochs)
	case uid >= 0:
		first, last = uint32(uid), uint32(uid)+1
	}
	if n := uint64(last-first) * uint64(a.SegmentsPerMiner); epochs > maxFetch/max(n, 1) {
		return nil, fault.Errorf(fault.Config, "--epochs %d: one command fetches %d segments at the most", epochs, maxFetch)
	}
	var all []stream.Segment
	for epoch := from; epoch < from+epochs; epoch++ {
		for u := first; u < last; u++ {
			segments, err := a.Segments(epoch, u)
			if err != nil {
				return nil, err
			}
			all = append(all, segments...)
		}
	}
	return all, nil
}
