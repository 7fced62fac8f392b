package reduce

import (
	"slices"

	"lockstep/internal/fault"
	"lockstep/internal/merkle"
	"lockstep/internal/signed"
	"lockstep/reduce/commit"
)

// exchange is the scatter side of a member's round: what it shows, sends and
// adds up. Slices are in roster order.
type exchange struct {
	commitment commit.Signed[commit.Commitment] // this member's
	opening    commit.Signed[commit.Opening]    // this member's

	commitments []commit.Signed[commit.Commitment] // of the set; nil before it
	openings    []OpeningMessage                   // verified; the early ones until the set comes
	scatter     []outflow                          // this member's chunks, to each owner
	gather      []outflow                          // this member's part, to each member
	observers   []outflow                          // this member's part, to each observer

	in      []inflow                       // chunks of this member's part, from each member
	held    [][][]float32                  // decoded chunks that wait for the other members', by sender, then chunk mod window
	order   []int                          // senders of the next chunk in order of arrival
	reduced uint32                         // chunks of this member's part that are averaged
	headers []commit.Signed[commit.Header] // of those
	receipt ReceiptMessage                 // once the part is whole

	accused []bool // members that this one complained about
	blames  []commit.Blame
	proofs  []EvidenceMessage // of what they are blamed for, said again to a leader that comes back
	greeted []int             // how often each member was brought up to date
	repeats int               // receipts sent again
}

// maxGreetings bounds how often a member can make this one send its digests
// again: openings are long.
const maxGreetings = 64

// roster joins an attempt that names this member's frozen claim.
func (m *Member) roster(from signed.PeerID, msg RosterMessage) {
	id, r := msg.Roster.Digest(), msg.Roster.Doc()
	if m.round != nil && m.round.id == id || m.locked {
		m.answer(from) // the leader asks for what it lacks; a vote without a decision binds
	}
	again := m.replays(id)
	if m.round != nil && m.round.id == id || m.locked && !again || !m.admissible(from, msg.Roster, again) || r.Index(m.self) < 0 {
		return
	}
	if m.frozen == nil {
		m.early = Arrival{from, msg} // this member restarted: it joins once it has its gradient again
		return
	}
	if err := m.fits(msg); err != nil {
		m.do(Refused{err})
		return
	}
	m.join(msg)
}

// replays reports whether this member voted ok on the roster before it was
// restarted. It joins once more, without complaints and without another vote,
// only to make its part again for those who have not got it.
func (m *Member) replays(id merkle.Digest) bool {
	return m.locked && m.vote.RosterID() == id && m.vote.Vote.Doc().OK
}

// fits checks a roster against the claims beside it and our own. A leader
// cannot put another gradient into a member's mouth: the member would be the
// first to see it.
func (m *Member) fits(msg RosterMessage) error {
	r := msg.Roster.Doc()
	if err := quotesClaims(r, msg.Claims); err != nil {
		return err
	}
	if mine := r.Members[r.Index(m.self)]; mine.UID != m.uid || mine.Claim != m.frozen.claim.Digest() {
		return fault.Errorf(fault.Damaged, "roster: epoch %d, attempt %d names claim %s for uid %d; ours is %s", r.Epoch, r.Attempt, mine.Claim.Short(), mine.UID, m.frozen.claim.Digest().Short())
	}
	return nil
}

// quotesClaims checks that a roster says of each member what the member's own
// signed claim says.
func quotesClaims(r commit.Roster, claims []commit.Signed[commit.Claim]) error {
	if len(claims) != len(r.Members) {
		return fault.Errorf(fault.Damaged, "roster: %d claims for %d members", len(claims), len(r.Members))
	}
	for i, m := range r.Members {
		c := claims[i].Doc()
		if claims[i].Digest() != m.Claim || claims[i].Signer() != m.Peer || c.UID != m.UID ||
			c.Gradient != m.Gradient || c.Tokens != m.Tokens || c.Elements != r.Elements ||
			c.Epoch != r.Epoch || c.Base != r.Base || c.Fingerprint != r.Fingerprint || c.RunID != r.RunID {
			return fault.Errorf(fault.Damaged, "roster: epoch %d, attempt %d misquotes the claim of uid %d", r.Epoch, r.Attempt, m.UID)
		}
	}
	return nil
}

// join enters the attempt and commits to the frozen gradient.
func (m *Member) join(msg RosterMessage) {
	if m.round != nil {
		m.release(m.round.member)
	}
	r := newRound(msg.Roster, m.self, m.now, m.buffer())
	mine := r.roster.Members[r.me]
	n := len(r.roster.Members)
	salt := m.cfg.salt(r.id)
	x := &exchange{
		commitment: commit.Seal(commit.Commitment{
			Roster: r.id, UID: m.uid, Claim: mine.Claim, Tokens: mine.Tokens,
			Hash: commit.Hash(r.id, m.self, salt, mine.Gradient),
		}, m.cfg.Key),
		opening: commit.Seal(commit.Opening{
			Roster: r.id, UID: m.uid, Claim: mine.Claim, Root: mine.Gradient, Salt: salt,
		}, m.cfg.Key),
		openings:  make([]OpeningMessage, n),
		scatter:   make([]outflow, n),
		gather:    make([]outflow, n),
		observers: make([]outflow, len(r.roster.Observers)),
		in:        make([]inflow, n),
		held:      make([][][]float32, n),
		headers:   make([]commit.Signed[commit.Header], mine.Part.Count),
		accused:   make([]bool, n),
		greeted:   make([]int, n),
	}
	r.others(func(i int) {
		x.scatter[i].count = r.part(i).Count
		x.gather[i].count = mine.Part.Count
		x.in[i].count = mine.Part.Count
		x.held[i] = make([][]float32, m.cfg.Window)
	})
	for i := range x.observers {
		x.observers[i].count = mine.Part.Count
	}
	r.member, m.round = x, r
	m.seen = slot{r.roster.Epoch, r.roster.Attempt}
	m.enter(PhaseCommit)
	m.do(Link{append(memberLinks(r.roster, m.self), observerLinks(r.roster, m.self)...)})
	m.send(r.leader, CommitmentMessage{x.commitment})
	m.resend = m.now + r.due.resend()
}

// memberLinks lists the members of a roster other than self.
func memberLinks(r commit.Roster, self signed.PeerID) []Peer {
	var out []Peer
	for _, p := range r.Members {
		if p.Peer != self {
			out = append(out, Peer{p.Peer, p.Address})
		}
	}
	return out
}

// observerLinks lists the observers of a roster other than self.
func observerLinks(r commit.Roster, self signed.PeerID) []Peer {
	var out []Peer
	for _, o := range r.Observers {
		if o.Peer != self {
			out = append(out, Peer{o.Peer, o.Address})
		}
	}
	return out
}

// set fixes the group: from here on everybody may open.
func (m *Member) set(from signed.PeerID, msg SetMessage) {
	r := m.round
	if r.phase != PhaseCommit || from != r.leader || msg.Set.Signer() != r.leader {
		return
	}
	if !setFits(r.roster, msg) || msg.Commitments[r.me].Digest() != r.member.commitment.Digest() {
		m.do(Refused{fault.Errorf(fault.Damaged, "set: it does not list the commitments of epoch %d, attempt %d", r.roster.Epoch, r.roster.Attempt)})
		return
	}
	m.enter(PhaseOpen)
	x := r.member
	x.commitments = msg.Commitments
	if !r.roster.Observes(r.leader) {
		m.send(r.leader, OpeningMessage{Opening: x.opening})
	}
	for _, o := range r.roster.Observers { // whose credits may have come before the roster did
		m.send(o.Peer, OpeningMessage{Opening: x.opening, Want: true})
	}
	m.subscribe()
	r.others(func(i int) {
		m.show(i)
		if early := x.openings[i]; !early.Opening.IsZero() {
			x.openings[i] = OpeningMessage{}
			m.opened(i, early)
		}
	})
	m.reduceReady() // a group of one has all it needs
	m.settle()
}

// setFits checks that a set lists one fitting commitment of each member.
func setFits(r commit.Roster, msg SetMessage) bool {
	listed := msg.Set.Doc().Commitments
	if len(listed) != len(r.Members) || len(msg.Commitments) != len(r.Members) {
		return false
	}
	return !slices.ContainsFunc(msg.Commitments, func(c commit.Signed[commit.Commitment]) bool {
		i := r.Index(c.Signer())
		return i < 0 || listed[i] != c.Digest() || !commitmentFits(r, msg.Set.Doc().Roster, i, c)
	})
}

func commitmentFits(r commit.Roster, id merkle.Digest, i int, c commit.Signed[commit.Commitment]) bool {
	d, p := c.Doc(), r.Members[i]
	return c.Signer() == p.Peer && d.Roster == id && d.UID == p.UID && d.Claim == p.Claim && d.Tokens == p.Tokens
}

// show sends this member's opening to member i.
func (m *Member) show(i int) {
	r := m.round
	want := r.member.openings[i].Opening.IsZero()
	m.send(r.peer(i), OpeningMessage{r.member.opening, m.frozen.leaves, want})
}

// greet brings member i up to date over a new connection, or because it asks.
func (m *Member) greet(i int) {
	r := m.round
	if r.member.greeted[i]++; r.member.greeted[i] > maxGreetings {
		return
	}
	if r.phase < PhaseCommitted && m.frozen != nil {
		m.show(i) // also after the vote: a member that restarted starts anew
	}
	m.invite(i)
	m.offer(i)
	if rc := r.member.receipt; !rc.Receipt.IsZero() {
		m.send(r.peer(i), rc)
	}
}

// opening handles another member's opening.
func (m *Member) opening(from signed.PeerID, msg OpeningMessage) {
	r := m.round
	i := r.roster.Index(from)
	if i < 0 || i == r.me || msg.Opening.Signer() != from || msg.Opening.Doc().UID != r.uid(i) {
		m.do(Drop{from, "an opening that is not its own"})
		return
	}
	x := r.member
	switch {
	case r.phase < PhaseOpen:
		x.openings[i] = msg // the set is still on its way to us
	case x.openings[i].Opening.IsZero():
		m.opened(i, msg)
		if msg.Want && !x.accused[i] {
			m.greet(i)
		}
	case msg.Want:
		m.greet(i)
	}
}

// opened checks an opening against commitment and claim, then lets the member
// scatter to us.
func (m *Member) opened(i int, msg OpeningMessage) {
	r, x := m.round, m.round.member
	o := msg.Opening.Doc()
	switch {
	case !o.Opens(x.commitments[i].Doc(), r.roster.Members[i]):
		m.complain(i, commit.Recommit, recommitted(r.signed, msg.Opening, x.commitments[i]))
	case len(msg.Leaves) != r.shape.Leaves() || merkle.Root(msg.Leaves) != o.Root:
		m.complain(i, commit.Garbage, commit.Evidence{})
	default:
		x.openings[i] = msg
		in := &x.in[i]
		in.active, in.moved = true, m.now
		in.grant(x.reduced, uint32(m.cfg.Window))
		m.invite(i)
	}
}

// recommitted bundles the proof that an opening differs from claim or
// commitment.
func recommitted(r commit.Signed[commit.Roster], o commit.Signed[commit.Opening], c commit.Signed[commit.Commitment]) commit.Evidence {
	return commit.Evidence{Kind: commit.Recommit, Roster: r.Envelope(), First: o.Envelope(), Second: c.Envelope()}
}

// invite tells member i how much of its scatter stream we take.
func (m *Member) invite(i int) {
	r := m.round
	in := &r.member.in[i]
	if !in.active || in.closed || in.count == 0 {
		return
	}
	m.send(r.peer(i), CreditMessage{r.id, commit.Scatter, in.next, in.limit})
}

// release returns the chunk buffers of a round that is over.
func (m *Member) release(x *exchange) {
	if x == nil {
		return
	}
	for _, window := range x.held {
		for k, buf := range window {
			if buf != nil {
				m.slots = append(m.slots, buf)
				window[k] = nil
			}
		}
	}
}
