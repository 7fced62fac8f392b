package reduce

import (
	"slices"
	"strings"
	"testing"
	"time"

	"lockstep/reduce/commit"
)

func TestLeaderChecksOpens(t *testing.T) {
	s := newStage(3)
	if r := find[Refused](s.newLeader(t).Step(0, Open{Epoch: 9})); len(r) != 1 {
		t.Error("an epoch out of turn is opened")
	}
	e := s.open()
	twice := e.Candidates[1]
	wrong := twice.Claim.Doc()
	wrong.Base[0]++
	e.Candidates = append(e.Candidates, twice, Candidate{Claim: commit.Seal(wrong, s.config[1].Key)}, Candidate{})
	wrong = twice.Claim.Doc()
	wrong.UID = 17
	e.Candidates = append(e.Candidates, Candidate{Claim: commit.Seal(wrong, s.config[1].Key)})
	out := s.newLeader(t).Step(0, e)
	if r := find[Refused](out); len(r) != 4 {
		t.Errorf("%d of 4 bad candidates are refused: %v", len(r), r)
	}
	if m := find[Send](out)[0].Message.(RosterMessage).Roster.Doc().Members; len(m) != 3 {
		t.Errorf("the roster has %d members", len(m))
	}
	far := s.open()
	far.Candidates[0].Address = strings.Repeat("a", commit.MaxAddress+1)
	out = s.newLeader(t).Step(0, far)
	if r := find[Refused](out); len(r) != 1 {
		t.Errorf("an address that no roster can hold: %v", r)
	}
	if m := find[Send](out)[0].Message.(RosterMessage).Roster.Doc().Members; len(m) != 2 {
		t.Errorf("the roster has %d members, one of whom cannot be in it", len(m))
	}
	few := s.newLeader(t)
	few.cfg.MinGroup = 4
	if st := find[Stalled](few.Step(0, s.open())); len(st) != 1 || st[0].Until != few.cfg.Backoff {
		t.Errorf("too few members: %v", st)
	}
	if r := find[Reopen](few.Step(few.cfg.Backoff, Tick{})); len(r) != 1 || r[0].Epoch != 5 {
		t.Errorf("after the pause: %v", r)
	}
}

// TestExpelledStaysOut: a claim found false ends the attempt, and its member is
// not in the next ones, nor after a restart.
func TestExpelledStaysOut(t *testing.T) {
	s := newStage(3)
	l := s.newLeader(t)
	for i := range s.config {
		l.Step(0, Connected{s.config[i].self()})
	}
	var journal []Record
	keep := func(out []Action) []Action {
		for _, a := range find[Append](out) {
			journal = append(journal, a.Record)
		}
		return out
	}
	keep(l.Step(0, s.open()))
	keep(l.Step(0, Expel{Epoch: 5, UID: 1}))
	out := keep(l.Step(l.Next(), Tick{}))
	concluded := find[Concluded](out)
	if len(concluded) != 1 || !concluded[0].Retry {
		t.Fatalf("after Expel: %v", concluded)
	}
	if d := concluded[0].Certified.Decision(); len(d.Excluded) != 1 || d.Excluded[0] != (commit.Exclusion{UID: 1, Kind: commit.Expelled}) {
		t.Errorf("excluded: %v", d.Excluded)
	}
	members := func(out []Action) (uids []uint32) {
		for _, a := range find[Send](out) {
			if r, ok := a.Message.(RosterMessage); ok {
				for _, m := range r.Roster.Doc().Members {
					uids = append(uids, m.UID)
				}
				return uids
			}
		}
		return nil
	}
	if got := members(out); !slices.Equal(got, []uint32{0, 2}) {
		t.Errorf("the next attempt has members %v", got)
	}
	again := s.newLeader(t, journal...)
	again.Step(0, s.open()) // ignored: the second attempt is open
	if r, ok := again.Current(); !ok || r.Doc().Attempt != 2 {
		t.Error("the restarted leader is not in the second attempt")
	}
	again.Step(time.Hour, Tick{})
	again.Step(time.Hour, Tick{}) // nobody answers: everybody is silent
	if got := members(again.Step(2*time.Hour, s.open())); !slices.Equal(got, []uint32{0, 2}) {
		t.Errorf("after a restart the third attempt has members %v", got)
	}
}

// TestAbortedRoundsLeaveNothing runs thousands of attempts that come to nothing.
func TestAbortedRoundsLeaveNothing(t *testing.T) {
	s := newStage(2)
	leader := s.leader.self()
	m := s.member(t, 0)
	m.Step(0, Freeze{s.claims[0], s.grads[0], s.leaves[0]})
	l := s.newLeader(t)
	now := time.Duration(0)
	for range 3000 {
		now += time.Hour
		var roster RosterMessage
		for _, a := range find[Send](l.Step(now, s.open())) {
			if r, ok := a.Message.(RosterMessage); ok {
				roster = r
			}
		}
		m.Step(now, Arrival{leader, roster})
		if r, ok := m.Current(); !ok || r.Digest() != roster.Roster.Digest() {
			t.Fatal("the member does not join")
		}
		now += time.Hour
		for _, a := range find[Send](l.Step(now, Connected{m.self})) { // the time was up
			m.Step(now, Arrival{leader, a.Message})
		}
		if m.round != nil && m.round.id == roster.Roster.Digest() {
			t.Fatal("the member was not told of the abort")
		}
		l.Step(now, Disconnected{m.self})
	}
	if len(l.decided) > keepDecisions || len(l.Records()) > 4 || len(m.Records()) > 2 || len(m.slots) > m.cfg.Window {
		t.Errorf("left: %d decisions, %d and %d records, %d buffers", len(l.decided), len(l.Records()), len(m.Records()), len(m.slots))
	}
}
