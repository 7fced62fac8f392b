package reduce

import (
	"bytes"

	"lockstep/internal/merkle"
	"lockstep/internal/signed"
	"lockstep/reduce/commit"
)

// statement is a document that a leader in one life was given in an attempt.
type statement struct {
	life     int
	roster   merkle.Digest
	signer   signed.PeerID
	kind     string
	document signed.Envelope
}

// given notes the documents in a message that the leader is about to hear, those
// of which a signer may make only one in an attempt. What a leader has to look
// at is little: documents of the attempt that is open, votes once the set is
// fixed, and the receipts beside a member's first vote.
func (c *checker) given(n *node, a Arrival) {
	l, ok := n.machines[0].(*Leader)
	if !ok || l.tally == nil || a.Message.RosterID() != l.tally.id {
		return
	}
	t := l.tally
	i := t.roster.Index(a.From)
	if i < 0 {
		return
	}
	note := func(kind string, signer signed.PeerID, e signed.Envelope) {
		c.statements = append(c.statements, statement{n.life, t.id, signer, kind, e})
	}
	receipt := func(r commit.Signed[commit.Receipt]) {
		if k := t.roster.Index(r.Signer()); k >= 0 && r.Doc().UID == t.roster.Members[k].UID {
			note("receipt", r.Signer(), r.Envelope())
		}
	}
	switch m := a.Message.(type) {
	case CommitmentMessage:
		if commitmentFits(t.roster, t.id, i, m.Commitment) {
			note("commitment", m.Commitment.Signer(), m.Commitment.Envelope())
		}
	case OpeningMessage:
		if !t.set.Set.IsZero() && m.Opening.Signer() == a.From {
			note("opening", a.From, m.Opening.Envelope())
		}
	case ReceiptMessage:
		receipt(m.Receipt)
	case VoteMessage:
		if t.set.Set.IsZero() || m.Vote.Signer() != a.From {
			return
		}
		note("vote", a.From, m.Vote.Envelope())
		if !t.votes[i].IsZero() {
			return
		}
		for _, e := range m.Receipts {
			if r, err := commit.Open[commit.Receipt](e); err == nil && r.Doc().Roster == t.id {
				receipt(r)
			}
		}
	}
}

// contradicted: whoever signed two documents for one place, and showed both to
// the leader, is convicted when the attempt ends.
func (c *checker) contradicted(a Concluded) {
	life, roster := c.w.validator().life, a.Roster.Digest()
	for i, s := range c.statements {
		if s.life != life || s.roster != roster {
			continue
		}
		for _, k := range c.statements[:i] {
			if k.life == life && k.roster == roster && k.signer == s.signer && k.kind == s.kind && !bytes.Equal(k.document, s.document) {
				c.convictedIn(a, s)
			}
		}
	}
}

func (c *checker) convictedIn(a Concluded, s statement) {
	for _, e := range a.Evidence {
		if f, err := commit.Judge(e); err == nil && f.Accused == s.signer {
			return
		}
	}
	c.fail(12, "%s showed the leader two documents of kind %s, and is not convicted", s.signer.Short(), s.kind)
}
