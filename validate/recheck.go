package validate

import (
	"context"
	"fmt"
	"slices"

	"lockstep/internal/fault"
	"lockstep/internal/merkle"
	"lockstep/model"
	"lockstep/stream"
)

// recomputed repeats the stages of a claim and holds both claim and verdict
// against them.
func (c *checking) recomputed(ctx context.Context, claimed Facts, parameters *model.Parameters) error {
	source, err := c.Source(ctx, c.e.Run)
	if err != nil {
		return fmt.Errorf("text: %w", err)
	}
	defer source.Close()
	computer, err := NewComputer(c.e.Run, source, c.MicroBatch)
	if err != nil {
		return fault.Wrap(fault.Undecided, err)
	}
	computer.Progress = c.Progress
	v := c.e.Verdict
	w, stage, text, err := computer.recompute(ctx, v.Epoch, v.UID, claimed, parameters)
	if err != nil {
		return err
	}
	c.stages(stage, text, w)
	if stage == StageRows && stream.RowsDigest(c.e.Rows) == claimed.Rows {
		return undecided("miner and validator read the same rows and the text at hand is another: %s", firstRow(c.e.Rows, w.Text.Rows))
	}
	if stage != 0 {
		found := Verdict{Outcome: Mismatch, Stage: stage}
		if gradientDiffers(stage, claimed, w.Facts) {
			found.Stage = StageGradient
		}
		c.blameMiner(found.Kind(), text)
	}
	c.rows(w.Text.Rows)
	c.leaf(computer.Layout(), stage, claimed, w)
	c.outcome(stage, claimed, w.Facts)
	return nil
}

// stages writes a line for each stage up to the first that differs.
func (c *checking) stages(differs Stage, text string, w *Work) {
	f := w.Facts
	lines := []struct {
		stage Stage
		text  string
	}{
		{StageSegments, fmt.Sprintf("%d, %s", len(f.Segments), some(f.Segments))},
		{StageCount, fmt.Sprintf("%d sequences, %d tokens", f.Sequences, f.Tokens)},
		{StageRows, fmt.Sprintf("%d, digest %s", len(w.Text.Rows), f.Rows.Short())},
		{StageTokens, "digest " + f.TokenIDs.Short()},
		{StageLoss, fmt.Sprintf("%v per token", f.Loss()/float64(f.Tokens))},
		{StageGradient, "root " + f.Gradient.Short()},
	}
	for _, l := range lines {
		if l.stage == differs {
			c.line(l.stage.String(), Differs, "%s", text)
			return
		}
		c.line(l.stage.String(), Equal, "%s", l.text)
	}
}

// rows compares the rows that the validator read with ours.
func (c *checking) rows(ours []stream.RowRef) {
	if c.e.Rows != nil && !slices.Equal(c.e.Rows, ours) {
		c.blameValidator("it read other rows: %s", firstRow(c.e.Rows, ours))
	}
}

// firstRow tells where two lists of rows part.
func firstRow(theirs, ours []stream.RowRef) string {
	for i := range min(len(theirs), len(ours)) {
		if theirs[i] != ours[i] {
			return fmt.Sprintf("number %d is source row %d with digest %s, here it is row %d with %s", i,
				theirs[i].Row, theirs[i].Digest.Short(), ours[i].Row, ours[i].Digest.Short())
		}
	}
	return fmt.Sprintf("there are %d, here %d", len(theirs), len(ours))
}

// leaf checks the opened leaf and what the verdict says of it.
func (c *checking) leaf(layout *model.Layout, stage Stage, claimed Facts, w *Work) {
	leaf, v := c.e.Leaf, c.e.Verdict
	if leaf == nil {
		return
	}
	switch {
	case !gradientDiffers(stage, claimed, w.Facts):
		c.blameValidator("it opened leaf %d of a gradient that is right", leaf.Index)
		return
	case !leaf.under(claimed.Gradient, layout.Grid(merkle.KindGradient)):
		c.blameValidator("leaf %d is not under the claimed root", leaf.Index)
		return
	}
	d, text := leaf.difference(layout, w.Gradient)
	switch {
	case text == "":
		c.blameValidator("leaf %d of the claimed gradient is right", leaf.Index)
	case d != v.Differs:
		c.blameValidator("the first difference in leaf %d is %s", leaf.Index, text)
	default:
		c.line("leaf", Differs, "%s", text)
		c.wrong = text
	}
}

// outcome compares the verdict with what it should say.
func (c *checking) outcome(stage Stage, claimed, found Facts) {
	v := c.e.Verdict
	hidden := gradientDiffers(stage, claimed, found) // what Withheld is about
	right := map[Outcome]bool{
		Exact:    stage == 0,
		Mismatch: stage != 0 && v.Stage == stage,
		Withheld: hidden,
	}[v.Outcome]
	switch {
	case !right:
		c.blameValidator("it says %s %s", v.Outcome, v.Stage)
	case !sameFacts(v.Found, found):
		c.blameValidator("it states other facts than a recomputation gives")
	case v.Outcome == Withheld:
		c.line("withheld", Unchecked, "that the miner did not show its gradient is the validator's word")
	}
}

// sameFacts reports whether two computations found the same.
func sameFacts(a, b Facts) bool {
	text, _ := compareText(a, b)
	rest, _ := compareModel(a, b)
	return text == 0 && rest == 0
}
