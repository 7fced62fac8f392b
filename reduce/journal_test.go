package reduce

import (
	"slices"
	"testing"
	"time"

	"lockstep/internal/fault"
	"lockstep/internal/merkle"
	"lockstep/internal/signed"
	"lockstep/internal/spec"
	"lockstep/reduce/commit"
)

// TestMemberRemembersItsVote: after a crash a member repeats the vote that its
// journal holds; it may make its part once more for the others, but never votes
// again.
func TestMemberRemembersItsVote(t *testing.T) {
	s := newStage(1)
	roster := s.roster(t)
	leader := s.leader.self()
	m := s.member(t, 0)
	m.Step(0, Freeze{s.claims[0], s.grads[0], s.leaves[0]})
	c := find[Send](m.Step(0, Arrival{leader, roster}))[0].Message.(CommitmentMessage).Commitment
	set := commit.Set{Roster: roster.Roster.Digest(), Commitments: []merkle.Digest{c.Digest()}}
	out := m.Step(0, Arrival{leader, SetMessage{commit.Seal(set, s.leader.Key), []commit.Signed[commit.Commitment]{c}}})
	var journal []Record
	var vote commit.Signed[commit.Vote]
	for _, a := range out {
		switch a := a.(type) {
		case Append:
			journal = append(journal, a.Record)
		case Send:
			if v, ok := a.Message.(VoteMessage); ok {
				if len(journal) != 1 {
					t.Error("the vote is sent before it is in the journal")
				}
				vote = v.Vote
			}
		}
	}
	if !vote.Doc().OK {
		t.Fatal("a group of one does not vote ok")
	}
	votes := func(m *Member, e Event) (n int) {
		for _, a := range m.Step(time.Second, e) {
			switch a := a.(type) {
			case Append:
				t.Error("the member writes another vote")
			case Send:
				if v, ok := a.Message.(VoteMessage); ok && v.Vote.Digest() == vote.Digest() {
					n++
				} else if ok {
					t.Errorf("the member votes again: %+v", v.Vote.Doc())
				}
			}
		}
		return n
	}
	again := s.member(t, 0, journal...)
	if votes(again, Connected{leader}) == 0 || votes(again, Arrival{leader, roster}) == 0 {
		t.Error("the restarted member does not repeat its vote")
	}
	if _, in := again.Current(); in {
		t.Error("it joins without its gradient")
	}
	votes(again, Freeze{s.claims[0], s.grads[0], s.leaves[0]})
	if _, in := again.Current(); !in {
		t.Error("it does not join once it has its gradient")
	}
	if votes(again, Arrival{leader, SetMessage{commit.Seal(set, s.leader.Key), []commit.Signed[commit.Commitment]{c}}}) == 0 {
		t.Error("its part made again, it does not repeat its vote")
	}
	abort := commit.Decision{Fingerprint: s.leader.Fingerprint, RunID: s.leader.RunID, Epoch: 5, Attempt: 1, Roster: set.Roster, Verdict: commit.Abort}
	again.Step(time.Second, Arrival{leader, DecisionMessage{set.Roster, []commit.Signed[commit.Decision]{commit.Seal(abort, s.leader.Key)}}})
	if len(again.Records()) != 0 || again.locked {
		t.Error("the decision does not free the member")
	}
	forgetful := s.member(t, 0)
	forgetful.Step(0, Freeze{s.claims[0], s.grads[0], s.leaves[0]})
	forgetful.Step(0, Arrival{leader, roster})
	forgetful.round.failed = true
	out = forgetful.Step(time.Hour, Arrival{leader, SetMessage{commit.Seal(set, s.leader.Key), []commit.Signed[commit.Commitment]{c}}})
	if v := find[Append](out); len(v) != 1 || slices.Equal(v[0].Record.Envelopes[0], vote.Envelope()) {
		t.Error("this test proves nothing: a member without a journal would not vote otherwise")
	}
}

// TestJournalsOfOthersAreRefused: a node does not wake up as somebody else.
func TestJournalsOfOthersAreRefused(t *testing.T) {
	s := newStage(2)
	roster := s.roster(t)
	vote := commit.Seal(commit.Vote{Roster: roster.Roster.Digest(), Epoch: 5, Attempt: 1, UID: 1}, s.config[1].Key)
	foreign := commit.Seal(roster.Roster.Doc(), s.config[0].Key)
	other, past := roster.Roster.Doc(), commit.Decision{Fingerprint: s.leader.Fingerprint, RunID: spec.RunID{8}, Epoch: 5, Attempt: 1, Verdict: commit.Abort}
	other.RunID = past.RunID
	records := map[string]Record{
		"another run's decision": {RecordCertificate, []signed.Envelope{commit.Seal(past, s.leader.Key).Envelope()}},
		"another's vote":         {RecordVote, []signed.Envelope{vote.Envelope()}},
		"a roster":               record(RecordRoster, roster.Roster, roster.Claims),
		"broken":                 {RecordVote, []signed.Envelope{{1}}},
		"broken certificate":     {RecordCertificate, []signed.Envelope{{1}}},
		"stranger's decision":    {RecordCertificate, []signed.Envelope{commit.Seal(commit.Decision{Epoch: 5, Attempt: 1, Verdict: commit.Abort}, s.config[1].Key).Envelope()}},
	}
	for name, r := range records {
		if _, err := NewMember(MemberConfig{s.config[0], 0}, []Record{r}); err == nil {
			t.Errorf("a member takes %s", name)
		}
	}
	delete(records, "a roster")
	records["another's roster"] = record(RecordRoster, foreign, roster.Claims)
	records["another run's roster"] = record(RecordRoster, commit.Seal(other, s.leader.Key), roster.Claims)
	records["a roster without claims"] = Record{RecordRoster, []signed.Envelope{roster.Roster.Envelope()}}
	records["a set without roster"] = Record{RecordSet, []signed.Envelope{commit.Seal(commit.Set{Commitments: []merkle.Digest{{1}}}, s.leader.Key).Envelope()}}
	stray := Record{RecordDocuments, []signed.Envelope{vote.Envelope()}}
	records["documents without roster"] = stray
	stray.Envelopes = append(stray.Envelopes, roster.Claims[0].Envelope())
	if _, err := NewLeader(LeaderConfig{Config: s.leader}, []Record{record(RecordRoster, roster.Roster, roster.Claims), stray}); fault.KindOf(err) != fault.Damaged {
		t.Errorf("a leader takes documents behind a roster that they do not name: %v", err)
	}
	for name, r := range records {
		if _, err := NewLeader(LeaderConfig{Config: s.leader}, []Record{r}); err == nil {
			t.Errorf("a leader takes %s", name)
		}
	}
	s.member(t, 1, Record{RecordVote, []signed.Envelope{vote.Envelope()}})
}

func TestRecordsRoundTrip(t *testing.T) {
	s := newStage(2)
	r := s.roster(t)
	rec := record(RecordRoster, r.Roster, r.Claims)
	got, err := ParseRecord(rec.Encode())
	if err != nil || got.Kind != RecordRoster || len(got.Envelopes) != 3 {
		t.Fatalf("%v, %v", got, err)
	}
	for name, b := range map[string][]byte{
		"empty":   nil,
		"garbage": {1, 2, 3},
		"kind 0":  Record{0, rec.Envelopes}.Encode(),
		"kind 9":  Record{9, rec.Envelopes}.Encode(),
		"nothing": Record{RecordVote, nil}.Encode(),
	} {
		if _, err := ParseRecord(b); fault.KindOf(err) != fault.Damaged {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzParseRecord(f *testing.F) {
	f.Add(Record{RecordVote, []signed.Envelope{{1, 2, 3}}}.Encode())
	f.Fuzz(func(t *testing.T, data []byte) {
		if r, err := ParseRecord(data); err == nil && !slices.Equal(r.Encode(), data) {
			t.Error("a record re-encodes to other bytes")
		}
	})
}
