package swarm

import (
	"context"
	"crypto/rand"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"lockstep/internal/merkle"
	"lockstep/internal/signed"
	"lockstep/reduce"
	"lockstep/reduce/commit"
	"lockstep/swarm/control"
	"lockstep/validate"
)

// apply takes the step of a certified epoch and makes it durable, the record
// first: whoever has the record can get the step back, nobody the record from
// the step.
func (v *validator) apply(ctx context.Context, r *result, began time.Time) error {
	before, beforeSeal, _ := v.records.newest()
	base := v.digests.root
	info, err := v.step(r.average)
	if err != nil {
		return err
	}
	d, err := v.chronicle.at(v.state.Epoch)
	if err != nil {
		return err
	}
	loss, err := d.loss(r.decision.Members)
	if err != nil {
		return err
	}
	r.record = control.Record{
		Fingerprint: v.fingerprint, RunID: v.runID(), Epoch: v.state.Epoch, Previous: beforeSeal.Digest(), Base: base,
		Certificate: r.certified.Certificate(), State: v.digests.State,
		LossBits: math.Float64bits(loss), Tokens: before.Tokens + r.decision.Tokens,
	}
	e := control.Seal(r.record, v.id.Key)
	if err := v.records.write(r.record, e); err != nil {
		return err
	}
	if err := v.save(ctx, v.publisher.newest()); err != nil {
		return err
	}
	v.driver.Post(reduce.Applied{Epoch: v.state.Epoch, Root: v.digests.root})
	v.records.show(r.record, e)
	r.norm, r.rate, r.seconds = info.Norm, info.Rate, time.Since(began).Seconds()
	v.tokens.Store(r.record.Tokens)
	v.emit(Committed{
		Epoch: v.state.Epoch, Loss: loss / float64(r.decision.Tokens), State: v.digests.root, Members: r.decision.Members,
		Attempts: r.decision.Attempt, Tokens: r.decision.Tokens, Norm: r.norm, Rate: r.rate, Seconds: r.seconds,
	})
	return nil
}

// settle is what follows a step: compare states, audit the average, measure,
// score. None of it changes the state, and the miners are computing meanwhile.
func (v *validator) settle(ctx context.Context, r result) error {
	if err := v.convictAgain(r.record.Epoch); err != nil {
		return err
	}
	d, err := v.chronicle.at(r.record.Epoch)
	if err != nil {
		return err
	}
	if r.attempt, err = d.committed(v.trusted); err != nil {
		return err
	}
	if r.leaves == nil { // interrupted before the audit
		r.leaves = v.leavesOf(ctx, r.decision)
	}
	var secret validate.Nonce
	rand.Read(secret[:]) // it never fails
	d.Nonce, d.Registry, d.State = merkle.Digest(secret), v.seats.registry(), headerOf(r.record.State)
	if d.Reports, err = v.compareStates(ctx); err != nil {
		return err
	}
	if d.Audits, err = v.audit(ctx, secret, r); err != nil {
		return err
	}
	if d.Measures, err = v.measure(ctx, secret, r, d); err != nil {
		return err
	}
	if d.Scores, err = validate.ScoreEpoch(d.Measures, v.chronicle.marks); err != nil {
		return err
	}
	d.Summary = EpochSummary{
		Epoch: d.Epoch, Loss: r.record.Loss() / float64(r.decision.Tokens), StateRoot: v.digests.root,
		NodesAgree: agree(d.Reports), Members: len(r.decision.Members), Attempts: int(r.decision.Attempt),
		Tokens: r.decision.Tokens, Seconds: r.seconds,
	}
	if err := v.chronicle.settle(d); err != nil {
		return err
	}
	if err := v.convictions.settled(d.Epoch); err != nil {
		return err
	}
	v.emit(Settled{Epoch: d.Epoch, Agree: d.Summary.NodesAgree, Reports: len(d.Reports), Audited: len(d.Audits)})
	v.emit(Scores{Epoch: d.Epoch, Table: d.Scores})
	return nil
}

// report is the state that a miner says it has.
type report struct {
	UID    uint32          `json:"uid"`
	Root   merkle.Digest   `json:"root"`
	Agrees bool            `json:"agrees"`
	Signed signed.Envelope `json:"signed"`
}

// agree says whether every node that reported a state root reported the right
// one; where nobody did, nothing is known to agree.
func agree(reports []report) bool {
	return len(reports) > 0 && !slices.ContainsFunc(reports, func(r report) bool { return !r.Agrees })
}

// compareStates asks every miner that is there for its state root. A miner that
// does not answer in time is not counted; one that is gone is taken for gone. Who
// kept us waiting before has as long as the others need, if there are any, and a
// second more.
func (v *validator) compareStates(ctx context.Context) ([]report, error) {
	present := v.seats.present()
	answers := make([]*report, len(present))
	ctx, cancel := context.WithTimeout(ctx, v.cfg.RoundDeadline)
	defer cancel()
	hurried, hurry := context.WithCancel(ctx)
	defer hurry()
	var steady, rest sync.WaitGroup
	anyone := slices.ContainsFunc(present, func(s control.Seat) bool { return !v.slow.keepsWaiting(s.Peer) })
	for i, s := range present {
		ctx, group := ctx, &steady
		if anyone && v.slow.keepsWaiting(s.Peer) {
			ctx, group = hurried, &rest
		}
		group.Go(func() { answers[i] = v.stateOf(ctx, s) })
	}
	steady.Wait()
	defer time.AfterFunc(time.Second, hurry).Stop()
	rest.Wait()
	for i, s := range present {
		v.slow.reported(s.Peer, answers[i] != nil)
	}
	var out []report
	for _, r := range answers {
		if r == nil {
			continue
		}
		v.emit(StateRoot{Epoch: v.state.Epoch, UID: r.UID, Root: r.Root, Agrees: r.Agrees})
		out = append(out, *r)
	}
	return out, v.ctx.Err()
}

// stateOf returns the report of one miner, nil where none comes.
func (v *validator) stateOf(ctx context.Context, s control.Seat) *report {
	lastSeen := time.Now()
	for {
		var w word
		err := v.client.Get(ctx, s.Peer, fmt.Sprintf("/v1/state/%d/header", v.state.Epoch), poll, &w)
		if err == nil {
			state, err := control.Open[control.State](w.Signed, s.Peer)
			if err != nil || state.Epoch != v.state.Epoch || !v.ours(state.Fingerprint, state.RunID) {
				v.warn("uid %d reports no state of epoch %d of this run: %v", s.UID, v.state.Epoch, err)
				return nil
			}
			root := rootOf(state)
			return &report{s.UID, root, root == v.digests.root, w.Signed}
		}
		switch {
		case ctx.Err() != nil:
			return nil
		case control.IsRefusal(err, control.Later):
			lastSeen = time.Now()
		case time.Since(lastSeen) > reachable || !v.seats.isHere(s.Peer):
			v.lose(s, "it does not answer")
			return nil
		}
		if sleep(ctx, laterPause) != nil {
			return nil
		}
	}
}

// auditsPerOwner is how many chunks of each member's part are added up again.
const auditsPerOwner = 1

// leavesOf returns the digests of an epoch's average after a restart, nil where
// neither this node nor a member has it any more.
func (v *validator) leavesOf(ctx context.Context, d commit.Decision) []merkle.Digest {
	ctx, cancel := context.WithTimeout(ctx, showTime)
	defer cancel()
	x, err := v.lostAverage(ctx, d)
	if err != nil {
		v.warn("epoch %d cannot be audited, its average is lost: %v", d.Epoch, err)
		return nil
	}
	return v.shape.Digests(merkle.KindAverage, x)
}

// audit adds up random chunks of the average again, from what the members
// claimed. Without the attempt's documents there is nothing to hold an owner to.
func (v *validator) audit(ctx context.Context, secret validate.Nonce, r result) ([]validate.Audited, error) {
	c := r.attempt
	if c == nil || r.leaves == nil {
		return nil, nil
	}
	roster := c.Roster.Doc()
	chunks := secret.AuditChunks(c.Decision.Certificate().Signatures[0].Digest(), roster, auditsPerOwner)
	a := validate.Auditor{
		Roster: c.Roster, Average: r.leaves,
		Inputs: func(i int) validate.LeafSource {
			return &shownLeaves{v.client, roster.Members[i].Peer, roster.Epoch, v.shape.Leaves()}
		},
		Again: func(ctx context.Context, i int) (validate.LeafSource, error) {
			uid := roster.Members[i].UID
			v.warn("epoch %d: uid %d does not show its gradient for the audit; computing it again", roster.Epoch, uid)
			return v.computeAgain(ctx, roster.Epoch, uid, chunks)
		},
	}
	var out []validate.Audited
	for _, chunk := range chunks {
		i := slices.IndexFunc(c.Receipts, func(s commit.Signed[commit.Receipt]) bool {
			return s.Signer() == roster.Members[roster.Owner(chunk)].Peer
		})
		if i < 0 {
			continue // its owner's receipt did not arrive, which costs it nothing
		}
		audited, err := a.Chunk(ctx, chunk, c.Receipts[i])
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case err != nil:
			v.warn("epoch %d: chunk %d cannot be audited: %v", roster.Epoch, chunk, err)
			continue
		case !audited.Evidence.IsZero():
			// The next audit, after a crash, may be of other chunks.
			err := v.convictions.keep(reduce.Convicted{Epoch: roster.Epoch, Evidence: []commit.Evidence{audited.Evidence}})
			if err == nil {
				err = v.convict(roster.Epoch, audited.Evidence)
			}
			if err != nil {
				return nil, err
			}
		}
		out = append(out, audited)
	}
	return out, nil
}

// measure gathers what the epoch showed of every admitted miner, and times how
// fast those that are there serve chunks of the new state, one after another.
func (v *validator) measure(ctx context.Context, secret validate.Nonce, r result, d *docket) ([]validate.Measure, error) {
	averaged := v.averaged(r)
	present := v.seats.present()
	p := &probe{v.client, v.layout(), v.digests, probeTime, v.warn}
	var out []validate.Measure
	for _, s := range v.seats.miners() {
		m := validate.Measure{UID: s.UID, Peer: s.Peer}
		if f, ok := d.of(s.UID); ok && f.Peer == s.Peer {
			m.Exact, m.False = f.Exact, f.False
			if averaged[s.UID] {
				m.Tokens = f.Tokens
			}
		}
		if slices.ContainsFunc(present, func(p control.Seat) bool { return p.Peer == s.Peer }) {
			refs := secret.Challenge(v.state.Epoch, v.digests.root, s.UID, s.Peer, v.layout().Elements)
			m.Bytes, m.Nanos = p.measure(ctx, s.Peer, refs)
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		out = append(out, m)
	}
	return out, nil
}

// averaged tells whose gradients are in the average, by what others signed.
func (v *validator) averaged(r result) map[uint32]bool {
	out := map[uint32]bool{}
	if r.attempt != nil {
		p, err := validate.Participate(*r.attempt)
		if err == nil {
			for _, m := range p {
				out[m.UID] = m.Averaged
			}
			return out
		}
		v.warn("epoch %d: %v", r.decision.Epoch, err)
	}
	for _, uid := range r.decision.Members { // the certificate says that their gradients are in
		out[uid] = true
	}
	return out
}
