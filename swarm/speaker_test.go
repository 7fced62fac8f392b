package swarm

import (
	"fmt"
	"slices"
	"strconv"
	"testing"
)

// TestSlowListener: a listener that hears nothing for a while gets everything in
// order afterwards, but for progress and warnings beyond what may wait.
func TestSlowListener(t *testing.T) {
	gate := make(chan struct{})
	var heard []Event
	s := newSpeaker(func(e Event) {
		<-gate
		heard = append(heard, e)
	})
	const many = 2 * maxUnheard
	var want []uint64
	for i := range uint64(many) {
		s.say(Ended{Epoch: i})
		s.say(Progress{Epoch: i})
		s.say(Warning{fmt.Sprint(i)})
		want = append(want, i)
	}
	close(gate)
	s.close()
	s.say(Ended{})
	var ends []uint64
	counted, progress, warnings := 0, 0, 0
	for _, e := range heard {
		switch e := e.(type) {
		case Ended:
			ends = append(ends, e.Epoch)
		case Progress:
			progress++
		case Warning:
			var n int
			if _, err := strconv.Atoi(e.Text); err == nil {
				warnings++
			} else if _, err := fmt.Sscanf(e.Text, "%d warnings are not shown", &n); err != nil {
				t.Error(e.Text)
			}
			counted += n
		}
	}
	if !slices.Equal(ends, want) {
		t.Errorf("%d of %d events, or not in order", len(ends), len(want))
	}
	if progress > 2*maxProgress || counted == 0 || warnings+counted != many { // some may be taken before the rest is queued
		t.Errorf("%d progress, %d warnings and %d more that were skipped, of %d each", progress, warnings, counted, many)
	}
}

// TestStuckListenerHoldsUpNothing: a miner whose screen is stuck is a member of
// every epoch all the same, and says what happened once it is read again.
func TestStuckListenerHoldsUpNothing(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, 2, 0, 3)
	v := n.validator()
	gate := make(chan struct{})
	miners := []*running{n.miner(0, func(c *MinerConfig) {
		note := c.Emit
		c.Emit = func(e Event) {
			<-gate
			note(e)
		}
	}), n.miner(1)}
	s := n.finish(v)
	close(gate)
	n.ended(s, miners...)
	for _, e := range s.Epochs {
		if e.Members != 2 || e.Attempts != 1 {
			t.Errorf("%+v", e)
		}
	}
	if claims, ends := len(all[ClaimReady](n, name(0))), len(all[Ended](n, name(0))); claims != 3 || ends != 1 {
		t.Errorf("%d claims and %d ends are heard of", claims, ends)
	}
}
