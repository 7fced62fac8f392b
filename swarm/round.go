package swarm

import (
	"context"
	"slices"
	"time"

	"lockstep/internal/merkle"
	"lockstep/reduce"
	"lockstep/reduce/commit"
	"lockstep/swarm/control"
	"lockstep/validate"
)

// result is a certified epoch on its way into the state.
type result struct {
	decision  commit.Decision
	certified commit.Certified
	average   []float32
	leaves    []merkle.Digest   // of the average; nil where the average is not at hand
	attempt   *validate.Attempt // that ended in the COMMIT; nil before the docket was asked
	record    control.Record
	norm      float64
	rate      float64
	seconds   float64
}

// average waits for the decision over the open epoch, and for the average.
func (v *validator) average(ctx context.Context, r *result) error {
	for {
		select {
		case <-v.mail.ready:
		case <-ctx.Done():
			return ctx.Err()
		}
		if done, err := v.hear(ctx, r); err != nil || done {
			return err
		}
	}
}

// hear takes one letter out of the mailbox.
func (v *validator) hear(ctx context.Context, r *result) (done bool, err error) {
	a, ok := v.mail.take()
	if !ok {
		return false, nil
	}
	return v.attend(ctx, a, r)
}

// attend handles one action of the leader or the observer. done reports that r
// holds a certified average.
func (v *validator) attend(ctx context.Context, a reduce.Action, r *result) (done bool, err error) {
	epoch := v.state.Epoch + 1
	switch a := a.(type) {
	case reduce.Entered:
		if a.Phase == reduce.PhaseCommit {
			v.emit(RoundStarted{a.Epoch, a.Attempt, v.members()})
		}
	case reduce.Concluded:
		return false, v.concluded(a)
	case reduce.Apply:
		if d := a.Certified.Decision(); d.Epoch == epoch {
			r.certified, r.decision, r.average, r.leaves = a.Certified, d, a.Average, a.Leaves
			return true, nil
		}
	case reduce.CatchUp:
		if d := a.Certified.Decision(); d.Epoch == epoch {
			r.certified, r.decision = a.Certified, d
			if r.average, err = v.regainAverage(ctx, d); err != nil {
				return false, err
			}
			r.leaves = v.shape.Digests(merkle.KindAverage, r.average)
			return true, nil
		}
	case reduce.Stalled:
		v.stalled = true
		if v.stopping() {
			return false, errStopped
		}
		v.warn("epoch %d pauses after attempt %d: %s", a.Epoch, a.Attempt, a.Reason)
	case reduce.Reopen:
		// After a restart a leader asks at once; by then propose has been here.
		if a.Epoch == epoch && v.stalled {
			v.stalled, v.excluded = false, nil
			if !v.proposing {
				return v.propose(ctx, r)
			}
		}
	case reduce.Refused:
		v.warn("%v", a.Err)
	}
	return false, nil
}

// members are the candidates that are still in.
func (v *validator) members() []uint32 {
	var out []uint32
	for _, c := range v.candidates() {
		if uid := c.Claim.Doc().UID; !slices.Contains(v.excluded, uid) {
			out = append(out, uid)
		}
	}
	return out
}

// concluded keeps how an attempt ended. After a restart the leader tells again.
func (v *validator) concluded(c reduce.Concluded) error {
	d := c.Certified.Decision()
	if d.Epoch != v.state.Epoch+1 {
		return nil
	}
	fresh, err := v.chronicle.concluded(c)
	if err != nil || !fresh {
		return err
	}
	v.slow.concluded(c)
	e := Attempt{Epoch: d.Epoch, Attempt: d.Attempt, Verdict: d.Verdict.String()}
	for _, x := range d.Excluded {
		e.Excluded = append(e.Excluded, Excluded{x.UID, x.Kind.String()})
		v.excluded = append(v.excluded, x.UID)
	}
	v.emit(e)
	for _, evidence := range c.Evidence {
		if err := v.convict(d.Epoch, evidence); err != nil {
			return err
		}
	}
	return nil
}

// regainAverage takes an average that this validator lost from the members.
func (v *validator) regainAverage(ctx context.Context, d commit.Decision) ([]float32, error) {
	v.warn("epoch %d is decided, but its average was lost: taking it from the members", d.Epoch)
	for wait := laterPause; ; wait = min(2*wait, 5*time.Second) {
		x, err := v.lostAverage(ctx, d)
		if err == nil {
			return x, nil
		}
		if ctx.Err() != nil || !mayPass(err) {
			return nil, err
		}
		if err := v.pause(ctx, wait); err != nil {
			return nil, err
		}
	}
}
