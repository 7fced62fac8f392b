package reduce

import (
	"cmp"
	"slices"

	"lockstep/internal/fault"
	"lockstep/internal/merkle"
	"lockstep/reduce/commit"
)

// keepDecisions is how many decisions a leader repeats to those who ask. Who
// asks about an older attempt gets the newest COMMIT, which settles it as well.
const keepDecisions = 64

// keepConcluded is how many attempts a leader tells its caller of again after a
// restart: those that followed each other without it.
const keepConcluded = maxTries

// judge decides the attempt if it can be decided now.
func (l *Leader) judge() {
	t := l.tally
	root, elected := t.elected()
	switch {
	case !elected:
	case t.seen(root) && !t.anyoneConvicted():
		l.decide(commit.Decision{Verdict: commit.Commit, Result: root}, nil)
		return
	case t.seen(root) || len(t.witness.Missing) > 0 || !t.witness.Root.IsZero():
		t.doom(l.now) // elected is what must not be, or what this node does not see
	}
	if !t.winnable() || l.anyoneLost() {
		t.doom(l.now)
	}
	switch {
	case t.set.Set.IsZero() && l.now >= t.start+t.due.commit():
		l.abort(func(i int) bool { return t.commitments[i].IsZero() })
	case l.now >= t.start+t.due.decide():
		l.abort(func(i int) bool { return t.votes[i].IsZero() })
	case t.doomed != Never && (l.now >= t.doomed+t.due.grace() || t.allVoted()):
		l.abort(func(i int) bool { return t.votes[i].IsZero() && t.lostSince[i] != Never })
	}
}

// seen reports whether the observer on this node, if there is one, holds the
// result with this root. Without that, members that all lie could certify bytes
// that nobody has.
func (t *tally) seen(root merkle.Digest) bool {
	return !t.roster.Observes(t.msg.Roster.Signer()) || t.witness.Root == root
}

// anyoneConvicted reports whether a member is proved wrong: nothing of it must be
// averaged, however many voted for that.
func (t *tally) anyoneConvicted() bool {
	return slices.ContainsFunc(t.convicted, func(k commit.Kind) bool { return k != 0 })
}

// elected returns the root that more than two thirds of the members voted for.
func (t *tally) elected() (merkle.Digest, bool) {
	for _, v := range t.votes {
		if v.Doc().OK && t.count(v.Doc().Result) >= t.roster.Quorum() {
			return v.Doc().Result, true
		}
	}
	return merkle.Digest{}, false
}

func (t *tally) count(root merkle.Digest) (k int) {
	for _, v := range t.votes {
		if v.Doc().OK && v.Doc().Result == root {
			k++
		}
	}
	return k
}

// winnable reports whether the votes that are still out could elect a root.
func (t *tally) winnable() bool {
	best, out := 0, 0
	for _, v := range t.votes {
		if v.IsZero() {
			out++
		} else if v.Doc().OK {
			best = max(best, t.count(v.Doc().Result))
		}
	}
	return best+out >= t.roster.Quorum()
}

func (t *tally) allVoted() bool {
	return !slices.ContainsFunc(t.votes, func(v commit.Signed[commit.Vote]) bool { return v.IsZero() })
}

// anyoneLost reports whether a member that has not voted is gone for too long.
func (l *Leader) anyoneLost() bool {
	t := l.tally
	for i, since := range t.lostSince {
		if since != Never && t.votes[i].IsZero() && l.now >= since+t.due.lost() {
			return true
		}
	}
	return false
}

// abort decides ABORT; silent tells which members did not answer in time.
func (l *Leader) abort(silent func(i int) bool) {
	t := l.tally
	n := len(t.roster.Members)
	w := testimony{convicted: slices.Clone(t.convicted), silent: make([]bool, n), voted: make([]*commit.Vote, n), witness: t.witness.Root}
	for i := range n {
		w.silent[i] = silent(i)
		if !t.votes[i].IsZero() {
			v := t.votes[i].Doc()
			w.voted[i] = &v
		}
	}
	for _, uid := range t.witness.Missing { // the validator's own word
		if i := t.roster.IndexUID(uid); i >= 0 && w.convicted[i] == 0 && !excused(w, i) {
			w.convicted[i] = commit.Stalled
		}
	}
	w.accusation = slices.Clone(t.accusations)
	slices.SortFunc(w.accusation, func(a, b accusation) int {
		return cmp.Or(cmp.Compare(a.by, b.by), cmp.Compare(a.against, b.against))
	})
	for _, m := range t.roster.Members {
		w.uids = append(w.uids, m.UID)
	}
	w.charges = l.charges
	out, undecided := exclude(w)
	l.charge(undecided)
	t.undecided = len(undecided) > 0
	var excluded []commit.Exclusion
	for i, k := range out {
		if k != 0 {
			excluded = append(excluded, commit.Exclusion{UID: t.roster.Members[i].UID, Kind: k})
		}
		if k.Provable() || k == commit.Expelled {
			l.bar(t.roster.Members[i].UID)
		}
	}
	for _, uid := range l.barred { // also those of earlier attempts: one decision tells all
		if t.roster.IndexUID(uid) < 0 {
			excluded = append(excluded, commit.Exclusion{UID: uid, Kind: commit.Expelled})
		}
	}
	slices.SortFunc(excluded, func(a, b commit.Exclusion) int { return cmp.Compare(a.UID, b.UID) })
	l.decide(commit.Decision{Verdict: commit.Abort, Excluded: excluded}, out)
}

// charge remembers accusations that nothing decided.
func (l *Leader) charge(undecided []accusation) {
	r := l.tally.roster
	for _, a := range undecided {
		c := charge{r.Epoch, r.Members[a.by].UID, r.Members[a.against].UID}
		if l.cfg.mutant != forgetCharges {
			l.charges = append(l.charges, c)
		}
	}
	l.charges = slices.DeleteFunc(l.charges, func(c charge) bool { return c.epoch+keepCharges <= r.Epoch })
	l.charges = slices.Delete(l.charges, 0, max(0, len(l.charges)-maxCharges))
}

// decide makes the one decision of the attempt durable, tells everybody, and
// goes on. out are the members excluded from the next attempt.
func (l *Leader) decide(d commit.Decision, out []commit.Kind) {
	t := l.tally
	d.Fingerprint, d.RunID = t.roster.Fingerprint, t.roster.RunID
	d.Epoch, d.Attempt, d.Roster = t.roster.Epoch, t.roster.Attempt, t.id
	d.Tokens = t.roster.Tokens()
	for _, m := range t.roster.Members {
		d.Members = append(d.Members, m.UID)
	}
	signature := []commit.Signed[commit.Decision]{commit.Seal(d, l.cfg.Key)}
	c, err := l.cfg.Validators.Certify(signature)
	if err != nil {
		l.do(Refused{fault.Errorf(fault.Unexpected, "decision: one signature is not enough here: %w", err)})
		return
	}
	if len(t.evidence) > 0 {
		l.do(Convicted{d.Epoch, t.evidence})
	}
	if l.cfg.mutant != forgetDocuments {
		l.journal(t.documents())
	}
	l.do(Append{Record{RecordCertificate, c.Certificate().Signatures}})
	l.settled(verdict{c, signature})
	for _, p := range l.peers.ids {
		l.send(p, DecisionMessage{d.Roster, signature})
	}
	shrunk := slices.ContainsFunc(out, func(k commit.Kind) bool { return k != 0 })
	retry := d.Verdict == commit.Abort && shrunk && l.tries < maxTries
	concluded := t.concluded(c, retry)
	l.keep(concluded)
	l.do(concluded)
	if d.Verdict == commit.Commit {
		return
	}
	l.drop(t.roster, out)
	if retry {
		l.attempt(t.roster.Epoch)
		return
	}
	reason := "nobody can be excluded"
	switch {
	case shrunk:
		reason = "three attempts failed"
	case t.undecided:
		reason = "one member's word stands against another's"
	}
	l.pause(t.roster.Epoch, t.roster.Attempt, reason)
}

// journal appends a record, unless it is empty.
func (l *Leader) journal(r Record) {
	if len(r.Envelopes) > 0 {
		l.do(Append{r})
	}
}

// keep holds on to the end of an attempt until the caller opens the next one,
// which it does when it has made the documents durable.
func (l *Leader) keep(c Concluded) {
	l.past = append(l.past, c)
	l.past = slices.Delete(l.past, 0, max(0, len(l.past)-keepConcluded))
}

// verdict is a decision as the leader keeps it, ready to be sent again.
type verdict struct {
	commit.Certified
	signatures []commit.Signed[commit.Decision]
}

func (v verdict) message() DecisionMessage {
	return DecisionMessage{v.Decision().Roster, v.signatures}
}

// settled takes a decision into the leader's memory.
func (l *Leader) settled(v verdict) {
	d := v.Decision()
	l.tally = nil
	l.decided = append(l.decided, v)
	if d.Verdict == commit.Commit {
		l.committed = v
		l.barred, l.field, l.until = nil, nil, Never
	} else {
		for _, e := range d.Excluded {
			if e.Kind.Provable() || e.Kind == commit.Expelled {
				l.bar(e.UID)
			}
		}
	}
	l.decided = slices.Delete(l.decided, 0, max(0, len(l.decided)-keepDecisions))
}

// drop takes members out of the field.
func (l *Leader) drop(r commit.Roster, out []commit.Kind) {
	l.field = slices.DeleteFunc(l.field, func(c Candidate) bool {
		i := r.IndexUID(c.Claim.Doc().UID)
		return i >= 0 && out[i] != 0
	})
}

func (l *Leader) bar(uid uint32) {
	if i, ok := slices.BinarySearch(l.barred, uid); !ok {
		l.barred = slices.Insert(l.barred, i, uid)
	}
}

func (l *Leader) isBarred(uid uint32) bool {
	_, ok := slices.BinarySearch(l.barred, uid)
	return ok
}

func (l *Leader) epochCommitted() uint64 {
	if l.committed.IsZero() {
		return l.cfg.Epoch
	}
	return max(l.cfg.Epoch, l.committed.Decision().Epoch)
}

func sortedByUID(c []Candidate) []Candidate {
	c = slices.Clone(c)
	slices.SortStableFunc(c, func(a, b Candidate) int { return cmp.Compare(a.Claim.Doc().UID, b.Claim.Doc().UID) })
	return c
}

func (t *tally) concluded(c commit.Certified, retry bool) Concluded {
	return Concluded{
		Certified: c, Roster: t.msg.Roster, Claims: t.msg.Claims, Set: t.set.Set,
		Commitments: present(t.commitments), Openings: present(t.openings), Receipts: present(t.receipts), Votes: present(t.votes),
		Complaints: t.complaints, Evidence: t.evidence, Retry: retry,
	}
}

// present returns the documents that came.
func present[T commit.Document](s []commit.Signed[T]) []commit.Signed[T] {
	var out []commit.Signed[T]
	for _, d := range s {
		if !d.IsZero() {
			out = append(out, d)
		}
	}
	return out
}
