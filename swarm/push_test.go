package swarm

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"lockstep/hub"
	"lockstep/internal/fault"
)

// moody is a repository that takes no commits while it is down.
type moody struct {
	hub.Repository
	down  atomic.Bool
	tries atomic.Int32
}

func (m *moody) Commit(ctx context.Context, r hub.CommitRequest) (hub.Commit, error) {
	m.tries.Add(1)
	if m.down.Load() {
		return hub.Commit{}, fault.Errorf(fault.Refused, "the repository is closed")
	}
	return m.Repository.Commit(ctx, r)
}

func TestNextPusherTakesOver(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, 2, 0, 2)
	v := n.validator()
	broken := &moody{Repository: n.repo}
	broken.down.Store(true)
	miners := []*running{n.miner(0, func(c *MinerConfig) { c.Hub = broken }), n.miner(1)}
	n.ended(n.finish(v), miners...)
	for _, p := range all[Pushed](n, "validator") {
		if p.UID != 1 {
			t.Errorf("pushed by uid %d: %+v", p.UID, p)
		}
	}
	if broken.tries.Load() == 0 {
		t.Error("the lowest uid was not asked first")
	}
}

func TestTrainingGoesOnWithoutTheRepository(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, 2, 0, 5)
	repo := &moody{Repository: n.repo}
	repo.down.Store(true)
	v := n.validator(func(c *ValidatorConfig) { c.Hub = repo })
	var miners []*running
	for i := range 2 {
		miners = append(miners, n.miner(i, func(c *MinerConfig) { c.Hub = repo }))
	}
	n.await("validator", func(e Event) bool { c, ok := e.(Committed); return ok && c.Epoch == 4 })
	if tags, err := n.repo.Tags(t.Context()); err != nil || len(tags) > 0 {
		t.Errorf("tags %v, %v", tags, err)
	}
	repo.down.Store(false)
	n.ended(n.finish(v), miners...) // finish looks for tags without gaps
	var last uint64
	for _, p := range all[Pushed](n, "validator") {
		if p.Epoch != last+1 {
			t.Errorf("epoch %d is pushed after epoch %d", p.Epoch, last)
		}
		last = p.Epoch
	}
}

func TestValidatorPushesWhatNobodyElseHas(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, 1, 0, 2)
	v := n.validator()
	m := n.miner(0, func(c *MinerConfig) { c.Hub = nil })
	n.ended(n.finish(v), m)
	for _, p := range all[Pushed](n, "validator") {
		if p.UID != ValidatorUID {
			t.Errorf("pushed by uid %d", p.UID)
		}
	}
}

func TestForeignTagIsReported(t *testing.T) {
	t.Parallel()
	for _, tag := range []uint64{1, 2} {
		n := newNetwork(t, 2, 0, 3)
		foreign := []hub.Content{hub.Bytes(hub.WeightsFile, []byte("not this model"))}
		if _, err := hub.PushEpoch(t.Context(), n.repo, tag, foreign, "mine", pushBackoff); err != nil {
			t.Fatal(err)
		}
		v := n.validator()
		miners := n.miners()
		n.conflicts(v, tag)
		for _, m := range miners {
			if err := m.wait(); err != nil {
				t.Error(err)
			}
		}
		told := 0
		for _, w := range all[Warning](n, "validator") {
			if strings.Contains(w.Text, "with other content") {
				told++
			}
		}
		if told != 1 {
			t.Errorf("the conflict is reported %d times", told)
		}
		n.conflicts(n.validator(), tag) // a restart makes it no success
		if tags, err := n.repo.Tags(t.Context()); err != nil || len(tags) != int(tag) {
			t.Errorf("tags %v, %v", tags, err)
		}
	}
}

// conflicts waits for a validator whose repository has a foreign tag: all epochs
// are trained, those before the tag are published, and the tag is the result.
func (n *network) conflicts(v *running, tag uint64) {
	n.t.Helper()
	err := v.wait()
	var conflict *hub.TagConflictError
	if !errors.As(err, &conflict) || fault.KindOf(err) != fault.Refused || conflict.Tag != hub.EpochTag(tag) {
		n.t.Errorf("%v (%v)", err, fault.KindOf(err))
	}
	if len(v.summary.Epochs) != int(n.epochs) {
		n.t.Errorf("%d epochs of %d", len(v.summary.Epochs), n.epochs)
	}
	for _, e := range v.summary.Epochs {
		if (e.Tag != "") != (e.Epoch < tag) {
			n.t.Errorf("%+v", e)
		}
	}
}

// hanging is a repository whose commits never end.
type hanging struct {
	hub.Repository
	tries atomic.Int32
}

func (h *hanging) Commit(ctx context.Context, _ hub.CommitRequest) (hub.Commit, error) {
	h.tries.Add(1)
	<-ctx.Done()
	return hub.Commit{}, ctx.Err()
}

// TestSilentPusherIsPassedOver: a miner whose upload hangs costs one deadline,
// not one an epoch, and no tag.
func TestSilentPusherIsPassedOver(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, 2, 0, 3)
	v := n.validator(func(c *ValidatorConfig) { c.PushDeadline = 5 * time.Second })
	repo := &hanging{Repository: n.repo}
	miners := []*running{n.miner(0, func(c *MinerConfig) { c.Hub = repo }), n.miner(1)}
	n.ended(n.finish(v), miners...)
	for _, p := range all[Pushed](n, "validator") {
		if p.UID == 0 {
			t.Errorf("%+v", p)
		}
	}
	if tries := repo.tries.Load(); tries == 0 || tries == 3 { // a second one where the other miner was too slow as well
		t.Errorf("the miner that hangs was asked %d times", tries)
	}
}

// TestTagsEndRatherThanHaveAGap: when the repository was away for longer than
// states are kept, nothing is published any more, and the run says so.
func TestTagsEndRatherThanHaveAGap(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, 1, 0, 6)
	repo := &moody{Repository: n.repo}
	repo.down.Store(true)
	v := n.validator(func(c *ValidatorConfig) { c.Hub, c.Backlog = repo, 3 })
	m := n.miner(0, func(c *MinerConfig) { c.Hub, c.Backlog = repo, 3 })
	n.await("validator", func(e Event) bool { c, ok := e.(Committed); return ok && c.Epoch == 5 })
	repo.down.Store(false)
	err := v.wait()
	var lost *LostEpoch
	if !errors.As(err, &lost) || lost.Epoch != 1 || fault.KindOf(err) != fault.Environment {
		t.Errorf("%v (%v)", err, fault.KindOf(err))
	}
	if tags, err := n.repo.Tags(t.Context()); err != nil || len(tags) > 0 {
		t.Errorf("tags %v, %v", tags, err)
	}
	for _, node := range []string{"validator", name(0)} {
		given := 0
		for _, w := range all[Warning](n, node) {
			if strings.Contains(w.Text, "is given up") {
				given++
			}
		}
		if given != 3 {
			t.Errorf("%s gives up %d states", node, given)
		}
	}
	if err := m.wait(); err != nil {
		t.Error(err)
	}
}

// TestPushedElsewhere: a repository without what was pushed is another one, and
// gets nothing on top.
func TestPushedElsewhere(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, 1, 0, 2)
	other, err := hub.CreateDirectory(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	v := n.validator(func(c *ValidatorConfig) { c.Epochs = 1 })
	m := n.miner(0)
	if err := errors.Join(v.wait(), m.wait()); err != nil {
		t.Fatal(err)
	}
	v = n.validator(func(c *ValidatorConfig) { c.Hub = other })
	n.miner(0, func(c *MinerConfig) { c.Hub = other })
	w := n.await("validator", func(e Event) bool { w, ok := e.(Warning); return ok && strings.Contains(w.Text, "lacks tag 1") }).(Warning)
	if tags, err := other.Tags(t.Context()); err != nil || len(tags) > 0 {
		t.Errorf("tags %v, %v after %q", tags, err, w.Text)
	}
	v.kill()
}

// TestEndWaitsForTriesNotOnlyForTime: on a bad line one push takes longer than
// the patience, which is for those that fail.
func TestEndWaitsForTriesNotOnlyForTime(t *testing.T) {
	down := fault.Errorf(fault.Network, "no route")
	for _, c := range []struct {
		name     string
		err      error
		tries    int
		failing  time.Duration
		hopeless bool
	}{
		{"nothing failed", nil, 9, time.Hour, false},
		{"the try that failed began before the wait", down, 4, time.Hour, false},
		{"another one is due soon", down, 5, pushPatience - 1, false},
		{"they go on failing", down, 5, pushPatience, true},
		{"the state is gone", &LostEpoch{3}, 5, 0, true},
		{"the state may be written yet", &LostEpoch{3}, 4, 0, false},
		{"another model is there", &hub.TagConflictError{Tag: "3"}, 0, 0, true},
	} {
		at := standing{reached: 2, tries: c.tries, err: c.err}
		if got := at.hopeless(5, c.failing); got != c.hopeless {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

// TestEndJudgesNoTryUnderWay: two tries fail, and the third takes longer than
// the patience and succeeds.
func TestEndJudgesNoTryUnderWay(t *testing.T) {
	for _, third := range []error{nil, fault.Errorf(fault.Network, "no route")} {
		synctest.Test(t, func(t *testing.T) {
			p := &publisher{at: standing{reached: 2}}
			down := fault.Errorf(fault.Network, "no route")
			p.note(3, down)
			ended := make(chan error)
			go func() { ended <- p.await(t.Context(), 3) }()
			for _, err := range []error{down, down, third} {
				time.Sleep(10 * time.Second)
				if err == nil {
					time.Sleep(2 * pushPatience)
				}
				synctest.Wait()
				select {
				case err := <-ended:
					t.Fatalf("gave up: %v", err)
				default:
				}
				p.note(3, err)
			}
			if third != nil {
				time.Sleep(pushPatience)
				p.note(3, third)
			}
			if err := <-ended; !errors.Is(err, third) {
				t.Errorf("%v, but the third try gave %v", err, third)
			}
		})
	}
}
