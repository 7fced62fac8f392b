package main

import (
	"context"
	"errors"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"lockstep/config"
	"lockstep/internal/fault"
	"lockstep/observe"
	"lockstep/optim"
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
	return trainPrepared(t, c, func(tr *trainer, _ *interrupts) {
		segments, err := validate.Assignment(&tr.basis.run).Segments(n, 0)
		if err != nil {
			t.Fatal(err)
		}
		tr.computer, err = validate.NewComputer(&tr.basis.run, brokenFrom{tr.basis.source, segments[0]}, c.Node.MicroBatch)
		if err != nil {
			t.Fatal(err)
		}
	})
}

// trainPrepared trains after prepare, and returns the error.
func trainPrepared(t *testing.T, c config.Config, prepare func(*trainer, *interrupts)) error {
	t.Helper()
	ctx := t.Context()
	terminal := observe.NewPlainTerminal(&strings.Builder{})
	b, err := assemble(ctx, &c, terminal, func(config.Config) int { return 1 }, func(c config.Config) int { return c.Train.Batch })
	if err != nil {
		t.Fatal(err)
	}
	defer b.close()
	tr, err := newTrainer(ctx, c, b, terminal, true)
	if err != nil {
		t.Fatal(err)
	}
	defer tr.close()
	ints := catch(ctx, terminal)
	defer ints.release()
	prepare(tr, ints)
	return tr.run(ints)
}

// TestASecondSignalHidesNoError fails a step half-way just as a second signal
// comes: the error is the step's, and its state is neither hashed nor saved.
func TestASecondSignalHidesNoError(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	c := config.Default()
	c.Train.Steps, c.Output.Dir = 5, dir
	err := trainPrepared(t, c, func(tr *trainer, ints *interrupts) {
		tr.state.M[0] = float32(math.Inf(1))
		tr.computer.Progress = func(done, total int) {
			if done == total {
				ints.cancel()
			}
		}
	})
	var nonFinite *optim.NonFiniteError
	if !errors.As(err, &nonFinite) {
		t.Errorf("%v", err)
	}
	if saved, err := filepath.Glob(filepath.Join(dir, "state", "*")); err != nil || len(saved) > 0 {
		t.Errorf("saved %v, %v", saved, err)
	}
	c.Output.Dir = ""
	if err := trainPrepared(t, c, func(_ *trainer, ints *interrupts) { ints.cancel() }); err != nil {
		t.Errorf("a second signal alone: %v", err)
	}
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
