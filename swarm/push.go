package swarm

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"lockstep/hub"
	"lockstep/internal/fault"
	"lockstep/internal/signed"
	"lockstep/model"
	"lockstep/swarm/control"
)

// countTags finds up to which epoch the repository is complete.
func (v *validator) countTags(ctx context.Context) error {
	tags, err := v.Hub.Tags(ctx)
	if err != nil {
		return fmt.Errorf("repository: %w", err)
	}
	tagged := uint64(0)
	for _, t := range tags { // numbers in ascending order
		if n, ok := hub.EpochOfTag(t.Name); ok && n == tagged+1 {
			tagged = n
		}
	}
	last, _, _ := v.records.newest()
	v.tagged.Store(min(tagged, last.Epoch))
	return nil
}

// push sees to it that every certified epoch gets into the repository, in
// ascending order, so that tags have no gaps and main is always the newest. It
// runs beside training, which never waits for it: what is not pushed yet stays
// on the disks of the nodes.
func (v *validator) push(ctx context.Context) {
	failures := 0
	for ctx.Err() == nil {
		epoch := v.tagged.Load() + 1
		v.records.bell.waitFor(ctx, time.Hour, func() bool {
			_, _, ok := v.records.find(epoch)
			return ok
		})
		r, e, ok := v.records.find(epoch)
		if !ok {
			continue
		}
		if err := v.pushEpoch(ctx, r, e, failures >= ownPush); err != nil {
			if failures++; failures == ownPush {
				v.warn("epoch %d is not in the repository yet: %v", epoch, err)
			}
			v.pushError.Store(&err)
			v.pushed.ring()
			_ = sleep(ctx, min(100*time.Millisecond<<min(failures, 10), 30*time.Second))
			continue
		}
		failures = 0
		v.pushError.Store(nil)
		v.tagged.Store(epoch)
		v.pushed.ring()
	}
}

// ownPush is after how many fruitless rounds through the members the validator
// pushes itself: the members may all have lost the state of an epoch that they
// skipped, the validator never skips one.
const ownPush = 3

// pushTime is how long a member may work on one push: it waits for its own save
// and tries the upload of a model several times.
const pushTime = 10 * time.Minute

// pushEpoch has an epoch pushed and checks the result. The members of the epoch
// are asked in uid order; one that fails, after trying as often as it may, is
// followed by the next. A tag that is there already is only checked.
func (v *validator) pushEpoch(ctx context.Context, r control.Record, e signed.Envelope, own bool) error {
	if found, err := v.checkTag(ctx, r); found || err != nil {
		return err
	}
	d, err := v.decisionOf(r)
	if err != nil {
		return err
	}
	err = fault.Errorf(fault.Network, "none of its members is here")
	for _, s := range v.seats.present() {
		if !slices.Contains(d.Members, s.UID) {
			continue
		}
		var done pushedWord
		if err = v.client.Post(ctx, s.Peer, fmt.Sprintf("/v1/push/%d", r.Epoch), pushTime, word{e}, &done); err != nil {
			continue
		}
		found := false
		if found, err = v.checkTag(ctx, r); found {
			v.emit(Pushed{r.Epoch, done.Tag, s.UID, done.Commit})
			return nil
		}
		if err == nil {
			err = fault.Errorf(fault.Network, "uid %d says that tag %s exists, but it does not", s.UID, hub.EpochTag(r.Epoch))
		}
	}
	if own {
		var pushed hub.Pushed
		if pushed, err = v.pushOne(ctx, r); err == nil {
			v.emit(Pushed{r.Epoch, pushed.Tag, ValidatorUID, pushed.Commit.ID})
		}
	}
	return err
}

// pushOne publishes one epoch from its saved state.
func (n *node) pushOne(ctx context.Context, r control.Record) (hub.Pushed, error) {
	if n.Hub == nil {
		return hub.Pushed{}, fault.Errorf(fault.Config, "this node has no repository")
	}
	p, err := n.published(ctx, r)
	if err != nil {
		return hub.Pushed{}, err
	}
	files, err := p.Files()
	if err != nil {
		return hub.Pushed{}, err
	}
	return hub.PushEpoch(ctx, n.Hub, r.Epoch, files, p.Message(), pushBackoff)
}

// checkTag reports whether the repository has the epoch's tag. A tag with other
// weights than ours is a *hub.TagConflictError.
func (v *validator) checkTag(ctx context.Context, r control.Record) (bool, error) {
	tag := hub.EpochTag(r.Epoch)
	tags, err := v.Hub.Tags(ctx)
	if err != nil {
		return false, err
	}
	i := slices.IndexFunc(tags, func(t hub.Tag) bool { return t.Name == tag })
	if i < 0 {
		return false, nil
	}
	files, err := v.Hub.List(ctx, tags[i].Commit)
	if err != nil {
		return false, err
	}
	p, err := v.published(ctx, r)
	if err != nil {
		return false, err
	}
	weights, err := p.Weights()
	if err != nil {
		return false, err
	}
	want := weights.Digest()
	j := slices.IndexFunc(files, func(f hub.FileInfo) bool { return f.Path == hub.WeightsFile })
	if j < 0 || files[j].SHA256 != want {
		return false, &hub.TagConflictError{Tag: tag, Commit: tags[i].Commit, Path: hub.WeightsFile, Detail: "is not the model of the certified state"}
	}
	return true, nil
}

// pushPatience is how long the end of a run waits for the repository while
// pushes fail.
const pushPatience = 30 * time.Second

// awaitPush waits until all epochs are in the repository. It gives up when
// pushes go on failing, or cannot succeed: the run is sound without them, and
// they can be made up.
func (v *validator) awaitPush(ctx context.Context) error {
	for v.tagged.Load() < v.state.Epoch {
		before := v.tagged.Load()
		v.pushed.waitFor(ctx, pushPatience, func() bool { return v.tagged.Load() > before || v.conflict() != nil })
		if v.tagged.Load() > before {
			continue
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		err := error(fault.Errorf(fault.Network, "nobody pushes it"))
		if last := v.pushError.Load(); last != nil {
			err = *last
		}
		return fmt.Errorf("epoch %d is not in the repository: %w", before+1, err)
	}
	return nil
}

// conflict returns why the next epoch can never be pushed, nil if it may.
func (v *validator) conflict() error {
	var c *hub.TagConflictError
	if last := v.pushError.Load(); last != nil && errors.As(*last, &c) {
		return c
	}
	return nil
}

// published returns the model of an epoch, from the saved state, for writing or
// checking its files. The error is fault.Config where that state is gone.
func (n *node) published(ctx context.Context, r control.Record) (*Published, error) {
	theta := make([]float32, n.layout().Elements)
	if err := n.archive.weights(ctx, r.Epoch, theta); err != nil {
		return nil, err
	}
	p := &model.Parameters{Config: n.config, Layout: n.layout(), Data: theta}
	if root := p.Root(); root != r.State.Parameters {
		return nil, fault.Errorf(fault.Damaged, "the saved weights of epoch %d have root %s; certified is %s", r.Epoch, root.Short(), r.State.Parameters.Short())
	}
	d, err := n.decisionOf(r)
	if err != nil {
		return nil, err
	}
	return &Published{
		Run: n.Run, Tokenizer: n.tokenizer, Parameters: p, Epoch: r.Epoch, State: rootOf(r.State),
		Loss: r.Loss() / float64(d.Tokens), Tokens: r.Tokens,
	}, nil
}
