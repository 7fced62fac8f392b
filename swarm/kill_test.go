package swarm

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"lockstep/hub"
	"lockstep/internal/fault"
	"lockstep/reduce"
	"lockstep/reduce/commit"
	"lockstep/stream"
	"lockstep/validate"
)

// cut is a machine that dies at an action: neither that one nor what follows is
// carried out.
type cut struct {
	reduce.Machine
	at   func(reduce.Action) bool // nil: another machine brings the end
	dead func()
	over *atomic.Bool // of all machines of the node
}

func (c *cut) Step(now time.Duration, e reduce.Event) []reduce.Action {
	if c.over.Load() {
		return nil
	}
	actions := c.Machine.Step(now, e)
	for i, a := range actions {
		if c.at != nil && c.at(a) {
			c.over.Store(true)
			c.dead()
			return actions[:i]
		}
	}
	return actions
}

func (c *cut) Next() time.Duration {
	if c.over.Load() {
		return reduce.Never
	}
	return c.Machine.Next()
}

// dyingAt makes a tap that kills a node when its machine reaches an action: no
// machine of the node does anything from then on. The channel is closed; whoever
// reads it has to end the rest of the node.
func dyingAt(machine string, at func(reduce.Action) bool) (tap func(string, reduce.Machine) reduce.Machine, dead chan struct{}) {
	dead = make(chan struct{})
	var once sync.Once
	var over atomic.Bool
	return func(name string, m reduce.Machine) reduce.Machine {
		c := &cut{Machine: m, dead: func() { once.Do(func() { close(dead) }) }, over: &over}
		if name == machine {
			c.at = at
		}
		return c
	}, dead
}

// enters accepts the action that says that epoch 2 reaches a phase.
func enters(p reduce.Phase) func(reduce.Action) bool {
	return func(a reduce.Action) bool {
		e, ok := a.(reduce.Entered)
		return ok && e.Epoch == 2 && e.Phase == p
	}
}

// dyingSave saves until epoch 2, then closes dead, before or after the save.
func dyingSave(after bool) (saver saveState, dead chan struct{}) {
	dead = make(chan struct{})
	var once sync.Once
	return func(ctx context.Context, dir string, s hub.State, keep int) (string, error) {
		if s.Epoch != 2 {
			return hub.SaveState(ctx, dir, s, keep)
		}
		if after {
			if _, err := hub.SaveState(ctx, dir, s, keep); err != nil {
				return "", err
			}
		}
		once.Do(func() { close(dead) })
		return "", context.Canceled // the process is gone
	}, dead
}

// impatient is for runs in which somebody dies: what waits for the dead waits a
// share of this, a twelfth for a lost connection. An honest member has a tenth
// for its commitment, also on a machine that does much else.
func impatient(c *ValidatorConfig) { c.RoundDeadline = 30 * time.Second }

func TestKilledMiner(t *testing.T) {
	applies := func(a reduce.Action) bool {
		e, ok := a.(reduce.Apply)
		return ok && e.Certified.Decision().Epoch == 2
	}
	votes := func(a reduce.Action) bool {
		r, ok := a.(reduce.Append)
		if !ok || r.Record.Kind != reduce.RecordVote {
			return false
		}
		v, err := commit.Open[commit.Vote](r.Record.Envelopes[0])
		return err == nil && v.Doc().Epoch == 2
	}
	tests := []struct {
		name string
		at   func(reduce.Action) bool
	}{
		{"with the roster", enters(reduce.PhaseCommit)},
		{"with the set", enters(reduce.PhaseOpen)},
		{"before its vote", votes},
		{"after its vote", enters(reduce.PhaseVoted)},
		{"with the certificate", enters(reduce.PhaseCommitted)},
		{"before the step", applies},
	}
	for i, tt := range tests {
		if testing.Short() && i%2 == 0 {
			continue
		}
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tap, dead := dyingAt("member", tt.at)
			killMiner(t, func(c *MinerConfig) { c.tap = tap }, dead)
		})
	}
	for name, after := range map[string]bool{"before the save": false, "after the save": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			saver, dead := dyingSave(after)
			killMiner(t, func(c *MinerConfig) { c.saver = saver }, dead)
		})
	}
}

// heldText is a text of which nothing can be read from one moment to another.
type heldText struct {
	stream.Source
	from, to <-chan struct{}
}

func (h heldText) Text(ctx context.Context, row uint64) (stream.Row, error) {
	select {
	case <-h.from:
		select {
		case <-h.to:
		case <-ctx.Done():
			return stream.Row{}, ctx.Err()
		}
	default:
	}
	return h.Source.Text(ctx, row)
}

// killMiner runs three miners, of which one dies in epoch 2 and is started
// again: the others end that epoch with at most one retry, and with the next one
// they wait for it, so that it must end where they end.
func killMiner(t *testing.T, dying func(*MinerConfig), dead <-chan struct{}) {
	n := newNetwork(t, 3, 0, 4)
	v := n.validator(impatient)
	victim := n.miner(1, dying)
	back := make(chan struct{})
	hold := func(c *MinerConfig) { c.Source = heldText{c.Source, dead, back} }
	rest := []*running{n.miner(0, hold), n.miner(2, hold)}
	select {
	case <-dead:
	case <-time.After(patience):
		t.Fatal("nobody died")
	}
	victim.kill()
	_ = victim.wait()
	joined := len(all[Joined](n, name(1)))
	again := n.miner(1)
	if !n.news.waitFor(t.Context(), patience, func() bool { return len(all[Joined](n, name(1))) > joined }) {
		t.Fatal("the miner does not join again")
	}
	close(back)
	s := n.finish(v)
	n.ended(s, rest[0], again, rest[1])
	if e := s.Epochs[1]; e.Members < 2 || e.Attempts > 2 {
		t.Errorf("the epoch of the kill: %+v", e)
	}
	if e := s.Epochs[3]; e.Members != 3 {
		t.Errorf("the last epoch: %+v", e)
	}
}

func TestKilledValidator(t *testing.T) {
	appends := func(kind reduce.RecordKind) func(reduce.Action) bool {
		return func(a reduce.Action) bool {
			r, ok := a.(reduce.Append)
			if !ok || r.Record.Kind != kind {
				return false
			}
			switch kind {
			case reduce.RecordRoster:
				d, err := commit.Open[commit.Roster](r.Record.Envelopes[0])
				return err == nil && d.Doc().Epoch == 2
			case reduce.RecordCertificate:
				d, err := commit.Open[commit.Decision](r.Record.Envelopes[0])
				return err == nil && d.Doc().Epoch == 2
			}
			return false
		}
	}
	concludes := func(a reduce.Action) bool {
		c, ok := a.(reduce.Concluded)
		return ok && c.Certified.Decision().Epoch == 2
	}
	applies := func(a reduce.Action) bool {
		e, ok := a.(reduce.Apply)
		return ok && e.Certified.Decision().Epoch == 2
	}
	tests := []struct {
		name, machine string
		at            func(reduce.Action) bool
	}{
		{"before the roster is journalled", "leader", appends(reduce.RecordRoster)},
		{"after the roster", "leader", enters(reduce.PhaseCommit)},
		{"after the set", "leader", enters(reduce.PhaseOpen)},
		{"between votes and decision", "leader", appends(reduce.RecordCertificate)},
		{"after the decision", "leader", concludes},
		{"before the step", "observer", applies},
	}
	for i, tt := range tests {
		if testing.Short() && i%2 == 0 {
			continue
		}
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tap, dead := dyingAt(tt.machine, tt.at)
			killValidator(t, func(c *ValidatorConfig) { c.tap = tap }, dead)
		})
	}
	for name, after := range map[string]bool{"before the save": false, "after the save": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			saver, dead := dyingSave(after)
			killValidator(t, func(c *ValidatorConfig) { c.saver = saver }, dead)
		})
	}
}

// killValidator kills the validator in epoch 2 and starts it again: the run
// ends with the roots of one that was left alone.
func killValidator(t *testing.T, dying func(*ValidatorConfig), dead <-chan struct{}) {
	n := newNetwork(t, 2, 0, 3)
	v := n.validator(impatient, dying)
	miners := n.miners()
	select {
	case <-dead:
	case <-time.After(patience):
		t.Fatal("nobody died")
	}
	v.kill()
	_ = v.wait()
	s := n.finish(n.validator(impatient))
	n.ended(s, miners...)
	undisturbed.once.Do(func() {
		u := newNetwork(t, 2, 0, 3)
		w := u.validator()
		u.miners()
		undisturbed.roots = roots(u.finish(w))
	})
	for epoch := uint64(1); epoch <= n.epochs; epoch++ {
		n.documented(epoch)
	}
	for i, want := range undisturbed.roots {
		if got := roots(s)[i]; got != want {
			t.Errorf("epoch %d: root %s, undisturbed %s", i+1, got, want)
		}
	}
	for _, m := range s.Miners {
		if m.Gradient != "exact" || m.Steps != validate.Million {
			t.Errorf("%+v", m)
		}
	}
}

// documented checks that the docket of an epoch holds what its COMMIT rests on,
// and an audit of every owner's part.
func (n *network) documented(epoch uint64) {
	n.t.Helper()
	d, err := loadDocket(n.folder("validator").Dockets(), epoch)
	if err != nil {
		n.t.Fatal(err)
	}
	a, err := d.committed(commit.Solo(n.at.Peer))
	if err != nil || a == nil {
		n.t.Errorf("epoch %d: the committed attempt is not in the docket (%v)", epoch, err)
		return
	}
	r := a.Roster.Doc()
	if len(a.Votes) < r.Quorum() || len(a.Commitments) != len(r.Members) || a.Set.IsZero() || len(a.Receipts) == 0 {
		n.t.Errorf("epoch %d: %d votes, %d commitments, %d receipts", epoch, len(a.Votes), len(a.Commitments), len(a.Receipts))
	}
	if len(d.Audits) == 0 {
		n.t.Errorf("epoch %d was not audited", epoch)
	}
	for _, audit := range d.Audits {
		if !audit.Equal {
			n.t.Errorf("epoch %d: %+v", epoch, audit)
		}
	}
}

// undisturbed are the roots that killValidator expects.
var undisturbed struct {
	once  sync.Once
	roots []string
}

func TestFullDiskLosesNothing(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, 2, 0, 4)
	v := n.validator()
	full := func(ctx context.Context, dir string, s hub.State, keep int) (string, error) {
		if s.Epoch == 2 {
			return "", &hub.SpaceError{Path: dir, Need: 1}
		}
		return hub.SaveState(ctx, dir, s, keep)
	}
	victim := n.miner(1, func(c *MinerConfig) { c.saver = full })
	other := n.miner(0)
	if err := victim.wait(); fault.KindOf(err) != fault.Environment {
		t.Errorf("a full disk gives %v (%v)", err, fault.KindOf(err))
	}
	again := n.miner(1)
	s := n.finish(v)
	n.ended(s, other, again)
}
