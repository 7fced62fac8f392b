package validate

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"

	"lockstep/internal/fault"
	"lockstep/validate/ledger"
)

// CheckLedger reads a whole ledger: its chain, the signature of every document,
// that each view says what its document says, that members whose gradients are
// averaged opened what they had committed to, and that all scores and weights
// follow from the measures beside them. What does not is fault.Damaged.
func CheckLedger(dir string) (ledger.Report, error) {
	var c ledgerChecker
	return ledger.Walk(dir, c.entry)
}

// ledgerChecker carries the scores from epoch to epoch.
type ledgerChecker struct {
	attempt  attemptChecker
	measures []Measure
	verdicts []*Evidence
	scores   []Score
}

func (c *ledgerChecker) entry(e ledger.Entry) error {
	switch e.Kind {
	case entryRun, entryState, entryNonce, entryMeasures, entryScores, entryWeights:
		if e.Signed != nil {
			return damagedEntry(e, "nobody signs one")
		}
		return c.plain(e)
	}
	doc, err := openEntry(e.Kind, e.Signed)
	if err != nil {
		return damagedEntry(e, "%w", err)
	}
	if v, ok := doc.(*Verdict); ok {
		c.verdicts = append(c.verdictsOf(e.Epoch), &Evidence{Verdict: v})
	}
	if doc == nil {
		return nil
	}
	if err := c.attempt.entry(e, doc); err != nil {
		return err
	}
	return checkView(e, doc)
}

// plain checks an entry that is its view.
func (c *ledgerChecker) plain(e ledger.Entry) error {
	switch e.Kind {
	case entryMeasures:
		c.measures = nil
		return readView(e, &c.measures)
	case entryScores:
		return c.checkScores(e)
	case entryWeights:
		return checkView(e, WeightsOf(e.Epoch, c.scores, c.verdictsOf(e.Epoch)))
	case entryState:
		var s StateView
		if err := readView(e, &s); err != nil {
			return err
		}
		s.Root = s.Header.Root()
		return checkView(e, s)
	}
	return nil
}

// verdictsOf returns the verdicts read so far of an epoch.
func (c *ledgerChecker) verdictsOf(epoch uint64) []*Evidence {
	if len(c.verdicts) > 0 && c.verdicts[0].Verdict.Epoch != epoch {
		return nil
	}
	return c.verdicts
}

func (c *ledgerChecker) checkScores(e ledger.Entry) error {
	want, err := ScoreEpoch(c.measures, c.scores)
	if err != nil {
		return damagedEntry(e, "%w", err)
	}
	var got []Score
	if err := readView(e, &got); err != nil {
		return err
	}
	if !slices.Equal(got, want) {
		return damagedEntry(e, "the scores do not follow from the measures")
	}
	c.scores = got
	return nil
}

// checkView compares an entry's view with the one that v has.
func checkView(e ledger.Entry, v any) error {
	want, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("ledger: %w", err)
	}
	if !bytes.Equal(want, e.View) {
		return damagedEntry(e, "the view is not what the entry stands for")
	}
	return nil
}

func readView(e ledger.Entry, v any) error {
	if err := json.Unmarshal(e.View, v); err != nil {
		return damagedEntry(e, "%w", err)
	}
	return nil
}

func damagedEntry(e ledger.Entry, format string, args ...any) error {
	err := fmt.Errorf(format, args...)
	return fault.Errorf(fault.Damaged, "ledger: %s of epoch %d: %w", e.Kind, e.Epoch, err)
}
