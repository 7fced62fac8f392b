package reduce

import (
	"time"

	"lockstep/internal/merkle"
	"lockstep/internal/signed"
	"lockstep/reduce/commit"
)

// tally is the attempt that the leader has not decided yet. Slices are in
// roster order.
type tally struct {
	msg    RosterMessage
	roster commit.Roster
	id     merkle.Digest
	due    deadlines
	start  time.Duration // Never until the time runs
	resend time.Duration
	doomed time.Duration // when it became clear that nothing whole can come; Never before

	commitments []commit.Signed[commit.Commitment]
	set         SetMessage // once fixed
	openings    []commit.Signed[commit.Opening]
	receipts    []commit.Signed[commit.Receipt]
	votes       []commit.Signed[commit.Vote]
	complaints  []commit.Signed[commit.Complaint]
	evidence    []commit.Evidence
	convicted   []commit.Kind
	accusations []accusation
	undecided   bool            // some of them, when the attempt was aborted
	lostSince   []time.Duration // Never while connected
	witness     WitnessMessage  // of the observer on this node
	judged      []int           // pieces of evidence that each member made this node look at
}

// maxJudged bounds the evidence that a member can make the leader look at in one
// attempt, for each piece costs signatures to check. An honest one has at most
// one about each other.
const maxJudged = 2 * commit.MaxMembers

func newTally(msg RosterMessage) *tally {
	doc := msg.Roster.Doc()
	n := len(doc.Members)
	t := &tally{
		msg: msg, roster: doc, id: msg.Roster.Digest(), due: deadlinesOf(doc), start: Never, doomed: Never,
		commitments: make([]commit.Signed[commit.Commitment], n),
		openings:    make([]commit.Signed[commit.Opening], n),
		receipts:    make([]commit.Signed[commit.Receipt], n),
		votes:       make([]commit.Signed[commit.Vote], n),
		convicted:   make([]commit.Kind, n),
		lostSince:   make([]time.Duration, n),
		judged:      make([]int, n),
	}
	for i := range t.lostSince {
		t.lostSince[i] = Never
	}
	return t
}

// begin starts the attempt's time. After a restart nobody is connected yet, and
// everybody has the full time to come back.
func (t *tally) begin(now time.Duration) {
	t.start, t.resend = now, now+t.due.ask()
	if t.doomed != Never {
		t.doomed = now // so it was before the restart
	}
}

func (t *tally) lose(p signed.PeerID, now time.Duration) {
	if i := t.roster.Index(p); i >= 0 {
		t.lostSince[i] = now
	}
}

// doom notes that the attempt cannot succeed.
func (t *tally) doom(now time.Duration) { t.doomed = min(t.doomed, now) }

// hear takes the first vote of member i.
func (t *tally) hear(i int, v commit.Signed[commit.Vote], now time.Duration) {
	t.votes[i] = v
	d := v.Doc()
	for _, b := range d.Blames {
		if !b.Kind.Provable() { // what is provable comes as evidence
			t.accuse(i, b)
		}
	}
	if !d.OK && !d.Reduced {
		t.doom(now)
	}
}

// owes reports whether member i has not answered what it was asked last.
func (t *tally) owes(i int) bool {
	if t.set.Set.IsZero() {
		return t.commitments[i].IsZero()
	}
	return t.votes[i].IsZero()
}

// convict keeps evidence of this attempt that judges as it says, and reports
// whether it does. What somebody did in another one was decided there.
func (t *tally) convict(e commit.Evidence) bool {
	if e.Roster.Digest() != t.id {
		return false
	}
	f, err := commit.Judge(e)
	if err != nil {
		return false
	}
	i := t.roster.Index(f.Accused)
	if i < 0 || f.Accused != t.roster.Members[i].Peer {
		return false
	}
	if t.convicted[i] == 0 || !t.convicted[i].Provable() {
		t.convicted[i] = f.Kind
		t.evidence = append(t.evidence, e)
	}
	return true
}

// accuse keeps an accusation that nothing proves.
func (t *tally) accuse(by int, b commit.Blame) {
	against := t.roster.IndexUID(b.UID)
	if against < 0 || against == by {
		return
	}
	for _, a := range t.accusations {
		if a.by == by && a.against == against {
			return
		}
	}
	kind := b.Kind
	if kind.Provable() || kind == 0 {
		kind = commit.Missing // it says so, but shows nothing
	}
	t.accusations = append(t.accusations, accusation{by, against, kind})
}

// next returns the next deadline of the attempt.
func (t *tally) next() time.Duration {
	next := t.start + t.due.decide()
	if t.set.Set.IsZero() {
		next = t.start + t.due.commit()
	}
	if t.doomed != Never {
		return min(next, t.doomed+t.due.grace())
	}
	for i, since := range t.lostSince {
		if since != Never && t.votes[i].IsZero() {
			next = min(next, since+t.due.lost())
		}
	}
	return next
}
