package reduce

import (
	"bytes"

	"lockstep/internal/signed"
	"lockstep/reduce/commit"
)

// commitment collects what binds member i, and fixes the set when all are in.
func (l *Leader) commitment(i int, msg CommitmentMessage) {
	t, c := l.tally, msg.Commitment
	switch {
	case c.Signer() != t.roster.Members[i].Peer:
		return
	case !t.commitments[i].IsZero():
		if c.Digest() != t.commitments[i].Digest() {
			l.equivocated(i, t.commitments[i].Envelope(), c.Envelope())
		} else if !t.set.Set.IsZero() {
			l.send(c.Signer(), t.set)
		}
		return
	case !commitmentFits(t.roster, t.id, i, c):
		l.evidence(i, commit.Evidence{Kind: commit.Recommit, Roster: t.msg.Roster.Envelope(), First: c.Envelope()})
		return
	}
	t.commitments[i] = c
	set := commit.Set{Roster: t.id}
	for _, c := range t.commitments {
		if c.IsZero() {
			return
		}
		set.Commitments = append(set.Commitments, c.Digest())
	}
	t.set = SetMessage{commit.Seal(set, l.cfg.Key), t.commitments}
	l.do(Append{record(RecordSet, t.set.Set, t.commitments)})
	l.do(Entered{t.roster.Epoch, t.roster.Attempt, PhaseOpen})
	for _, m := range t.roster.Members {
		l.send(m.Peer, t.set)
	}
}

func (l *Leader) equivocated(by int, first, second signed.Envelope) {
	t := l.tally
	if l.cfg.mutant == forgiveEquivocation {
		return
	}
	l.evidence(by, commit.Evidence{Kind: commit.Equivocation, Roster: t.msg.Roster.Envelope(), First: first, Second: second})
}

// opening checks what member i shows.
func (l *Leader) opening(i int, msg OpeningMessage) {
	t := l.tally
	m := t.roster.Members[i]
	if t.set.Set.IsZero() || msg.Opening.Signer() != m.Peer || msg.Opening.Doc().UID != m.UID {
		return
	}
	if known := t.openings[i]; !known.IsZero() {
		if known.Digest() != msg.Opening.Digest() {
			l.equivocated(i, known.Envelope(), msg.Opening.Envelope())
		}
		return
	}
	if !t.opened(i, msg.Opening) {
		t.doom(l.now)
	}
}

// opened keeps what member i shows, and reports whether it is what it claimed and
// committed to. Else the member is convicted.
func (t *tally) opened(i int, o commit.Signed[commit.Opening]) bool {
	t.openings[i] = o
	if o.Doc().Opens(t.commitments[i].Doc(), t.roster.Members[i]) {
		return true
	}
	t.convict(recommitted(t.msg.Roster, o, t.commitments[i]))
	return false
}

// receipt keeps the first receipt of an owner and compares later ones with it,
// whoever brings them.
func (l *Leader) receipt(by int, r commit.Signed[commit.Receipt]) {
	t := l.tally
	i := t.roster.Index(r.Signer())
	switch {
	case i < 0 || r.Doc().Roster != t.id || r.Doc().UID != t.roster.Members[i].UID:
	case t.receipts[i].IsZero():
		t.receipts[i] = r
	case t.receipts[i].Digest() != r.Digest():
		l.equivocated(by, t.receipts[i].Envelope(), r.Envelope())
	}
}

// vote counts the first vote of member i.
func (l *Leader) vote(i int, msg VoteMessage) {
	t, v := l.tally, msg.Vote
	d := v.Doc()
	if v.Signer() != t.roster.Members[i].Peer || d.UID != t.roster.Members[i].UID ||
		d.Epoch != t.roster.Epoch || d.Attempt != t.roster.Attempt || t.set.Set.IsZero() {
		return
	}
	if known := t.votes[i]; !known.IsZero() {
		if known.Digest() != v.Digest() {
			l.equivocated(i, known.Envelope(), v.Envelope())
		}
		return
	}
	t.hear(i, v, l.now)
	l.attached(i, msg.Receipts)
}

// attached compares the receipts that a voter saw with those known here.
func (l *Leader) attached(by int, receipts []signed.Envelope) {
	t := l.tally
	for _, e := range receipts {
		if t.knows(e) {
			continue
		}
		if r, err := commit.Open[commit.Receipt](e); err == nil {
			l.receipt(by, r)
		}
	}
}

func (t *tally) knows(e signed.Envelope) bool {
	for _, r := range t.receipts {
		if bytes.Equal(r.Envelope(), e) {
			return true
		}
	}
	return false
}

// complaint hears member i against another: the word of one stands against that
// of the other.
func (l *Leader) complaint(i int, msg ComplaintMessage) {
	t := l.tally
	d := msg.Complaint.Doc()
	against := t.roster.IndexUID(d.Blame.UID)
	if msg.Complaint.Signer() != t.roster.Members[i].Peer || d.UID != t.roster.Members[i].UID || against < 0 {
		return
	}
	for _, c := range t.complaints { // one of each about each
		if c.Signer() == msg.Complaint.Signer() && c.Doc().Blame.UID == d.Blame.UID {
			return
		}
	}
	t.complaints = append(t.complaints, msg.Complaint)
	t.accuse(i, d.Blame)
}

// evidence counts by itself, whichever member brings it.
func (l *Leader) evidence(by int, e commit.Evidence) {
	t := l.tally
	if t.judged[by]++; t.judged[by] <= maxJudged && t.convict(e) {
		t.doom(l.now)
	}
}

// observed hears observers: what they can prove, and what the one on this node
// has seen.
func (l *Leader) observed(from signed.PeerID, msg Message) {
	if !l.tally.roster.Observes(from) {
		return
	}
	switch msg := msg.(type) {
	case EvidenceMessage:
		if l.tally.convict(msg.Evidence) {
			l.tally.doom(l.now)
		}
	case WitnessMessage:
		if from == l.self {
			l.tally.witness = msg
		}
	}
}
