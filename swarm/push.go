package swarm

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"lockstep/hub"
	"lockstep/internal/fault"
	"lockstep/internal/signed"
	"lockstep/swarm/control"
)

// publisher gets a validator's certified epochs into the repository, in
// ascending order and without gaps, beside training, which never waits for it.
type publisher struct {
	v      *validator
	tagged number                 // on disk: all epochs up to this one are in the repository, with our files
	failed map[signed.PeerID]bool // whose last push failed, so that the others are asked first

	bell  bell // rung when an epoch is published or a push fails
	hurry bell // rung to have the next epoch tried without a pause
	mu    sync.Mutex
	at    standing
}

// standing is how far a publisher is.
type standing struct {
	reached uint64    // all epochs up to this one are in the repository
	tries   int       // rounds through those who may push, since the start
	err     error     // why the next epoch is not there yet; nil before the first failure
	since   time.Time // of the first failure at that epoch
}

// newPublisher reads how far the repository is. What was published before is
// known from this folder, not from the repository: that a tag exists does not
// say whose it is.
func newPublisher(v *validator) (*publisher, error) {
	p := &publisher{v: v, tagged: v.folder.Tagged(), failed: map[signed.PeerID]bool{}}
	var err error
	p.at.reached, err = p.tagged.load()
	if last, _, _ := v.records.newest(); err == nil && p.at.reached > last.Epoch {
		err = fault.Errorf(fault.Damaged, "epoch %d is the newest record, but %d are published", last.Epoch, p.at.reached)
	}
	if err != nil {
		return nil, fmt.Errorf("count of published epochs: %w", err)
	}
	return p, nil
}

// newest returns up to which epoch the repository is complete.
func (p *publisher) newest() uint64 { return p.now().reached }

func (p *publisher) now() standing {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.at
}

// note keeps what came of a push; err nil means that epoch is published.
func (p *publisher) note(epoch uint64, err error) {
	p.mu.Lock()
	if err == nil {
		p.at.reached = epoch
	} else if p.at.err == nil {
		p.at.since = time.Now()
	}
	p.at.err = err
	p.at.tries++
	p.mu.Unlock()
	p.bell.ring()
}

// run publishes epoch after epoch until ctx ends, or until one never can be: a
// gap would be worse than an end, and a foreign model under one of our numbers
// means that somebody else publishes there.
func (p *publisher) run(ctx context.Context) {
	for failures := 0; ctx.Err() == nil; {
		epoch := p.newest() + 1
		r, e, ok := p.awaitRecord(ctx, epoch)
		if !ok {
			continue
		}
		err := p.publish(ctx, r, e)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			err = p.tagged.store(epoch)
		}
		p.note(epoch, err)
		if err == nil {
			failures = 0
			continue
		}
		if isConflict(err) {
			p.v.warn("epoch %d cannot be published, nor what follows it: %v", epoch, err)
			return
		}
		if failures++; failures == 1 {
			p.v.warn("epoch %d is not in the repository yet: %v", epoch, err)
		}
		select {
		case <-time.After(min(100*time.Millisecond<<min(failures, 10), 30*time.Second)):
		case <-p.hurry.next():
		case <-ctx.Done():
		}
	}
}

// awaitRecord waits for the record of an epoch, for some time.
func (p *publisher) awaitRecord(ctx context.Context, epoch uint64) (r control.Record, e signed.Envelope, ok bool) {
	p.v.records.bell.waitFor(ctx, time.Hour, func() bool {
		r, e, ok = p.v.records.find(epoch)
		return ok
	})
	return r, e, ok
}

// publish has an epoch pushed and checks the result. Miners are asked one after
// the other, in uid order, those last whose last push failed; then the validator
// pushes itself. A tag that is there already is only checked. The error is that
// of the last one who tried.
func (p *publisher) publish(ctx context.Context, r control.Record, e signed.Envelope) error {
	if found, err := p.look(ctx, r); found || err != nil {
		return err
	}
	for _, s := range p.pushers() {
		done, err := p.ask(ctx, s, r, e)
		if ctx.Err() != nil || isConflict(err) {
			return err
		}
		if p.failed[s.Peer] = err != nil; err == nil {
			p.v.emit(Pushed{r.Epoch, done.Tag, s.UID, done.Commit})
			return nil
		}
	}
	pushed, err := p.v.pushOne(ctx, r)
	if err != nil {
		clear(p.failed) // nobody can, so it is nobody's fault
		return err
	}
	p.v.emit(Pushed{r.Epoch, pushed.Tag, ValidatorUID, pushed.Commit.ID})
	return nil
}

// pushers returns the miners that are there, in the order in which they are
// asked. Any of them may have the state, whether it was a member or caught up.
func (p *publisher) pushers() []control.Seat {
	seats := p.v.seats.present()
	slices.SortStableFunc(seats, func(a, b control.Seat) int {
		switch {
		case p.failed[a.Peer] == p.failed[b.Peer]:
			return 0
		case p.failed[b.Peer]:
			return -1
		}
		return 1
	})
	return seats
}

// ask has one miner push an epoch, within a time limit, and looks whether it did.
func (p *publisher) ask(ctx context.Context, s control.Seat, r control.Record, e signed.Envelope) (pushedWord, error) {
	var done pushedWord
	limited, cancel := context.WithTimeout(ctx, p.v.cfg.PushDeadline)
	defer cancel()
	err := p.v.client.Post(limited, s.Peer, fmt.Sprintf("/v1/push/%d", r.Epoch), p.v.cfg.PushDeadline, word{e}, &done)
	if err != nil {
		return done, err
	}
	found, err := p.look(ctx, r)
	if err == nil && !found {
		err = fault.Errorf(fault.Network, "uid %d says that tag %s exists, but it does not", s.UID, hub.EpochTag(r.Epoch))
	}
	return done, err
}

// look reports whether the repository has the epoch's tag with our files. With
// other files it is a *hub.TagConflictError. An epoch whose predecessor is not
// there must not be pushed.
func (p *publisher) look(ctx context.Context, r control.Record) (bool, error) {
	tags, err := p.v.Hub.Tags(ctx)
	if err != nil {
		return false, err
	}
	has := func(epoch uint64) bool {
		return slices.ContainsFunc(tags, func(t hub.Tag) bool { return t.Name == hub.EpochTag(epoch) })
	}
	if !has(r.Epoch) {
		if r.Epoch > 1 && !has(r.Epoch-1) {
			err = fault.Errorf(fault.Refused, "the repository lacks tag %s, which was there: it is another one, or somebody removed the tag", hub.EpochTag(r.Epoch-1))
		}
		return false, err
	}
	m, err := p.v.published(ctx, r)
	if err != nil {
		return false, err
	}
	files, err := m.Files()
	if err != nil {
		return false, err
	}
	_, found, err := hub.FindEpoch(ctx, p.v.Hub, r.Epoch, files)
	return found, err
}

// isConflict reports whether a tag holds another model, which nobody can mend.
func isConflict(err error) bool {
	var c *hub.TagConflictError
	return errors.As(err, &c)
}

// pushPatience is how long the end of a run waits for the repository while
// pushes fail.
const pushPatience = 30 * time.Second

// await waits until all epochs are in the repository. It gives up when pushes go
// on failing, or cannot succeed: the run is sound without them. It judges when a
// try has ended, never one under way: a bad line makes it slow.
func (p *publisher) await(ctx context.Context, final uint64) error {
	began := time.Now()
	judged := -1               // tries
	fresh := p.now().tries + 2 // one may be under way, the next begins now
	for {
		rung := p.bell.next()
		at := p.now()
		if at.reached >= final {
			return nil
		}
		if at.tries > judged && at.hopeless(fresh, min(time.Since(at.since), time.Since(began))) {
			return fmt.Errorf("epoch %d is not in the repository: %w", at.reached+1, at.err)
		}
		judged = at.tries
		if at.tries < fresh {
			p.hurry.ring()
		}
		select {
		case <-rung:
		case <-time.After(time.Second):
			p.hurry.ring() // no long pause at the end
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// hopeless says whether waiting for the next epoch ends, after pushes failed for
// the given time: not before so many tries that one of them was begun and lost
// during the wait.
func (s standing) hopeless(tries int, failing time.Duration) bool {
	var lost *LostEpoch
	switch {
	case s.err == nil:
		return false
	case isConflict(s.err):
		return true
	}
	return s.tries >= tries && (errors.As(s.err, &lost) || failing >= pushPatience)
}
