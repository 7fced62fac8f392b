package reduce

import (
	"time"

	"lockstep/internal/f32"
	"lockstep/internal/fault"
	"lockstep/internal/merkle"
	"lockstep/internal/signed"
	"lockstep/reduce/commit"
)

// Member is the machine of a peer that contributes a gradient. It joins a
// roster that names its claim, binds itself to the claimed gradient, sends each
// part to its owner, averages its own part, and votes on the root of the whole.
// Between its vote and the decision it does nothing else; it applies only what
// a certificate names.
type Member struct {
	follower
	uid    uint32
	frozen *frozen
	early  Arrival     // a roster that came before the gradient
	vote   VoteMessage // the newest vote; undecided while locked
	locked bool

	// Memory that is used again from round to round.
	slots   [][]float32 // free chunk buffers
	sum     *commit.Sum
	encoded []byte // of one chunk
}

// frozen is a gradient that waits for its epoch to be averaged.
type frozen struct {
	claim    commit.Signed[commit.Claim]
	gradient []float32       // (Elements); the caller's
	leaves   []merkle.Digest // of the gradient
}

// NewMember returns a member whose journal holds the given records. Errors are
// fault.Config, or fault.Damaged where the journal is not this member's.
func NewMember(cfg MemberConfig, journal []Record) (*Member, error) {
	common, err := cfg.Config.withDefaults()
	if err != nil {
		return nil, err
	}
	m := &Member{follower: newFollower(common), uid: cfg.UID}
	m.follower.member = m
	for _, r := range journal {
		if err := m.restore(r); err != nil {
			return nil, err
		}
	}
	if m.locked || m.pending() {
		m.resend = 0 // at once: ask for the decision, hand over what is certified
	}
	return m, nil
}

// restore replays one record: votes lock, certificates unlock.
func (m *Member) restore(r Record) error {
	switch r.Kind {
	case RecordVote:
		v, err := commit.Open[commit.Vote](r.Envelopes[0])
		if err != nil {
			return err
		}
		if v.Signer() != m.self || v.Doc().UID != m.uid {
			return fault.Errorf(fault.Damaged, "journal: a vote of uid %d (%s), this is uid %d (%s)", v.Doc().UID, v.Signer().Short(), m.uid, m.self.Short())
		}
		m.vote, m.locked = VoteMessage{Vote: v, Receipts: r.Envelopes[1:]}, true
		m.seen = slot{v.Doc().Epoch, v.Doc().Attempt}
	case RecordCertificate:
		c, err := m.cfg.Validators.Decision(commit.Certificate{Signatures: r.Envelopes})
		if err != nil {
			return err
		}
		if d := c.Decision(); !m.cfg.ours(d.Fingerprint, d.RunID) {
			return foreign("decision", d.Fingerprint, d.RunID)
		}
		m.certified = c
		m.unlock(c.Decision())
	default:
		return fault.Errorf(fault.Damaged, "journal: record %d does not belong to a member", r.Kind)
	}
	return nil
}

// Records implements Machine: the newest certificate and the newest vote.
func (m *Member) Records() []Record {
	var out []Record
	if !m.certified.IsZero() {
		out = append(out, Record{RecordCertificate, m.certified.Certificate().Signatures})
	}
	if m.locked {
		out = append(out, m.vote.record())
	}
	return out
}

func (m VoteMessage) record() Record {
	return Record{RecordVote, append([]signed.Envelope{m.Vote.Envelope()}, m.Receipts...)}
}

// Current implements Machine.
func (m *Member) Current() (commit.Signed[commit.Roster], bool) { return m.follower.current() }

// Step implements Machine.
func (m *Member) Step(now time.Duration, e Event) []Action {
	m.now = now
	m.deliver() // after a restart, a certified epoch may be waiting
	switch e := e.(type) {
	case Arrival:
		m.arrive(e.From, e.Message)
	case Connected:
		m.connected(e.Peer)
	case Disconnected:
		m.peers.remove(e.Peer)
		m.cut(e.Peer)
	case Freeze:
		m.freeze(e)
	case Applied:
		m.thaw(e.Epoch)
		m.applied(e)
	}
	m.timers()
	m.pump()
	return m.take()
}

// freeze takes the gradient of the next epoch.
func (m *Member) freeze(e Freeze) {
	c := e.Claim.Doc()
	var err error
	switch {
	case e.Claim.Signer() != m.self || c.UID != m.uid || !m.cfg.ours(c.Fingerprint, c.RunID):
		err = fault.Errorf(fault.Unexpected, "freeze: the claim is not this member's")
	case c.Epoch != m.epoch+1 || c.Base != m.root || m.pending():
		err = fault.Errorf(fault.Unexpected, "freeze: the claim is for epoch %d on state %s; this member stands at epoch %d, state %s", c.Epoch, c.Base.Short(), m.epoch, m.root.Short())
	case c.Elements != uint64(m.cfg.Shape.Elements) || len(e.Gradient) != m.cfg.Shape.Elements || len(e.Leaves) != m.cfg.Shape.Leaves():
		err = fault.Errorf(fault.Unexpected, "freeze: a gradient of %d elements and %d leaves does not fit the run", len(e.Gradient), len(e.Leaves))
	case merkle.Root(e.Leaves) != c.Gradient:
		err = fault.Errorf(fault.Unexpected, "freeze: the leaves are not those of the claim")
	case f32.Finite(e.Gradient) >= 0:
		err = fault.Errorf(fault.Unexpected, "freeze: element %d of the gradient is NaN or Inf", f32.Finite(e.Gradient))
	case m.round != nil && m.round.phase != PhaseCommitted:
		err = fault.Errorf(fault.Unexpected, "freeze: an attempt with the earlier gradient is open")
	}
	if err != nil {
		m.do(Refused{err})
		return
	}
	m.frozen = &frozen{e.Claim, e.Gradient, e.Leaves}
	if early, ok := m.early.Message.(RosterMessage); ok {
		m.roster(m.early.From, early)
	}
	m.early = Arrival{}
}

// thaw lets the caller have the gradient of an applied epoch back: no
// chunk of it is sent any more.
func (m *Member) thaw(epoch uint64) {
	if m.frozen == nil || m.frozen.claim.Doc().Epoch > epoch {
		return
	}
	m.frozen = nil
	if m.round != nil {
		m.round.member.stopScatter()
	}
}

// arrive handles a message of a peer. Messages of other attempts are late, or
// early and will come again; only rosters and decisions stand on their own.
func (m *Member) arrive(from signed.PeerID, msg Message) {
	switch msg := msg.(type) {
	case RosterMessage:
		m.roster(from, msg)
		return
	case DecisionMessage:
		m.decision(from, msg)
		return
	}
	if m.round == nil || m.round.id != msg.RosterID() {
		return
	}
	switch msg := msg.(type) {
	case SetMessage:
		m.set(from, msg)
	case OpeningMessage:
		m.opening(from, msg)
	case ChunkMessage:
		m.chunk(from, msg)
	case ReceiptMessage:
		m.receipt(from, msg)
	case CreditMessage:
		m.credit(from, msg)
	}
}

// chunk sorts chunks by stream. A header that its sender did not sign is
// refused before it is looked at.
func (m *Member) chunk(from signed.PeerID, msg ChunkMessage) {
	switch {
	case msg.Header.Signer() != from:
		m.do(Drop{from, "a chunk that another peer signed"})
	case m.round.phase < PhaseOpen:
		// Chunks need our credit, so this is a leftover or an intruder's.
	case msg.Header.Doc().Stream == commit.Scatter:
		m.scattered(from, msg)
	default:
		m.averaged(from, msg)
	}
}

// connected says again what the peer may have missed.
func (m *Member) connected(p signed.PeerID) {
	m.peers.add(p)
	m.cut(p)
	if m.cfg.Validators.Includes(p) {
		m.answer(p)
	}
	if r := m.round; r != nil && r.phase >= PhaseOpen {
		if i := r.roster.Index(p); i >= 0 && i != r.me {
			m.greet(i)
		}
	}
}

// answer repeats to a validator what it may be waiting for, and what it must know
// before it counts votes.
func (m *Member) answer(p signed.PeerID) {
	r := m.round
	if r != nil && r.leader == p && r.phase < PhaseCommitted {
		for _, proof := range r.member.proofs {
			m.send(p, proof)
		}
	}
	switch {
	case m.locked:
		m.send(p, m.vote)
	case r == nil || r.leader != p:
	case r.phase == PhaseCommit:
		m.send(p, CommitmentMessage{r.member.commitment})
	case r.phase == PhaseOpen:
		m.send(p, OpeningMessage{Opening: r.member.opening})
	}
}

// Next implements Machine.
func (m *Member) Next() time.Duration {
	next := m.resend
	if r := m.round; r != nil && (r.phase == PhaseOpen || r.phase == PhaseCommitted && m.pending()) {
		next = min(next, m.deadline())
	}
	return next
}
