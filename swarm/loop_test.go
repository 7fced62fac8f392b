package swarm

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"lockstep/internal/spec"
	"lockstep/stream"
	"lockstep/validate"
)

// roots returns the state roots of a summary, in the order of the epochs.
func roots(s Summary) (out []string) {
	for _, e := range s.Epochs {
		out = append(out, e.StateRoot.String())
	}
	return out
}

// finish waits for the validator and checks what every good run has: all
// epochs, tagged, in which all nodes agree, and a sound ledger.
func (n *network) finish(v *running) Summary {
	n.t.Helper()
	if err := v.wait(); err != nil {
		n.t.Fatal(err)
	}
	if uint64(len(v.summary.Epochs)) != n.epochs {
		n.t.Fatalf("%d epochs of %d", len(v.summary.Epochs), n.epochs)
	}
	for i, e := range v.summary.Epochs {
		if e.Epoch != uint64(i+1) || !e.NodesAgree || e.Tag == "" {
			n.t.Errorf("%+v", e)
		}
	}
	dir := n.folder("validator").Ledger()
	if r, err := validate.CheckLedger(dir); err != nil || r.Epoch != n.epochs || r.Torn != nil {
		n.t.Errorf("ledger: %+v, %v", r, err)
	}
	return v.summary
}

// ended waits for miners and checks that they end in the run's last state.
func (n *network) ended(s Summary, miners ...*running) {
	n.t.Helper()
	for i, m := range miners {
		if err := m.wait(); err != nil {
			n.t.Errorf("miner %d: %v", i, err)
		}
	}
	last := s.Epochs[len(s.Epochs)-1]
	for i := range miners {
		for _, e := range all[Ended](n, name(i)) {
			if e.Root != last.StateRoot || e.Epoch != last.Epoch {
				n.t.Errorf("miner %d ends at epoch %d with %s, the run at %d with %s", i, e.Epoch, e.Root.Short(), last.Epoch, last.StateRoot.Short())
			}
		}
	}
}

func TestThreeMiners(t *testing.T) {
	t.Parallel()
	var before []string
	for range 2 { // the same seed gives the same roots, whatever the timing
		n := newNetwork(t, 3, 0, 3)
		v := n.validator()
		miners := n.miners()
		s := n.finish(v)
		n.ended(s, miners...)
		for _, e := range s.Epochs {
			if e.Members != 3 || e.Attempts != 1 {
				t.Errorf("%+v", e)
			}
		}
		for _, m := range s.Miners {
			if m.Gradient != "exact" || m.Kind != "" || m.Score == 0 || m.Steps != validate.Million {
				t.Errorf("%+v", m)
			}
		}
		if got := roots(s); before != nil && !slices.Equal(got, before) {
			t.Errorf("roots %v, before %v", got, before)
		} else {
			before = got
		}
	}
}

func TestCheatersAreNamedAndLeaveNoTrace(t *testing.T) {
	t.Parallel()
	honest := newNetwork(t, 2, 0, 2)
	v := honest.validator()
	honest.miners()
	want := roots(honest.finish(v))

	n := newNetwork(t, 6, 4, 2)
	v = n.validator()
	miners := n.miners()
	s := n.finish(v)
	n.ended(s, miners...)
	if got := roots(s); !slices.Equal(got, want) {
		t.Errorf("with cheaters %v, without %v", got, want)
	}
	for i, m := range s.Miners {
		kind := n.cheats[i].String()
		switch {
		case i < 2 && (m.Kind != "" || m.Gradient != "exact" || m.Weight == 0):
			t.Errorf("honest: %+v", m)
		case i >= 2 && (m.Kind != kind || m.Gradient != "mismatch" || m.Score != 0 || m.Weight != 0):
			t.Errorf("%s: %+v", kind, m)
		}
		e, err := validate.ReadEvidence(m.Evidence)
		if err != nil || e.Verdict.UID != m.UID || e.Verdict.Kind() != m.Kind {
			t.Errorf("evidence of uid %d: %v", m.UID, err)
		}
	}
	for epoch := uint64(1); epoch <= 2; epoch++ { // judged again in every epoch
		judged := map[uint32]string{}
		for _, j := range all[Judged](n, "validator") {
			if j.Epoch == epoch {
				judged[j.UID] = j.Kind
			}
		}
		for i, c := range n.cheats {
			if c != Honest && judged[uint32(i)] != c.String() {
				t.Errorf("epoch %d: uid %d is found guilty of %q", epoch, i, judged[uint32(i)])
			}
		}
	}
}

func TestLateJoinerCatchesUp(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, 3, 0, 4)
	v := n.validator(func(c *ValidatorConfig) { c.Expect = 2 })
	miners := []*running{n.miner(0), n.miner(1)}
	n.await("validator", func(e Event) bool { c, ok := e.(Committed); return ok && c.Epoch == 2 })
	late := n.miner(2)
	s := n.finish(v)
	n.ended(s, append(miners, late)...)
	if len(all[CaughtUp](n, "miner-2")) == 0 {
		t.Error("the late joiner did not catch up")
	}
	if last := s.Epochs[len(s.Epochs)-1]; last.Members != 3 {
		t.Errorf("the late joiner is not among the members: %+v", last)
	}
}

// TestLeaverStaysAway lets a miner leave before the claims are judged: it does
// not take the news that it is gone for a reason to join again.
func TestLeaverStaysAway(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, 2, 0, 9)
	stop, end := make(chan struct{}), make(chan struct{})
	v := n.validator(func(c *ValidatorConfig) { c.Stop = end })
	n.miner(0)
	leaver := n.miner(1, func(c *MinerConfig) { c.Stop = stop })
	n.await(name(1), func(e Event) bool { p, ok := e.(Progress); return ok && p.Epoch == 2 && p.Phase == "computing" })
	close(stop)
	if err := leaver.wait(); err != nil {
		t.Error(err)
	}
	n.await("validator", func(e Event) bool { s, ok := e.(Settled); return ok && s.Epoch == 3 })
	close(end)
	if err := v.wait(); err != nil {
		t.Error(err)
	}
	joins := 0
	for _, j := range all[Joined](n, "validator") {
		if j.UID == 1 {
			joins++
		}
	}
	if joins != 1 {
		t.Errorf("the miner that left joined %d times", joins)
	}
}

func TestPoliteLeave(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, 3, 0, 4)
	v := n.validator()
	stop := make(chan struct{})
	leaver := n.miner(1, func(c *MinerConfig) { c.Stop = stop })
	rest := []*running{n.miner(0), n.miner(2)}
	n.await("validator", func(e Event) bool { r, ok := e.(RoundStarted); return ok && r.Epoch == 2 })
	close(stop)
	if err := leaver.wait(); err != nil {
		t.Error(err)
	}
	s := n.finish(v)
	for _, m := range rest {
		if err := m.wait(); err != nil {
			t.Error(err)
		}
	}
	if first, last := s.Epochs[0], s.Epochs[3]; first.Members != 3 || last.Members != 2 || last.Attempts != 1 {
		t.Errorf("%+v ... %+v", first, last)
	}
}

// TestStoppedValidatorFinishesItsEpoch stops a validator between two claims: the
// epoch is averaged, settled and tagged before it leaves.
func TestStoppedValidatorFinishesItsEpoch(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, 2, 0, 9)
	stop := make(chan struct{})
	v := n.validator(func(c *ValidatorConfig) {
		var once sync.Once
		emit := c.Emit
		c.Stop, c.Emit = stop, func(e Event) {
			emit(e)
			if j, ok := e.(Judged); ok && j.Epoch == 2 {
				once.Do(func() { close(stop) })
			}
		}
	})
	n.miners()
	if err := v.wait(); err != nil {
		t.Fatal(err)
	}
	if s := v.summary; len(s.Epochs) != 2 || s.Epochs[1].Members != 2 || s.Epochs[1].Tag != "2" {
		t.Errorf("stopped in epoch 2, it leaves with %+v", s.Epochs)
	}
}

// TestStoppedValidatorLeavesAlone stops a validator whose miners have gone.
func TestStoppedValidatorLeavesAlone(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, 1, 0, 9)
	stop := make(chan struct{})
	v := n.validator(func(c *ValidatorConfig) { c.Stop = stop })
	m := n.miner(0)
	n.await("validator", func(e Event) bool { s, ok := e.(Settled); return ok && s.Epoch == 1 })
	m.kill()
	n.await("validator", func(e Event) bool { _, ok := e.(Left); return ok })
	close(stop)
	if err := v.wait(); err != nil {
		t.Error(err)
	}
}

func TestSlowAndSmallMinersRankLower(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, 3, 0, 2, func(r *spec.Run) {
		r.Assignment.Quotas = []spec.Quota{{UID: 2, Sequences: 2}}
	})
	v := n.validator()
	n.miner(0)
	n.miner(1, func(c *MinerConfig) { c.Throttle = 200 << 10 })
	n.miner(2)
	s := n.finish(v)
	m := s.Miners
	if m[1].Bandwidth >= m[0].Bandwidth || m[1].Score >= m[0].Score || m[1].Weight >= m[0].Weight {
		t.Errorf("throttled %+v, free %+v", m[1], m[0])
	}
	if m[2].Steps != validate.Million/2 || m[0].Steps != validate.Million {
		t.Errorf("half a quota %+v, a whole one %+v", m[2], m[0])
	}
}

// stuck is a text that cannot be read in time.
type stuck struct{ stream.Source }

func (stuck) Text(ctx context.Context, _ uint64) (stream.Row, error) {
	<-ctx.Done()
	return stream.Row{}, ctx.Err()
}

func TestAMinerThatNeverClaimsCostsOneDeadline(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, 3, 0, 4)
	v := n.validator(func(c *ValidatorConfig) { c.ClaimDeadline = 20 * time.Second })
	n.miner(0)
	n.miner(1, func(c *MinerConfig) { c.Source = stuck{c.Source} })
	n.miner(2)
	s := n.finish(v)
	if m := s.Miners[1]; m.Gradient != "none" || m.Weight != 0 || s.Miners[0].Gradient != "exact" {
		t.Errorf("%+v", s.Miners)
	}
	for _, e := range s.Epochs {
		if e.Members != 2 {
			t.Errorf("%+v", e)
		}
	}
	var absent []uint64 // epochs that waited for it until the deadline
	for _, j := range all[Judged](n, "validator") {
		if j.UID == 1 {
			absent = append(absent, j.Epoch)
		}
	}
	if !slices.Equal(absent, []uint64{1}) {
		t.Errorf("uid 1 is judged in epochs %v", absent)
	}
}
