package swarm

import (
	"testing"

	"lockstep/internal/signed"
	"lockstep/reduce"
	"lockstep/reduce/commit"
)

// attemptOver is the end of an attempt with uids 0 and 1, of whom some are
// excluded.
func attemptOver(t *testing.T, epoch uint64, verdict commit.Verdict, out ...commit.Exclusion) reduce.Concluded {
	t.Helper()
	id, err := EnsureIdentity(t.TempDir() + "/key")
	if err != nil {
		t.Fatal(err)
	}
	r := commit.Seal(commit.Roster{Epoch: epoch, Members: []commit.Member{{UID: 0, Peer: peer(0)}, {UID: 1, Peer: peer(1)}}}, id.Key)
	d := commit.Decision{Epoch: epoch, Verdict: verdict, Roster: r.Digest(), Excluded: out}
	c, err := commit.Solo(id.Peer).Certify([]commit.Signed[commit.Decision]{commit.Seal(d, id.Key)})
	if err != nil {
		t.Fatal(err)
	}
	return reduce.Concluded{Certified: c, Roster: r}
}

func peer(uid byte) signed.PeerID { return signed.PeerID{1, uid} }

func TestSilentMembersRestLongerEachTime(t *testing.T) {
	var s stragglers
	silent := commit.Exclusion{UID: 1, Kind: commit.Silent}
	rests := func(epoch uint64, want bool) {
		t.Helper()
		if got := s.rests(peer(1), epoch); got != want {
			t.Errorf("epoch %d: rests is %v", epoch, got)
		}
		if s.rests(peer(0), epoch) {
			t.Errorf("epoch %d: one that was not silent rests", epoch)
		}
	}
	epoch := uint64(1)
	for _, rest := range []uint64{0, 1, 2, 4, 8, 16, 16} {
		for range 2 { // a second attempt of the same epoch does not count
			s.concluded(attemptOver(t, epoch, commit.Abort, silent))
		}
		rests(epoch, false) // within the epoch the decision leaves it out
		for e := epoch + 1; e <= epoch+rest; e++ {
			rests(e, true)
		}
		epoch += rest + 1
		rests(epoch, false)
	}
	s.concluded(attemptOver(t, epoch, commit.Commit))
	s.concluded(attemptOver(t, epoch+1, commit.Abort, silent))
	rests(epoch+2, false)
	for e := epoch + 2; e < epoch+5; e++ { // accused, not silent: others may be at fault
		s.concluded(attemptOver(t, e, commit.Abort, commit.Exclusion{UID: 1, Kind: commit.Missing}))
	}
	rests(epoch+6, false)
}

func TestLateClaims(t *testing.T) {
	var s stragglers
	if s.isLate(peer(1)) {
		t.Error("late before anything was asked")
	}
	s.claimed(peer(1), false)
	if !s.isLate(peer(1)) || s.isLate(peer(0)) {
		t.Error("not the one that was late")
	}
	if s.claimed(peer(1), true); s.isLate(peer(1)) {
		t.Error("late for ever")
	}
	s.reported(peer(0), false)
	if !s.keepsWaiting(peer(0)) || s.isLate(peer(0)) || s.keepsWaiting(peer(1)) {
		t.Error("not the one that reported nothing")
	}
	if s.reported(peer(0), true); s.keepsWaiting(peer(0)) {
		t.Error("mute for ever")
	}
}

// TestLateEveryOtherTime: a node that is in time just often enough to be waited
// for again costs a deadline in seventeen, not every second one; a delay once in
// a while is forgiven.
func TestLateEveryOtherTime(t *testing.T) {
	var d debts
	cost := 0
	const deadlines = 170
	for range deadlines {
		waited := d[peer(1)].owes == 0
		if d.note(peer(1), !waited); waited { // in time only as long as it must be
			cost++
		}
	}
	if most := deadlines/(longestDebt+1) + 5; cost > most {
		t.Errorf("%d of %d deadlines are waited for to the end; %d at most", cost, deadlines, most)
	}
	d.note(peer(2), false)
	for range 3 {
		d.note(peer(2), true)
	}
	if d.note(peer(2), false); d[peer(2)].owes != 1 {
		t.Errorf("the second delay after a long time costs %+v", d[peer(2)])
	}
	for range 10 * longestDebt { // not waited for, and never in time
		d.note(peer(3), false)
	}
	if d[peer(3)].owes != 1 {
		t.Errorf("delays that cost nobody anything add up to %+v", d[peer(3)])
	}
}
