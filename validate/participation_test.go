package validate

import (
	"slices"
	"testing"

	"lockstep/internal/fault"
	"lockstep/internal/merkle"
	"lockstep/reduce/commit"
)

func averaged(t *testing.T, a Attempt) []bool {
	t.Helper()
	ps, err := Participate(a)
	if err != nil {
		t.Fatal(err)
	}
	var out []bool
	for _, p := range ps {
		out = append(out, p.Averaged)
	}
	return out
}

func TestParticipation(t *testing.T) {
	w := newWorld(t)
	_, whole := w.attempt(t)
	ps, err := Participate(whole)
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range ps {
		if want := (Participation{uint32(i), peer(byte(i)), 2, 2, true}); p != want {
			t.Errorf("%+v, want %+v", p, want)
		}
	}
}

// TestOwnWordDoesNotCount leaves each member with nothing but its own
// signatures in turn.
func TestOwnWordDoesNotCount(t *testing.T) {
	w := newWorld(t)
	g, whole := w.attempt(t)
	result := whole.Decision.Decision().Result
	reseal := func(r commit.Receipt, by byte) commit.Signed[commit.Receipt] { return commit.Seal(r, key(by)) }
	tests := map[string]struct {
		change func(*Attempt)
		want   []bool
	}{
		"only its own receipt": {func(a *Attempt) { a.Receipts = a.Receipts[:1] }, []bool{false, true, true}},
		"only its own vote":    {func(a *Attempt) { a.Votes = a.Votes[2:] }, []bool{true, true, false}},
		"no receipts":          {func(a *Attempt) { a.Receipts = nil }, []bool{false, false, false}},
		"no votes":             {func(a *Attempt) { a.Votes = nil }, []bool{false, false, false}},
		"receipts over other inputs": {func(a *Attempt) {
			for i, r := range a.Receipts {
				doc := r.Doc()
				doc.Inputs[0]++
				a.Receipts[i] = reseal(doc, byte(i))
			}
		}, []bool{false, false, false}},
		"receipts of another roster": {func(a *Attempt) {
			for i, r := range a.Receipts {
				doc := r.Doc()
				doc.Roster[0]++
				a.Receipts[i] = reseal(doc, byte(i))
			}
		}, []bool{false, false, false}},
		"one signs for all": {func(a *Attempt) {
			for i, r := range a.Receipts {
				a.Receipts[i] = reseal(r.Doc(), 2)
			}
		}, []bool{true, true, false}},
		"votes for another result": {func(a *Attempt) { a.Votes = g.votes(merkle.Digest{9}) }, []bool{false, false, false}},
		"votes of strangers": {func(a *Attempt) {
			a.Votes = nil
			for uid := range uint32(3) {
				a.Votes = append(a.Votes, commit.Seal(commit.Vote{
					Roster: g.roster.Digest(), Epoch: 1, Attempt: 1, UID: uid, OK: true, Result: result, Reduced: true,
				}, key(77)))
			}
		}, []bool{false, false, false}},
		"aborted": {func(a *Attempt) { a.Decision = g.decide(t, commit.Decision{Verdict: commit.Abort}) }, []bool{false, false, false}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			a := whole
			a.Receipts, a.Votes = slices.Clone(whole.Receipts), slices.Clone(whole.Votes)
			tt.change(&a)
			if got := averaged(t, a); !slices.Equal(got, tt.want) {
				t.Errorf("averaged %v, want %v", got, tt.want)
			}
		})
	}
}

func TestParticipationNeedsTheDecision(t *testing.T) {
	w := newWorld(t)
	g, whole := w.attempt(t)
	undecided := whole
	undecided.Decision = commit.Certified{}
	if _, err := Participate(undecided); fault.KindOf(err) != fault.Undecided {
		t.Errorf("without decision: %v", err)
	}
	other := whole
	other.Decision = g.decide(t, commit.Decision{Verdict: commit.Commit, Result: merkle.Digest{1}, Members: []uint32{0, 1}})
	if _, err := Participate(other); fault.KindOf(err) != fault.Damaged {
		t.Errorf("with a decision over other members: %v", err)
	}
}

// TestSoleOwner: with one chunk there is one owner, whom nobody else's receipt
// can confirm.
func TestSoleOwner(t *testing.T) {
	w := newWorld(t)
	shape := commit.StandardShape(w.computer.Layout().Elements)
	g := w.group(t, shape)
	average := shape.Digests(merkle.KindAverage, g.average())
	a := Attempt{
		Roster:   g.roster,
		Decision: g.decide(t, commit.Decision{Verdict: commit.Commit, Result: merkle.Root(average), Members: []uint32{0, 1, 2}}),
		Votes:    g.votes(merkle.Root(average)),
	}
	owner := g.roster.Doc().Owner(0)
	a.Receipts = g.receipts(average)[owner : owner+1]
	if got := averaged(t, a); !slices.Equal(got, []bool{true, true, true}) {
		t.Errorf("averaged %v", got)
	}
	a.Receipts = nil
	want := []bool{false, false, false}
	want[owner] = true
	if got := averaged(t, a); !slices.Equal(got, want) {
		t.Errorf("without the owner's receipt: averaged %v, want %v", got, want)
	}
}
