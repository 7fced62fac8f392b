package reduce

import (
	"testing"

	"lockstep/internal/merkle"
	"lockstep/internal/spec"
	"lockstep/reduce/commit"
)

// commitOf is a COMMIT that the leader signed.
func (s *stage) commitOf(run spec.RunID, epoch uint64) DecisionMessage {
	d := commit.Decision{
		Fingerprint: s.leader.Fingerprint, RunID: run, Epoch: epoch, Attempt: 1,
		Roster: merkle.Digest{1}, Verdict: commit.Commit, Result: merkle.Digest{2},
	}
	return DecisionMessage{d.Roster, []commit.Signed[commit.Decision]{commit.Seal(d, s.leader.Key)}}
}

// TestDecisionsOfOtherRunsAreIgnored replays what the validator signed in another
// run of the same spec. Members and observers stand at epoch 4.
func TestDecisionsOfOtherRunsAreIgnored(t *testing.T) {
	s := newStage(2)
	leader, other, ours := s.leader.self(), s.config[1].self(), s.leader.RunID
	for _, tt := range []struct {
		name string
		from bool // the leader itself brings it
		run  spec.RunID
		at   uint64
		want bool
	}{
		{"the next epoch of another run", true, spec.RunID{8}, 5, false},
		{"a later epoch of another run", true, spec.RunID{8}, 7, false},
		{"the next epoch, from a peer", false, ours, 5, true},
		{"the next epoch", true, ours, 5, true},
		{"a later epoch, from a peer", false, ours, 6, false},
		{"a later epoch", true, ours, 6, true},
		{"an epoch that is over", true, ours, 4, false},
	} {
		from := other
		if tt.from {
			from = leader
		}
		observer, err := NewObserver(s.config[0])
		if err != nil {
			t.Fatal(err)
		}
		for role, m := range map[string]Machine{"member": s.member(t, 0), "observer": observer} {
			out := m.Step(0, Arrival{from, s.commitOf(tt.run, tt.at)})
			if got := len(find[CatchUp](out)) > 0; got != tt.want {
				t.Errorf("%s, %s: taken %v, want %v", tt.name, role, got, tt.want)
			}
		}
	}
}

// TestRostersOfOtherRunsAreIgnored: a roster counts in its own run only, and a
// claim in none but its own.
func TestRostersOfOtherRunsAreIgnored(t *testing.T) {
	s := newStage(2)
	roster := s.roster(t)
	m := s.member(t, 0)
	m.Step(0, Freeze{s.claims[0], s.grads[0], s.leaves[0]})
	d := roster.Roster.Doc()
	d.RunID = spec.RunID{8}
	m.Step(0, Arrival{s.leader.self(), RosterMessage{commit.Seal(d, s.leader.Key), roster.Claims}})
	if _, in := m.Current(); in {
		t.Error("a member joins a roster of another run")
	}
	m.Step(0, Arrival{s.leader.self(), roster})
	if _, in := m.Current(); !in {
		t.Error("a member does not join the roster of its run")
	}

	l := s.newLeader(t)
	e := s.open()
	past := e.Candidates[1].Claim.Doc()
	past.RunID = spec.RunID{8}
	e.Candidates[1].Claim = commit.Seal(past, s.config[1].Key)
	out := l.Step(0, e)
	r, in := l.Current()
	if len(find[Refused](out)) != 1 || !in || len(r.Doc().Members) != 1 {
		t.Errorf("a claim of another run is averaged: %+v", r.Doc().Members)
	}
}

// TestOwnersDifferBetweenRuns: who reduces what in a run cannot be read off an
// earlier run with the same keys.
func TestOwnersDifferBetweenRuns(t *testing.T) {
	s := newStage(1)
	other := s.leader
	other.RunID = spec.RunID{8}
	if a, b := s.leader.ownerSeed(5, 1), other.ownerSeed(5, 1); a == b || a != s.leader.ownerSeed(5, 1) {
		t.Errorf("seeds of two runs: %d and %d", a, b)
	}
}
