package reduce

import (
	"math"
	"slices"

	"lockstep/internal/merkle"
	"lockstep/internal/signed"
	"lockstep/reduce/commit"
)

// role is how a simulated member behaves. Liars run the real machine and twist
// what it says.
type role uint8

const (
	honest       role = iota
	switcher          // scatters another gradient than it opened, headers fitting the bytes
	garbler           // scatters bytes that do not fit its own headers
	recommitter       // honest claim, another commitment and opening
	mismatcher        // opens with another salt than it committed with
	twoReceipts       // gives half of the peers another average and receipt
	forker            // its averaged chunks differ from its receipt
	twoVotes          // votes for two results
	twoOpenings       // opens to the validator in two ways
	lyingVoter        // votes for a result of its own
	wrongSum          // leaves one gradient out, consistently
	slanderer         // complains about everybody, with bogus evidence
	quitter           // complains about one member without evidence and votes fail
	blamer            // the same, about another one in each attempt
	mute              // commits, and then says nothing to other members
	poison            // has NaN in its gradient
	poisonResult      // averages to NaN
	deaf              // grants no credit
	roleCount
)

// twist edits what the machine of a liar wants done.
func (r role) twist(n *node, actions []Action) []Action {
	var out []Action
	for _, a := range actions {
		if s, ok := a.(Send); ok && s.To != n.id {
			for _, m := range r.say(n, s.To, s.Message) {
				out = append(out, Send{s.To, m})
			}
			continue
		}
		out = append(out, a)
	}
	return out
}

func (r role) say(n *node, to signed.PeerID, m Message) []Message {
	toValidator := n.cfg.Validators.Includes(to)
	switch m := m.(type) {
	case CommitmentMessage:
		return []Message{r.commitment(n, m)}
	case OpeningMessage:
		return r.opening(n, m, toValidator)
	case ChunkMessage:
		return r.chunk(n, to, m)
	case ReceiptMessage:
		return r.receipt(n, to, m)
	case VoteMessage:
		return r.vote(n, m)
	case CreditMessage:
		if r == deaf || r == mute {
			return nil
		}
	}
	return []Message{m}
}

// otherRoot is the gradient that a recommitter pretends to have claimed.
func (n *node) otherLeaves(leaves []merkle.Digest) []merkle.Digest {
	out := slices.Clone(leaves)
	for i := range out {
		out[i][0] ^= 1
	}
	return out
}

func (r role) commitment(n *node, m CommitmentMessage) Message {
	if r != recommitter {
		return m
	}
	d := m.Commitment.Doc()
	member := n.machines[0].(*Member)
	root := merkle.Root(n.otherLeaves(member.frozen.leaves))
	d.Hash = commit.Hash(d.Roster, n.id, n.cfg.salt(d.Roster), root)
	c := commit.Seal(d, n.cfg.Key)
	member.round.member.commitment = c // its own machine must accept the set
	return CommitmentMessage{c}
}

func (r role) opening(n *node, m OpeningMessage, toValidator bool) []Message {
	d := m.Opening.Doc()
	member := n.machines[0].(*Member)
	switch {
	case r == mute && !toValidator:
		return nil
	case r == recommitter:
		leaves := n.otherLeaves(member.frozen.leaves)
		d.Root = merkle.Root(leaves)
		if m.Leaves != nil {
			m.Leaves = leaves
		}
	case r == mismatcher:
		d.Salt[0] ^= 1
	case r == twoOpenings && toValidator:
		d.Salt[0] ^= 1
		return []Message{m, OpeningMessage{Opening: commit.Seal(d, n.cfg.Key), Want: m.Want}}
	default:
		return []Message{m}
	}
	m.Opening = commit.Seal(d, n.cfg.Key)
	return []Message{m}
}

// reseal signs a header for other values.
func (n *node) reseal(m ChunkMessage, data []float32) ChunkMessage {
	h := m.Header.Doc()
	b := make([]byte, 4*len(data))
	commit.Encode(b, data)
	h.Leaves = n.cfg.Shape.ChunkDigests(h.Stream.Kind(), int(h.Chunk), b)
	return ChunkMessage{Header: commit.Seal(h, n.cfg.Key), Data: data}
}

func (r role) chunk(n *node, to signed.PeerID, m ChunkMessage) []Message {
	scatter := m.Header.Doc().Stream == commit.Scatter
	data := slices.Clone(m.Data)
	data[len(data)-1] = -data[len(data)-1] // adding to a large one would change nothing
	switch {
	case r == mute:
		return nil
	case r == switcher && scatter:
		return []Message{n.reseal(m, data)}
	case r == garbler:
		m.Data = data
	case r == forker && !scatter, r == twoReceipts && !scatter && n.deceives(to):
		return []Message{n.reseal(m, data)}
	case r == poisonResult && !scatter:
		data[0] = float32(math.Inf(-1))
		return []Message{n.reseal(m, data)}
	}
	return []Message{m}
}

// deceives picks the peers that get the second version.
func (n *node) deceives(to signed.PeerID) bool { return n.w.nodeOf(to).uid%2 == 0 }

func (r role) receipt(n *node, to signed.PeerID, m ReceiptMessage) []Message {
	switch {
	case r == mute:
		return nil
	case r == twoReceipts && n.deceives(to):
		member := n.machines[0].(*Member)
		ro := member.round
		m.Leaves = slices.Clone(m.Leaves)
		part := ro.part(ro.me)
		for c := part.First; c < part.First+part.Count; c++ {
			lo, hi := ro.shape.ChunkSpan(int(c))
			data := slices.Clone(ro.gather.average[lo:hi])
			data[len(data)-1] = -data[len(data)-1] // adding to a large one would change nothing
			b := make([]byte, 4*len(data))
			commit.Encode(b, data)
			first, _ := ro.shape.ChunkLeafSpan(int(c))
			base, _ := ro.shape.PartLeafSpan(part)
			if m.Leaves != nil {
				copy(m.Leaves[first-base:], ro.shape.ChunkDigests(merkle.KindAverage, int(c), b))
			}
		}
		d := m.Receipt.Doc()
		d.Result = merkle.Root(m.Leaves)
		m.Receipt = commit.Seal(d, n.cfg.Key)
	}
	return []Message{m}
}

func (r role) vote(n *node, m VoteMessage) []Message {
	d := m.Vote.Doc()
	switch {
	case r == lyingVoter && d.OK:
		d.Result[0] ^= 1
		m.Vote = commit.Seal(d, n.cfg.Key)
	case r == twoVotes && d.OK:
		d.Result[0] ^= 1
		return []Message{m, VoteMessage{Vote: commit.Seal(d, n.cfg.Key)}}
	case r == slanderer, r == quitter, r == blamer:
		return r.slander(n, d)
	}
	return []Message{m}
}

// slander accuses members that did nothing.
func (r role) slander(n *node, v commit.Vote) []Message {
	member := n.machines[0].(*Member)
	if member.round == nil || member.round.id != v.Roster {
		return nil
	}
	var out []Message
	bad := commit.Vote{Roster: v.Roster, Epoch: v.Epoch, Attempt: v.Attempt, UID: v.UID}
	for i, m := range member.round.roster.Members {
		k := len(member.round.roster.Members)
		if m.Peer == n.id || r == blamer && i != (member.round.me+int(v.Attempt))%k {
			continue
		}
		b := commit.Blame{UID: m.UID, Kind: commit.Switch}
		e := commit.Evidence{Kind: commit.Switch, Roster: member.round.signed.Envelope()}
		if r == quitter || r == blamer {
			b.Kind, e = commit.Missing, commit.Evidence{}
		}
		bad.Blames = append(bad.Blames, b)
		out = append(out, ComplaintMessage{commit.Seal(commit.Complaint{Roster: v.Roster, UID: v.UID, Blame: b}, n.cfg.Key)})
		if !e.IsZero() {
			out = append(out, EvidenceMessage{v.Roster, e})
		}
		if r == quitter {
			break
		}
	}
	return append(out, VoteMessage{Vote: commit.Seal(bad, n.cfg.Key)})
}

// damage flips a byte on the way. It returns nil where the transport notices:
// documents no longer open. Damaged chunk bytes may get past a transport
// without checksums.
func (w *world) damage(m Message) Message {
	flip := func(e signed.Envelope) signed.Envelope {
		e = slices.Clone(e)
		e[w.rng.IntN(len(e))] ^= 1 << w.rng.IntN(8)
		return e
	}
	opens := func(err error) Message {
		if err == nil {
			w.checker.fail(21, "a damaged %T opens", m)
		}
		return nil
	}
	switch m := m.(type) {
	case VoteMessage:
		_, err := commit.Open[commit.Vote](flip(m.Vote.Envelope()))
		return opens(err)
	case RosterMessage:
		_, err := commit.Open[commit.Roster](flip(m.Roster.Envelope()))
		return opens(err)
	case ReceiptMessage:
		_, err := commit.Open[commit.Receipt](flip(m.Receipt.Envelope()))
		return opens(err)
	case ChunkMessage:
		m.Payload = slices.Clone(m.Payload)
		m.Payload[w.rng.IntN(len(m.Payload))] ^= 1 << w.rng.IntN(8)
		h := m.Header.Doc()
		m.Digests = w.plan.shape.ChunkDigests(h.Stream.Kind(), int(h.Chunk), m.Payload)
		return m
	}
	return nil
}
