package reduce

import (
	"slices"
	"testing"
	"time"

	"lockstep/internal/merkle"
	"lockstep/reduce/commit"
)

// opened brings a leader to where its members open: the set is fixed.
func (s *stage) opened(t *testing.T, journal ...Record) (l *Leader, id merkle.Digest) {
	t.Helper()
	l = s.newLeader(t, journal...)
	for i := range s.config {
		l.Step(0, Connected{s.config[i].self()})
	}
	l.Step(0, s.open())
	id = l.tally.id
	for i := range s.config {
		l.Step(0, Arrival{s.config[i].self(), CommitmentMessage{s.commitment(id, i)}})
	}
	if l.tally.set.Set.IsZero() {
		t.Fatal("the commitments do not make a set")
	}
	return l, id
}

func (s *stage) commitment(id merkle.Digest, i int) commit.Signed[commit.Commitment] {
	c := s.claims[i].Doc()
	return commit.Seal(commit.Commitment{
		Roster: id, UID: c.UID, Claim: s.claims[i].Digest(), Tokens: c.Tokens,
		Hash: commit.Hash(id, s.config[i].self(), s.config[i].salt(id), c.Gradient),
	}, s.config[i].Key)
}

// opening is what member i shows, after a change.
func (s *stage) opening(id merkle.Digest, i int, change func(*commit.Opening)) Arrival {
	c := s.claims[i].Doc()
	o := commit.Opening{Roster: id, UID: c.UID, Claim: s.claims[i].Digest(), Root: c.Gradient, Salt: s.config[i].salt(id)}
	change(&o)
	return Arrival{s.config[i].self(), OpeningMessage{Opening: commit.Seal(o, s.config[i].Key)}}
}

// vote is member i's vote for a result.
func (s *stage) vote(id merkle.Digest, i int, result merkle.Digest) Arrival {
	v := commit.Vote{Roster: id, Epoch: 5, Attempt: 1, UID: uint32(i), OK: true, Result: result, Reduced: true}
	return Arrival{s.config[i].self(), VoteMessage{Vote: commit.Seal(v, s.config[i].Key)}}
}

// receipt is member i's receipt for a result, after a change.
func (s *stage) receipt(id merkle.Digest, i int, change func(*commit.Receipt)) Arrival {
	r := commit.Receipt{Roster: id, UID: uint32(i)}
	change(&r)
	return Arrival{s.config[i].self(), ReceiptMessage{Receipt: commit.Seal(r, s.config[i].Key)}}
}

// TestNobodySpeaksForAnother: a document that names another seat than its
// signer's would stand in the ledger against whoever sits there.
func TestNobodySpeaksForAnother(t *testing.T) {
	s := newStage(3)
	l, id := s.opened(t)
	l.Step(0, s.opening(id, 1, func(o *commit.Opening) { o.UID = 2 }))
	l.Step(0, s.receipt(id, 1, func(r *commit.Receipt) { r.UID = 2 }))
	if !l.tally.openings[1].IsZero() || !l.tally.receipts[1].IsZero() {
		t.Error("uid 1 opens or signs for uid 2, and is heard")
	}
	l.Step(0, s.opening(id, 1, func(*commit.Opening) {}))
	l.Step(0, s.receipt(id, 1, func(*commit.Receipt) {}))
	if l.tally.openings[1].IsZero() || l.tally.receipts[1].IsZero() || l.tally.convicted[1] != 0 {
		t.Error("uid 1 is not heard for itself")
	}
}

// TestConvictedIsNotAveraged: who opens to the validator otherwise than it
// committed is not in a COMMIT, although all members vote for the result; nor
// after a crash in which only the opening was kept.
func TestConvictedIsNotAveraged(t *testing.T) {
	s := newStage(3)
	result := merkle.Digest{9}
	end := func(l *Leader, id merkle.Digest) (out []Concluded) {
		for i := range s.config {
			out = append(out, find[Concluded](l.Step(0, s.vote(id, i, result)))...)
		}
		return out
	}
	honest, id := s.opened(t)
	honest.Step(0, s.opening(id, 1, func(*commit.Opening) {}))
	if c := end(honest, id); len(c) != 1 || c[0].Certified.Decision().Verdict != commit.Commit {
		t.Fatal("an honest round is not committed")
	}
	check := func(how string, c []Concluded) {
		t.Helper()
		if len(c) == 0 || c[0].Certified.Decision().Verdict != commit.Abort {
			t.Fatalf("%s: the round is not aborted", how)
		}
		if x := c[0].Certified.Decision().Excluded; !slices.Equal(x, []commit.Exclusion{{UID: 1, Kind: commit.Recommit}}) || len(c[0].Evidence) != 1 {
			t.Errorf("%s: excluded are %v, with %d pieces of evidence", how, x, len(c[0].Evidence))
		}
	}
	l, id := s.opened(t)
	l.Step(0, s.opening(id, 1, func(o *commit.Opening) { o.Salt[0]++ }))
	kept := l.Records()
	check("a false opening", end(l, id))

	again := s.newLeader(t, kept...)
	again.Step(0, Tick{})
	check("after a crash", append(end(again, id), find[Concluded](again.Step(time.Hour, Tick{}))...))
}

// TestOldEvidenceConvictsNobody: what a member did in another attempt was decided
// there; said again, it must not keep the member out for ever.
func TestOldEvidenceConvictsNobody(t *testing.T) {
	s := newStage(3)
	l, id := s.opened(t)
	proof := func(roster commit.Signed[commit.Roster], of merkle.Digest) Arrival {
		r := func(x byte) commit.Signed[commit.Receipt] {
			return commit.Seal(commit.Receipt{Roster: of, UID: 1, Result: merkle.Digest{x}}, s.config[1].Key)
		}
		return Arrival{s.config[2].self(), EvidenceMessage{id, commit.Evidence{
			Kind: commit.Equivocation, Roster: roster.Envelope(), First: r(1).Envelope(), Second: r(2).Envelope(),
		}}}
	}
	old := l.tally.roster
	old.Epoch, old.Attempt = 4, 1
	past := commit.Seal(old, s.leader.Key)
	l.Step(0, proof(past, past.Digest()))
	l.Step(0, proof(l.tally.msg.Roster, past.Digest())) // under this attempt's roster
	if l.tally.convicted[1] != 0 || len(l.tally.evidence) != 0 {
		t.Errorf("uid 1 is convicted of %v for an attempt that is over", l.tally.convicted[1])
	}
	l.Step(0, proof(l.tally.msg.Roster, id))
	if l.tally.convicted[1] != commit.Equivocation {
		t.Error("evidence of this attempt convicts nobody")
	}
}
