package swarm

import (
	"context"
	"slices"
	"time"

	"lockstep/internal/fault"
	"lockstep/reduce"
	"lockstep/reduce/commit"
	"lockstep/swarm/control"
)

// newestCommit returns the newest epoch that the records have a COMMIT of.
func newestCommit(records []reduce.Record) (epoch uint64) {
	for _, r := range records {
		if r.Kind != reduce.RecordCertificate {
			continue
		}
		if d, err := commit.Open[commit.Decision](r.Envelopes[0]); err == nil && d.Doc().Verdict == commit.Commit {
			epoch = max(epoch, d.Doc().Epoch)
		}
	}
	return epoch
}

// begin writes the record of epoch 0, or checks the state against the newest
// record.
func (v *validator) begin() error {
	last, _, ok := v.records.newest()
	if !ok {
		if v.state.Epoch > 0 {
			return fault.Errorf(fault.Damaged, "%s has a state of epoch %d, but no records: restore the folder", v.Dir, v.state.Epoch)
		}
		r := control.Record{Fingerprint: v.fingerprint, RunID: v.runID(), State: v.digests.State}
		e := control.Seal(r, v.id.Key)
		if err := v.records.write(r, e); err != nil {
			return err
		}
		v.records.show(r, e)
		return nil
	}
	switch {
	case v.state.Epoch > last.Epoch:
		return fault.Errorf(fault.Damaged, "%s has a state of epoch %d, but its newest record is of epoch %d: restore the folder", v.Dir, v.state.Epoch, last.Epoch)
	case v.state.Epoch == last.Epoch && v.digests.root != rootOf(last.State):
		return fault.Errorf(fault.Damaged, "%s has state root %s after epoch %d; its record says %s: remove the newest state file", v.Dir, v.digests.root.Short(), last.Epoch, rootOf(last.State).Short())
	}
	return nil
}

// recover brings the state to the newest record and settles an epoch whose
// settlement was interrupted.
func (v *validator) recover(ctx context.Context) error {
	r, e, _ := v.records.newest()
	for v.state.Epoch < r.Epoch {
		next, _, ok := v.records.find(v.state.Epoch + 1)
		if !ok {
			next = r
		}
		if err := v.regain(ctx, next); err != nil {
			return err
		}
	}
	v.records.show(r, e)
	if r.Epoch > v.chronicle.settled() {
		d, err := v.decisionOf(r)
		if err != nil {
			return err
		}
		return v.settle(ctx, result{decision: d, record: r})
	}
	return nil
}

// regain takes a certified epoch that this validator had applied, or was about
// to, when it was killed.
func (v *validator) regain(ctx context.Context, r control.Record) error {
	warned := false
	for wait := laterPause; ; wait = min(2*wait, 5*time.Second) {
		_, err := v.catchUp(ctx, r)
		if err == nil {
			err = v.save(ctx, v.publisher.newest())
			v.driver.Post(reduce.Applied{Epoch: v.state.Epoch, Root: v.digests.root})
			return err
		}
		if ctx.Err() != nil || !mayPass(err) {
			return err
		}
		if !warned {
			v.warn("epoch %d was certified before the restart; waiting for a miner that still has it", r.Epoch)
			warned = true
		}
		if err := v.pause(ctx, wait); err != nil {
			return err
		}
	}
}

// gather waits until the miners have joined that the next epoch needs: before
// the first one all that are expected, after a restart those that were in the
// newest epoch, which will find the way back if they are still there.
func (v *validator) gather(ctx context.Context) error {
	needed, patience := v.needed()
	deadline := make(<-chan time.Time)
	if patience > 0 {
		t := time.NewTimer(patience)
		defer t.Stop()
		deadline = t.C
	}
	for {
		rung := v.seats.bell.next()
		here := v.seats.present()
		if needed(here) {
			return nil
		}
		select {
		case <-rung:
		case <-deadline:
			if len(here) == 0 && v.state.Epoch == 0 {
				return fault.Errorf(fault.Network, "no miner joined within %v", patience)
			}
			if len(here) == 0 {
				needed = func(here []control.Seat) bool { return len(here) > 0 }
				continue
			}
			v.warn("%d miners joined within %v; going on without the rest", len(here), patience)
			return nil
		case <-v.Stop:
			return errStopped
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// needed returns what gather waits for, and for how long (0: for ever).
func (v *validator) needed() (enough func(here []control.Seat) bool, patience time.Duration) {
	last, _, _ := v.records.newest()
	d, err := v.decisionOf(last)
	if last.Epoch == 0 || err != nil {
		return func(here []control.Seat) bool { return len(here) >= v.cfg.Expect }, v.cfg.JoinDeadline
	}
	return func(here []control.Seat) bool {
		for _, uid := range d.Members {
			if !slices.ContainsFunc(here, func(s control.Seat) bool { return s.UID == uid }) {
				return false
			}
		}
		return true
	}, rejoinPatience
}

// rejoinPatience is how long a restarted validator waits for its miners.
const rejoinPatience = 15 * time.Second
