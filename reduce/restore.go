package reduce

import (
	"slices"

	"lockstep/internal/fault"
	"lockstep/internal/merkle"
	"lockstep/internal/signed"
	"lockstep/reduce/commit"
)

// restore replays one record of the journal.
func (l *Leader) restore(r Record) error {
	switch r.Kind {
	case RecordRoster:
		return l.restoreRoster(r)
	case RecordSet:
		return l.restoreSet(r)
	case RecordDocuments:
		return l.restoreDocuments(r)
	case RecordCertificate:
		signatures, err := openAll[commit.Decision](r.Envelopes)
		if err != nil {
			return err
		}
		c, err := l.cfg.Validators.Certify(signatures)
		if err != nil {
			return err
		}
		d := c.Decision()
		if !l.cfg.ours(d.Fingerprint, d.RunID) {
			return foreign("decision", d.Fingerprint, d.RunID)
		}
		if l.tally != nil && l.tally.id == d.Roster {
			l.keep(l.tally.concluded(c, false))
			l.untold = true
		}
		l.settled(verdict{c, signatures})
		l.field = nil // the caller opens again, with who is alive now
		if at := (slot{d.Epoch, d.Attempt}); l.last.before(at) {
			l.last = at
		}
		l.until = Never
		if d.Verdict == commit.Abort {
			l.until = 0
		}
		return nil
	}
	return fault.Errorf(fault.Damaged, "journal: record %d does not belong to a leader", r.Kind)
}

func (l *Leader) restoreRoster(r Record) error {
	roster, err := commit.Open[commit.Roster](r.Envelopes[0])
	if err != nil {
		return err
	}
	claims, err := openAll[commit.Claim](r.Envelopes[1:])
	if err != nil {
		return err
	}
	doc := roster.Doc()
	if !l.cfg.ours(doc.Fingerprint, doc.RunID) {
		return foreign("roster", doc.Fingerprint, doc.RunID)
	}
	if err := quotesClaims(doc, claims); err != nil {
		return err
	}
	if roster.Signer() != l.self {
		return fault.Errorf(fault.Damaged, "journal: a roster of %s, this is %s", roster.Signer().Short(), l.self.Short())
	}
	if l.last.epoch < doc.Epoch {
		l.barred = nil
	}
	l.last = slot{doc.Epoch, doc.Attempt}
	l.base, l.observers, l.field = doc.Base, doc.Observers, nil
	for i, c := range claims {
		l.field = append(l.field, Candidate{c, doc.Members[i].Address})
	}
	l.tries = 1 // fewer than there were at most: the pause comes a little later
	l.tally, l.until = newTally(RosterMessage{roster, claims}), Never
	return nil
}

func (l *Leader) restoreSet(r Record) error {
	set, err := commit.Open[commit.Set](r.Envelopes[0])
	if err != nil {
		return err
	}
	commitments, err := openAll[commit.Commitment](r.Envelopes[1:])
	if err != nil {
		return err
	}
	msg := SetMessage{set, commitments}
	if l.tally == nil || set.Doc().Roster != l.tally.id || !setFits(l.tally.roster, msg) {
		return fault.Errorf(fault.Damaged, "journal: a set without its roster")
	}
	l.tally.set = msg
	copy(l.tally.commitments, commitments)
	return nil
}

// restoreDocuments takes back what members signed in the attempt.
func (l *Leader) restoreDocuments(r Record) error {
	t := l.tally
	if t == nil {
		return fault.Errorf(fault.Damaged, "journal: documents without their roster")
	}
	for _, e := range r.Envelopes {
		if v, i := signedUnder(t, e, func(v commit.Vote) merkle.Digest { return v.Roster }); i >= 0 {
			t.hear(i, v, 0)
		} else if rc, i := signedUnder(t, e, func(r commit.Receipt) merkle.Digest { return r.Roster }); i >= 0 {
			t.receipts[i] = rc
		} else if o, i := signedUnder(t, e, func(o commit.Opening) merkle.Digest { return o.Roster }); i >= 0 {
			t.opened(i, o)
		} else {
			return fault.Errorf(fault.Damaged, "journal: a document that is not of epoch %d, attempt %d", t.roster.Epoch, t.roster.Attempt)
		}
	}
	return nil
}

// signedUnder opens what a member signed under the attempt's roster; the position
// is -1 where it is no such document.
func signedUnder[T commit.Document](t *tally, e signed.Envelope, rosterOf func(T) merkle.Digest) (commit.Signed[T], int) {
	s, err := commit.Open[T](e)
	if err != nil || rosterOf(s.Doc()) != t.id {
		return s, -1
	}
	return s, t.roster.Index(s.Signer())
}

// Records implements Machine: the newest COMMIT, the newest decision, the
// attempts that the caller may not know of, and the undecided one.
func (l *Leader) Records() []Record {
	var out []Record
	certificate := func(c commit.Certified) { out = append(out, Record{RecordCertificate, c.Certificate().Signatures}) }
	alone := func(v verdict) bool {
		return !slices.ContainsFunc(l.past, func(c Concluded) bool { return c.Roster.Digest() == v.Decision().Roster })
	}
	if !l.committed.IsZero() && alone(l.committed) {
		certificate(l.committed.Certified)
	}
	if k := len(l.decided); k > 0 && l.decided[k-1].Decision().Verdict == commit.Abort && alone(l.decided[k-1]) {
		certificate(l.decided[k-1].Certified)
	}
	for _, c := range l.past {
		out = append(out, c.records()...)
		certificate(c.Certified)
	}
	if l.tally != nil {
		out = append(out, l.tally.concluded(commit.Certified{}, false).records()...)
	}
	return out
}

// records are the journal of an attempt up to its decision.
func (c Concluded) records() []Record {
	out := []Record{record(RecordRoster, c.Roster, c.Claims)}
	if !c.Set.IsZero() {
		out = append(out, record(RecordSet, c.Set, c.Commitments))
	}
	if r := c.documents(); len(r.Envelopes) > 0 {
		out = append(out, r)
	}
	return out
}

// documents is the record of what members signed in the attempt.
func (c Concluded) documents() Record {
	return Record{RecordDocuments, slices.Concat(envelopes(c.Votes), envelopes(c.Receipts), envelopes(c.Openings))}
}

func (t *tally) documents() Record { return t.concluded(commit.Certified{}, false).documents() }
