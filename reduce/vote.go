package reduce

import (
	"time"

	"lockstep/internal/merkle"
	"lockstep/internal/signed"
	"lockstep/reduce/commit"
)

// votePace is how often a vote is repeated whose round was lost in a restart.
const votePace = time.Second

// approve votes for a result that is whole and agrees with every receipt.
func (m *Member) approve(root merkle.Digest) {
	r := m.round
	var receipts []signed.Envelope
	for _, rc := range r.gather.receipts {
		if !rc.Receipt.IsZero() {
			receipts = append(receipts, rc.Receipt.Envelope())
		}
	}
	m.cast(commit.Vote{OK: true, Result: root, Reduced: true}, receipts)
	if m.cfg.mutant == applyUncertified {
		m.do(Apply{m.certified, r.gather.average, r.gather.leaves})
	}
}

// cast signs, journals and sends this member's one vote of the attempt. From
// here it waits for the decision.
func (m *Member) cast(v commit.Vote, receipts []signed.Envelope) {
	r := m.round
	if m.replays(r.id) { // it stands
		m.enter(PhaseVoted)
		m.send(r.leader, m.vote)
		return
	}
	v.Roster, v.Epoch, v.Attempt, v.UID = r.id, r.roster.Epoch, r.roster.Attempt, m.uid
	m.vote = VoteMessage{commit.Seal(v, m.cfg.Key), receipts}
	m.locked = true
	m.do(Append{m.vote.record()})
	m.enter(PhaseVoted)
	m.send(r.leader, m.vote)
}

// complain tells the leader what member i did, and gives up on what cannot
// come any more.
func (m *Member) complain(i int, k commit.Kind, e commit.Evidence) {
	r, x := m.round, m.round.member
	x.in[i].closed = true
	r.gather.in[i].closed = true
	if x.accused[i] || r.phase == PhaseCommitted || m.replays(r.id) {
		return
	}
	x.accused[i] = true
	b := commit.Blame{UID: r.uid(i), Kind: k, Evidence: e.Digest()}
	x.blames = append(x.blames, b)
	if e.IsZero() {
		m.send(r.leader, ComplaintMessage{commit.Seal(commit.Complaint{Roster: r.id, UID: m.uid, Blame: b}, m.cfg.Key)})
	} else {
		x.proofs = append(x.proofs, EvidenceMessage{r.id, e})
		m.send(r.leader, EvidenceMessage{r.id, e})
	}
	if x.in[i].complete() && r.gather.checked[i] {
		return // everything of it was in before
	}
	r.failed = true
	if !x.in[i].complete() || m.partDone() {
		m.reject()
	}
}

// partDone reports whether this member has done its own part for the others.
func (m *Member) partDone() bool { return m.round.member.reduced == m.round.part(m.round.me).Count }

// reject votes fail. A member that only misses others' parts does this after
// its own part is done, for the attempt can still succeed for the rest.
func (m *Member) reject() {
	r := m.round
	if r.phase != PhaseOpen {
		return
	}
	r.failed = true
	m.cast(commit.Vote{Reduced: m.partDone(), Blames: r.member.blames}, nil)
}

// unlock frees this member from its vote when the attempt is decided: by its
// own decision, or by one that can only follow it.
func (m *Member) unlock(d commit.Decision) {
	if !m.locked {
		return
	}
	v := m.vote.Vote.Doc()
	later := d.Epoch > v.Epoch || d.Epoch == v.Epoch && (d.Verdict == commit.Commit || d.Attempt > v.Attempt)
	if d.Roster == v.Roster || later {
		m.locked = false
	}
}

// timers acts on deadlines that have passed.
func (m *Member) timers() {
	if r := m.round; r != nil && r.phase == PhaseOpen {
		m.lateMembers()
		m.lateParts()
		over := m.now >= r.start+r.due.gather()
		if over || r.failed && m.partDone() {
			m.reject()
		}
	} else if r != nil && r.phase == PhaseCommitted && m.pending() {
		m.lateParts()
	}
	if m.now >= m.resend {
		m.repeat()
	}
}

// lateMembers blames members whose opening or chunks do not come. A sender is
// late only while it holds credit; one that waits for ours is not.
func (m *Member) lateMembers() {
	r, x := m.round, m.round.member
	r.others(func(i int) {
		in := &x.in[i]
		late := false
		switch {
		case x.accused[i]:
		case x.openings[i].Opening.IsZero():
			late = m.now >= r.start+r.due.open()
		case in.waiting():
			late = in.next < in.limit && m.now >= in.moved+r.due.scatterStall() ||
				in.next == x.reduced && m.now >= r.start+r.due.scatter()
		}
		if late {
			m.complain(i, commit.Missing, commit.Evidence{})
		}
	})
}

// repeat sends again what was not answered: connections keep order and lose
// nothing, but a peer that restarted has forgotten.
func (m *Member) repeat() {
	m.resend = Never
	r := m.round
	if m.locked {
		for _, v := range m.cfg.Validators.Peers {
			m.send(v, m.vote)
		}
	}
	switch {
	case r == nil:
		if m.locked {
			m.resend = m.now + votePace
		}
		return
	case r.phase == PhaseCommit:
		m.answer(r.leader)
	case r.phase == PhaseOpen:
		r.others(func(i int) {
			if r.member.openings[i].Opening.IsZero() && !r.member.accused[i] {
				m.show(i)
			}
		})
	}
	if r.phase == PhaseOpen || r.phase == PhaseCommitted && m.pending() {
		m.nudge()
	}
	if r.phase != PhaseCommitted || m.pending() {
		m.resend = m.now + r.due.resend()
	}
}

// deadline returns when the open round needs a Tick at the latest. Stalls are
// noticed at the pace of the resend timer.
func (m *Member) deadline() time.Duration {
	r := m.round
	if r.phase == PhaseCommitted {
		return m.resend
	}
	for _, d := range []time.Duration{r.due.open(), r.due.scatter(), r.due.gather()} {
		if at := r.start + d; at > m.now {
			return at
		}
	}
	return m.resend
}
