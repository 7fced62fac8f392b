package reduce

import (
	"lockstep/internal/fault"
	"lockstep/reduce/commit"
)

// restore replays one record of the journal.
func (l *Leader) restore(r Record) error {
	switch r.Kind {
	case RecordRoster:
		return l.restoreRoster(r)
	case RecordSet:
		return l.restoreSet(r)
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

// Records implements Machine: the newest COMMIT, the newest decision, and the
// roster and set of an undecided attempt.
func (l *Leader) Records() []Record {
	var out []Record
	if !l.committed.IsZero() {
		out = append(out, Record{RecordCertificate, l.committed.Certificate().Signatures})
	}
	if k := len(l.decided); k > 0 && l.decided[k-1].Decision().Verdict == commit.Abort {
		out = append(out, Record{RecordCertificate, l.decided[k-1].Certificate().Signatures})
	}
	if t := l.tally; t != nil {
		out = append(out, record(RecordRoster, t.msg.Roster, t.msg.Claims))
		if !t.set.Set.IsZero() {
			out = append(out, record(RecordSet, t.set.Set, t.commitments))
		}
	}
	return out
}
