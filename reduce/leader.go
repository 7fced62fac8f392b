package reduce

import (
	"time"

	"lockstep/internal/fault"
	"lockstep/internal/merkle"
	"lockstep/internal/signed"
	"lockstep/reduce/commit"
)

// maxTries is how many attempts follow each other before the leader pauses.
const maxTries = 3

// Leader is the machine of the validator that opens attempts and decides them.
// It sends at most one roster and one decision for each (epoch, attempt), each
// made durable before, so that it can be killed at any point and goes on where
// it was. It certifies only what it could hand out itself: the root that more
// than two thirds of the members voted for, once the observer on its node holds
// that result whole, and nothing of a member that is proved wrong. An attempt
// that fails is followed by one without those who were silent, proved wrong or
// accused; when that cannot help, or three attempts in a row failed, it pauses:
// the epoch stays open, state and number do not move.
type Leader struct {
	cfg  LeaderConfig
	self signed.PeerID
	now  time.Duration
	out  []Action

	peers     peerSet
	committed verdict     // newest COMMIT; zero without
	decided   []verdict   // newest last, keepDecisions of them
	last      slot        // newest roster's
	tally     *tally      // the undecided attempt
	past      []Concluded // the newest attempts since the last Open, oldest first
	untold    bool        // past is from before a restart, and the caller may not know it

	base      merkle.Digest // of the open epoch
	field     []Candidate
	observers []commit.Observer
	barred    []uint32 // uids convicted in the open epoch, ascending
	charges   []charge // oldest first
	tries     int      // attempts since the last Open
	until     time.Duration
}

// NewLeader returns a leader whose journal holds the given records. Errors are
// fault.Config, or fault.Damaged where the journal is not this leader's.
func NewLeader(cfg LeaderConfig, journal []Record) (*Leader, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	l := &Leader{cfg: cfg, self: cfg.self(), until: Never}
	if !cfg.Validators.Includes(l.self) || cfg.Validators.Need != 1 {
		return nil, fault.Errorf(fault.Config, "all-reduce: this leader decides alone; %s must be a validator of whom one signature is enough", l.self.Short())
	}
	for _, r := range journal {
		if err := l.restore(r); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// Current implements Machine.
func (l *Leader) Current() (commit.Signed[commit.Roster], bool) {
	if l.tally == nil {
		return commit.Signed[commit.Roster]{}, false
	}
	return l.tally.msg.Roster, true
}

// Step implements Machine.
func (l *Leader) Step(now time.Duration, e Event) []Action {
	l.now = now
	if l.tally != nil && l.tally.start == Never {
		l.tally.begin(now) // restored: its time runs from now
	}
	if l.untold {
		l.untold = false
		for _, c := range l.past {
			l.do(c)
		}
	}
	switch e := e.(type) {
	case Arrival:
		l.arrive(e.From, e.Message)
	case Connected:
		l.peers.add(e.Peer)
		l.welcome(e.Peer)
	case Disconnected:
		l.peers.remove(e.Peer)
		if l.tally != nil {
			l.tally.lose(e.Peer, now)
		}
	case Open:
		l.open(e)
	case Expel:
		l.expel(e)
	}
	l.timers()
	out := l.out
	l.out = nil
	return out
}

func (l *Leader) do(a Action) { l.out = append(l.out, a) }

func (l *Leader) send(to signed.PeerID, m Message) { l.do(Send{to, m}) }

// open starts an epoch, or starts it again after a pause.
func (l *Leader) open(e Open) {
	newest := l.epochCommitted()
	if l.tally != nil && l.tally.roster.Epoch == e.Epoch {
		return // it is being averaged already, perhaps since before a restart
	}
	if e.Epoch != newest+1 {
		l.do(Refused{fault.Errorf(fault.Unexpected, "open: epoch %d cannot follow epoch %d", e.Epoch, newest)})
		return
	}
	if l.last.epoch < e.Epoch {
		l.barred = nil
	}
	l.base, l.observers, l.field, l.tries, l.until = e.Base, e.Observers, nil, 0, Never
	l.past = nil
	for _, c := range sortedByUID(e.Candidates) {
		if err := l.eligible(e, c); err != nil {
			l.do(Refused{err})
			continue
		}
		l.field = append(l.field, c)
	}
	l.attempt(e.Epoch)
}

// eligible checks a candidate's claim against the epoch.
func (l *Leader) eligible(e Open, c Candidate) error {
	d := c.Claim.Doc()
	switch {
	case c.Claim.IsZero():
		return fault.Errorf(fault.Unexpected, "open: a candidate without a claim")
	case !l.cfg.ours(d.Fingerprint, d.RunID) || d.Epoch != e.Epoch || d.Base != e.Base || d.Elements != uint64(l.cfg.Shape.Elements):
		return fault.Errorf(fault.Damaged, "open: the claim of uid %d is for epoch %d on state %s with %d elements", d.UID, d.Epoch, d.Base.Short(), d.Elements)
	case len(l.field) > 0 && l.field[len(l.field)-1].Claim.Doc().UID == d.UID:
		return fault.Errorf(fault.Damaged, "open: two claims of uid %d", d.UID)
	case !commit.AddressFits(c.Address):
		// Before the journal: a roster that cannot be read back would end the run.
		return fault.Errorf(fault.Damaged, "open: uid %d has an address of %d bytes; a roster takes %d", d.UID, len(c.Address), commit.MaxAddress)
	}
	for _, f := range l.field {
		if f.Claim.Signer() == c.Claim.Signer() {
			return fault.Errorf(fault.Damaged, "open: %s claims for uid %d and uid %d", f.Claim.Signer().Short(), f.Claim.Doc().UID, d.UID)
		}
	}
	return nil
}

// attempt sends out the next roster, or pauses when too few are left.
func (l *Leader) attempt(epoch uint64) {
	var members []Candidate
	for _, c := range l.field {
		if !l.isBarred(c.Claim.Doc().UID) {
			members = append(members, c)
		}
	}
	l.field = members
	number := uint32(1)
	if l.last.epoch == epoch {
		number = l.last.attempt + 1
	}
	if len(members) < l.cfg.MinGroup || len(members) > commit.MaxMembers {
		l.pause(epoch, number-1, "too few members, or too many")
		return
	}
	msg := l.draw(epoch, number, members)
	l.tries++
	l.last = slot{epoch, number}
	l.tally = newTally(msg)
	l.tally.begin(l.now)
	for i, m := range l.tally.roster.Members {
		if !l.peers.has(m.Peer) {
			l.tally.lostSince[i] = l.now
		}
	}
	l.do(Append{record(RecordRoster, msg.Roster, msg.Claims)})
	l.do(Entered{epoch, number, PhaseCommit})
	l.do(Link{append(memberLinks(l.tally.roster, l.self), observerLinks(l.tally.roster, l.self)...)})
	l.invite(func(int) bool { return true })
	for _, o := range l.observers {
		l.send(o.Peer, msg)
	}
}

// draw writes the roster of an attempt.
func (l *Leader) draw(epoch uint64, number uint32, members []Candidate) RosterMessage {
	r := commit.Roster{
		Fingerprint: l.cfg.Fingerprint, RunID: l.cfg.RunID, Epoch: epoch, Attempt: number, Base: l.base,
		Observers: l.observers, Codec: l.cfg.Shape.Codec, Elements: uint64(l.cfg.Shape.Elements),
		LeafElements: uint32(l.cfg.Shape.LeafElements), ChunkLeaves: uint32(l.cfg.Shape.ChunkLeaves),
		Deadline: uint32(l.cfg.Deadline / time.Millisecond), MinGroup: uint32(l.cfg.MinGroup),
		Seed: l.cfg.ownerSeed(epoch, number),
	}
	msg := RosterMessage{}
	parts := commit.Parts(l.cfg.Shape.Chunks(), len(members), r.Seed)
	for i, c := range members {
		d := c.Claim.Doc()
		r.Members = append(r.Members, commit.Member{
			UID: d.UID, Peer: c.Claim.Signer(), Address: c.Address, Claim: c.Claim.Digest(),
			Gradient: d.Gradient, Tokens: d.Tokens, Part: parts[i],
		})
		msg.Claims = append(msg.Claims, c.Claim)
	}
	msg.Roster = commit.Seal(r, l.cfg.Key)
	return msg
}

// invite sends the roster to the members that pick selects.
func (l *Leader) invite(pick func(i int) bool) {
	for i, m := range l.tally.roster.Members {
		if pick(i) {
			l.send(m.Peer, l.tally.msg)
		}
	}
}

// pause leaves the epoch open for a while.
func (l *Leader) pause(epoch uint64, attempt uint32, reason string) {
	l.until = l.now + l.cfg.Backoff
	if l.last.epoch < epoch {
		l.last = slot{epoch, 0}
	}
	l.do(Stalled{epoch, attempt, l.until, reason})
}

// arrive handles a message of a member. One that belongs to a decided attempt
// is answered with the decision.
func (l *Leader) arrive(from signed.PeerID, msg Message) {
	t := l.tally
	if t == nil || msg.RosterID() != t.id {
		switch msg.(type) {
		case CommitmentMessage, VoteMessage, ComplaintMessage:
			l.remind(from, msg.RosterID())
		}
		return
	}
	i := t.roster.Index(from)
	if i < 0 {
		l.observed(from, msg)
		return
	}
	switch msg := msg.(type) {
	case EvidenceMessage:
		l.evidence(i, msg.Evidence)
	case CommitmentMessage:
		l.commitment(i, msg)
	case OpeningMessage:
		l.opening(i, msg)
	case ReceiptMessage:
		l.receipt(i, msg.Receipt)
	case VoteMessage:
		l.vote(i, msg)
	case ComplaintMessage:
		l.complaint(i, msg)
	}
}

// remind answers a message about an attempt that is over: with its decision,
// and with the newest COMMIT, which settles whatever is older.
func (l *Leader) remind(to signed.PeerID, roster merkle.Digest) {
	for _, v := range l.decided {
		if d := v.Decision(); d.Roster == roster && d.Verdict == commit.Abort {
			l.send(to, v.message())
		}
	}
	if l.committed.IsZero() {
		return
	}
	l.send(to, l.committed.message())
	if l.cfg.mutant == decideTwice {
		d := l.committed.Decision()
		d.Verdict, d.Result = commit.Abort, merkle.Digest{}
		l.send(to, DecisionMessage{d.Roster, []commit.Signed[commit.Decision]{commit.Seal(d, l.cfg.Key)}})
	}
}

// welcome tells a peer that came (back) all that it may have missed, in order.
func (l *Leader) welcome(p signed.PeerID) {
	if !l.committed.IsZero() {
		l.send(p, l.committed.message())
	}
	if k := len(l.decided); k > 0 && l.decided[k-1].Decision().Verdict == commit.Abort {
		l.send(p, l.decided[k-1].message())
	}
	t := l.tally
	if t == nil {
		return
	}
	i := t.roster.Index(p)
	if i >= 0 {
		t.lostSince[i] = Never
	}
	if i >= 0 || t.roster.Observes(p) {
		l.send(p, t.msg)
	}
	if i >= 0 && !t.set.Set.IsZero() {
		l.send(p, t.set)
	}
}

// expel takes a false claim out of the open epoch.
func (l *Leader) expel(e Expel) {
	if e.Epoch != l.last.epoch || e.Epoch <= l.epochCommitted() {
		return
	}
	l.bar(e.UID)
	if t := l.tally; t != nil {
		if i := t.roster.IndexUID(e.UID); i >= 0 && t.convicted[i] == 0 {
			t.convicted[i] = commit.Expelled
			t.doom(l.now)
		}
	}
}

// timers acts on deadlines that have passed.
func (l *Leader) timers() {
	if l.tally != nil {
		l.judge()
	}
	if t := l.tally; t != nil && l.now >= t.resend {
		t.resend = l.now + t.due.ask()
		l.invite(func(i int) bool { return t.owes(i) && l.peers.has(t.roster.Members[i].Peer) })
	}
	if l.now >= l.until {
		l.until = Never
		l.do(Reopen{l.last.epoch})
	}
}

// Next implements Machine.
func (l *Leader) Next() time.Duration {
	next := l.until
	if t := l.tally; t != nil {
		if t.start == Never {
			return 0
		}
		next = min(next, t.resend, t.next())
	}
	return next
}
