package swarm

import (
	"context"
	"fmt"
	"time"

	"lockstep/internal/merkle"
	"lockstep/internal/signed"
	"lockstep/reduce"
	"lockstep/reduce/commit"
	"lockstep/swarm/control"
	"lockstep/validate"
)

// answer is what came of asking a miner for its claim.
type answer struct {
	seat  control.Seat
	claim signed.Envelope // nil where none came
	gone  bool            // the miner cannot be reached
}

// propose collects the claims of the next epoch, judges each as it comes, and
// has those that are right averaged. It waits for every miner that is there
// until the claim deadline; miners that join meanwhile are asked too. averaged
// reports that the epoch needs no claims any more: an attempt of before a restart
// has succeeded meanwhile, and r holds its average.
func (v *validator) propose(ctx context.Context, r *result) (averaged bool, err error) {
	v.proposing = true
	defer func() { v.proposing = false }()
	for {
		if averaged, err = v.collect(ctx, r); err != nil || averaged {
			return averaged, err
		}
		if err := v.convictAgain(v.state.Epoch + 1); err != nil {
			return false, err
		}
		if candidates := v.candidates(); len(candidates) > 0 {
			v.driver.Post(reduce.Open{
				Epoch: v.state.Epoch + 1, Base: v.digests.root, Candidates: candidates,
				Observers: []commit.Observer{{Peer: v.id.Peer, Address: v.address}},
			})
			return false, nil
		}
		v.warn("epoch %d: no claim is right; asking again", v.state.Epoch+1)
		if err := v.pause(ctx, time.Second); err != nil {
			return false, err
		}
	}
}

// candidates are the miners whose claims are exact, in uid order: without those
// that keep stopping rounds, unless there are no others.
func (v *validator) candidates() []reduce.Candidate {
	var all, steady []reduce.Candidate
	for _, s := range v.seats.present() {
		j := v.judged[s.UID]
		if j == nil || j.Verdict.Outcome != validate.Exact {
			continue
		}
		c := reduce.Candidate{Claim: j.Claim, Address: s.Address}
		all = append(all, c)
		if !v.slow.rests(s.Peer, v.state.Epoch+1) {
			steady = append(steady, c)
		}
	}
	if len(steady) == 0 {
		return all
	}
	return steady
}

// collect asks everybody who is there for a claim. A miner that let the last
// deadline pass is asked too, but not waited for: one that does so again and
// again costs the others few deadlines. The leader and the observer are heard
// meanwhile: averaged is as in propose.
func (v *validator) collect(whole context.Context, r *result) (averaged bool, err error) {
	epoch := v.state.Epoch + 1
	ctx, cancel := context.WithTimeout(whole, v.cfg.ClaimDeadline)
	defer cancel()
	answers := make(chan answer, control.MaxSeats)
	asked := map[signed.PeerID]bool{} // true while the answer is outstanding
	lost := map[signed.PeerID]bool{}  // was gone once
	stop := v.Stop
	for {
		rung := v.seats.bell.next()
		for _, s := range v.seats.present() {
			if _, known := asked[s.Peer]; !known {
				asked[s.Peer] = true
				go func() { answers <- v.ask(ctx, s, epoch) }()
			}
		}
		if len(asked) > 0 && !v.waitsFor(asked) {
			return false, nil
		}
		if v.stopping() && len(v.seats.present()) == 0 {
			return false, errStopped // nobody is left to finish the epoch with
		}
		select {
		case a := <-answers:
			if asked[a.seat.Peer] = false; a.gone {
				if !lost[a.seat.Peer] { // a restarted miner gets a second chance, not a third
					lost[a.seat.Peer] = true
					delete(asked, a.seat.Peer)
				}
				v.lose(a.seat, "it does not answer")
				continue
			}
			v.slow.claimed(a.seat.Peer, a.claim != nil)
			if err := v.judge(context.WithoutCancel(ctx), a); err != nil {
				return false, err
			}
		case <-v.mail.ready:
			if averaged, err = v.hear(whole, r); err != nil || averaged {
				return averaged, err
			}
		case <-rung:
		case <-stop:
			stop = nil // the epoch in hand is finished, with those who are here
		case <-whole.Done():
			return false, whole.Err()
		}
	}
}

// waitsFor reports whether an outstanding answer is worth waiting for: that of
// a miner that is not slow, or of anybody while there is no claim to go on with.
func (v *validator) waitsFor(asked map[signed.PeerID]bool) bool {
	outstanding := false
	for peer, is := range asked {
		outstanding = outstanding || is
		if is && !v.slow.isLate(peer) {
			return true
		}
	}
	return outstanding && len(v.candidates()) == 0
}

// lose takes a miner for gone.
func (v *validator) lose(s control.Seat, reason string) {
	if v.seats.leave(s.Peer) {
		v.records.bell.ring() // it may be waiting for a record: let it know that it has to join again
		v.emit(Left{s.UID, reason})
	}
}

// laterPause is how long a node that did not have an answer is left alone. It was
// given time to wait for it; one that says no at once must not be asked in a
// tight loop.
const laterPause = 200 * time.Millisecond

// reachable is how long a miner may be unreachable before it counts as gone.
const reachable = 2 * time.Second

// ask waits for one miner's claim until ctx ends.
func (v *validator) ask(ctx context.Context, s control.Seat, epoch uint64) answer {
	a := answer{seat: s}
	lastSeen := time.Now()
	for {
		var w word
		err := v.client.Get(ctx, s.Peer, fmt.Sprintf("/v1/claim/%d", epoch), poll, &w)
		switch {
		case err == nil:
			a.claim = w.Signed
			return a
		case ctx.Err() != nil:
			return a // the deadline: no claim
		case control.IsRefusal(err, control.Later):
			lastSeen = time.Now()
		case control.IsRefusal(err, control.Absent):
			return a
		case time.Since(lastSeen) > reachable || !v.seats.isHere(s.Peer):
			a.gone = true
			return a
		}
		if sleep(ctx, laterPause) != nil {
			return a
		}
	}
}

// judge recomputes a claim and keeps what it finds.
func (v *validator) judge(ctx context.Context, a answer) error {
	epoch := v.state.Epoch + 1
	if j := v.judged[a.seat.UID]; j != nil && a.claim != nil && j.Verdict.Claim == a.claim.Digest() {
		return nil // asked again after a pause
	}
	q := validate.Query{RunID: v.runID(), Epoch: epoch, UID: a.seat.UID, Miner: a.seat.Peer, Base: headerOf(v.digests.State), Claim: a.claim}
	j, err := v.computer.Judge(ctx, q, v.state.Parameters(v.config), &shownLeaves{v.client, a.seat.Peer, epoch, v.shape.Leaves()})
	if err != nil {
		return fmt.Errorf("the claim of uid %d: %w", a.seat.UID, err)
	}
	v.judged[a.seat.UID] = j
	return v.find(j, nil)
}

// find makes a judgement known: evidence on disk, docket, event.
func (v *validator) find(j *validate.Judgement, round *commit.Evidence) error {
	e, err := j.Seal(v.Run, round, v.id.Key)
	if err != nil {
		return err
	}
	d := &j.Verdict
	folder := validate.Folder(v.cfg.EvidenceDir, d.Epoch, d.UID)
	if err := e.Write(folder); err != nil {
		return err
	}
	if err := v.chronicle.judged(j, folder); err != nil {
		return err
	}
	v.emit(Judged{Epoch: d.Epoch, UID: d.UID, Outcome: d.Outcome.String(), Kind: d.Kind(), Text: d.Text, Evidence: folder})
	return nil
}

// shownLeaves is how a miner shows the gradient behind its claim: over the
// control plane, within a time limit.
type shownLeaves struct {
	client *control.Client
	peer   signed.PeerID
	epoch  uint64
	count  int
}

// showTime is how long a miner has to show something.
const showTime = 20 * time.Second

// Digests implements validate.LeafSource.
func (s *shownLeaves) Digests(ctx context.Context) ([]merkle.Digest, error) {
	ctx, cancel := context.WithTimeout(ctx, showTime)
	defer cancel()
	raw, err := s.client.Raw(ctx, s.peer, fmt.Sprintf("/v1/claim/%d/leaves", s.epoch), s.count*len(merkle.Digest{}))
	return splitDigests(raw), err
}

// Leaf implements validate.LeafSource.
func (s *shownLeaves) Leaf(ctx context.Context, i int) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, showTime)
	defer cancel()
	return s.client.Upto(ctx, s.peer, fmt.Sprintf("/v1/claim/%d/leaf/%d", s.epoch, i), validate.MaxLeafBytes)
}
