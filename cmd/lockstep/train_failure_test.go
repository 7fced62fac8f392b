package main

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"lockstep/config"
	"lockstep/internal/fault"
	"lockstep/observe"
	"lockstep/stream"
	"lockstep/validate"
)

// brokenFrom is a source that fails at a segment's rows.
type brokenFrom struct {
	stream.Source
	segment stream.Segment
}

func (b brokenFrom) Text(ctx context.Context, row uint64) (stream.Row, error) {
	if row-b.segment.First < b.segment.Rows {
		return stream.Row{}, fault.Errorf(fault.Network, "row %d is out of reach", row)
	}
	return b.Source.Text(ctx, row)
}

// failTraining trains until step n, whose text fails, and returns the error.
func failTraining(t *testing.T, n uint64, c config.Config) error {
	t.Helper()
	ctx := t.Context()
	terminal := observe.NewPlainTerminal(&strings.Builder{})
	b, err := assemble(ctx, &c, terminal, func(config.Config) int { return 1 }, func(c config.Config) int { return c.Train.Batch })
	if err != nil {
		t.Fatal(err)
	}
	defer b.close()
	segments, err := validate.Assignment(&b.run).Segments(n, 0)
	if err != nil {
		t.Fatal(err)
	}
	b.source = brokenFrom{b.source, segments[0]}
	tr, err := newTrainer(ctx, c, b, terminal, true)
	if err != nil {
		t.Fatal(err)
	}
	defer tr.close()
	ints := catch(ctx, terminal)
	defer ints.release()
	return tr.run(ints)
}

// TestTrainKeepsWhatItHasDone lets the text of a step fail long before a state
// is due on disk: the steps before it are saved, the error says how to go on,
// and the run that does so begins at that step and ends as an undisturbed one.
func TestTrainKeepsWhatItHasDone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	c := config.Default()
	c.Train.Steps, c.Output.Dir = 5, dir
	err := failTraining(t, 4, c)
	if fault.KindOf(err) != fault.Network {
		t.Fatalf("%v", err)
	}
	for _, word := range []string{"is out of reach", "stopped after step 3 of 5", "--resume --dir " + dir} {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("the error does not say %q: %v", word, err)
		}
	}
	want, got := runTrain(t, "--steps", "5"), runTrain(t, "--dir", dir, "--resume")
	if got.ResumedAt != 3 || got.StateRoot != want.StateRoot {
		t.Errorf("went on after step %d to %s; want 3, %s", got.ResumedAt, got.StateRoot.Short(), want.StateRoot.Short())
	}
}
