package swarm

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

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
	n := newNetwork(t, 2, 0, 2)
	foreign := []hub.Content{hub.Bytes(hub.WeightsFile, []byte("not this model"))}
	if _, err := hub.PushEpoch(t.Context(), n.repo, 2, foreign, "mine", pushBackoff); err != nil {
		t.Fatal(err)
	}
	v := n.validator()
	miners := n.miners()
	err := v.wait()
	var conflict *hub.TagConflictError
	if !errors.As(err, &conflict) || fault.KindOf(err) != fault.Refused || conflict.Tag != "2" {
		t.Errorf("%v (%v)", err, fault.KindOf(err))
	}
	if s := v.summary; len(s.Epochs) != 2 || s.Epochs[0].Tag != "1" || s.Epochs[1].Tag != "" {
		t.Errorf("%+v", s.Epochs)
	}
	for _, m := range miners {
		if err := m.wait(); err != nil {
			t.Error(err)
		}
	}
}
