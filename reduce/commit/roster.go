package commit

import (
	"slices"
	"unicode/utf8"

	"lockstep/internal/fault"
	"lockstep/internal/merkle"
	"lockstep/internal/seed"
	"lockstep/internal/signed"
	"lockstep/internal/spec"
)

// Part is the run of whole chunks that one member reduces; possibly none.
type Part struct {
	First uint32 `cbor:"1,keyasint" json:"first"` // chunk
	Count uint32 `cbor:"2,keyasint" json:"count"` // chunks
}

// Holds reports whether chunk c belongs to the part.
func (p Part) Holds(c uint32) bool { return c >= p.First && c-p.First < p.Count }

// Parts cuts chunks among n members. Place p of the vector, chunks
// [p*chunks/n, (p+1)*chunks/n), goes to the member that the permutation of the
// roster's seed puts there, so that nobody chooses which layers it reduces.
// Element i of the result is the part of member i.
func Parts(chunks, n int, rosterSeed uint64) []Part {
	out := make([]Part, n)
	owners := seed.NewPermutation(uint64(n), seed.New(rosterSeed, "reduce/owners"))
	for p := range uint64(n) {
		first := p * uint64(chunks) / uint64(n)
		end := (p + 1) * uint64(chunks) / uint64(n)
		out[owners.At(p)] = Part{uint32(first), uint32(end - first)}
	}
	return out
}

// Member is one line of a roster.
type Member struct {
	UID      uint32        `cbor:"1,keyasint" json:"uid"`
	Peer     signed.PeerID `cbor:"2,keyasint" json:"peer"`
	Address  string        `cbor:"3,keyasint" json:"address"`  // host:port
	Claim    merkle.Digest `cbor:"4,keyasint" json:"claim"`    // digest of the signed claim
	Gradient merkle.Digest `cbor:"5,keyasint" json:"gradient"` // the claim's root
	Tokens   uint64        `cbor:"6,keyasint" json:"tokens"`   // the claim's
	Part     Part          `cbor:"7,keyasint" json:"part"`
}

// Observer receives the averaged parts without contributing: a validator.
type Observer struct {
	Peer    signed.PeerID `cbor:"1,keyasint" json:"peer"`
	Address string        `cbor:"2,keyasint" json:"address"`
}

// Roster names who takes part in one attempt at averaging one epoch. Its digest
// stands in every later document of the attempt.
type Roster struct {
	Fingerprint  merkle.Digest `cbor:"1,keyasint" json:"fingerprint"`
	RunID        spec.RunID    `cbor:"2,keyasint" json:"run_id"`
	Epoch        uint64        `cbor:"3,keyasint" json:"epoch"`
	Attempt      uint32        `cbor:"4,keyasint" json:"attempt"` // from 1
	Base         merkle.Digest `cbor:"5,keyasint" json:"base"`    // state root of epoch-1
	Members      []Member      `cbor:"6,keyasint" json:"members"` // ascending by uid
	Observers    []Observer    `cbor:"7,keyasint" json:"observers"`
	Codec        merkle.Codec  `cbor:"8,keyasint" json:"codec"`
	Elements     uint64        `cbor:"9,keyasint" json:"elements"`
	LeafElements uint32        `cbor:"10,keyasint" json:"leaf_elements"`
	ChunkLeaves  uint32        `cbor:"11,keyasint" json:"chunk_leaves"`
	Deadline     uint32        `cbor:"12,keyasint" json:"deadline_ms"` // of the whole attempt, from the roster's arrival
	MinGroup     uint32        `cbor:"13,keyasint" json:"min_group"`
	Seed         uint64        `cbor:"14,keyasint" json:"seed"` // of the permutation of owners
}

// Shape returns the grid of the attempt.
func (r Roster) Shape() Shape {
	return Shape{r.Codec, int(r.Elements), int(r.LeafElements), int(r.ChunkLeaves)}
}

// Tokens returns the divisor of the average: the group's token count.
func (r Roster) Tokens() uint64 {
	var sum uint64
	for _, m := range r.Members {
		sum += m.Tokens
	}
	return sum
}

// Index returns the position of a peer among the members, or -1.
func (r Roster) Index(p signed.PeerID) int {
	return slices.IndexFunc(r.Members, func(m Member) bool { return m.Peer == p })
}

// IndexUID returns the position of a seat among the members, or -1.
func (r Roster) IndexUID(uid uint32) int {
	i, ok := slices.BinarySearchFunc(r.Members, uid, func(m Member, uid uint32) int {
		return int(int64(m.UID) - int64(uid))
	})
	if !ok {
		return -1
	}
	return i
}

// Observes reports whether p is one of the observers.
func (r Roster) Observes(p signed.PeerID) bool {
	return slices.ContainsFunc(r.Observers, func(o Observer) bool { return o.Peer == p })
}

// Owner returns the position of the member that reduces chunk c, or -1.
func (r Roster) Owner(c uint32) int {
	return slices.IndexFunc(r.Members, func(m Member) bool { return m.Part.Holds(c) })
}

// Inputs names the gradients that the average is made of: the Merkle root over
// the members' claimed roots, in uid order.
func (r Roster) Inputs() merkle.Digest {
	roots := make([]merkle.Digest, len(r.Members))
	for i, m := range r.Members {
		roots[i] = m.Gradient
	}
	return merkle.Root(roots)
}

// Quorum is the least number of ok votes on one root that allows a COMMIT: more
// than two thirds of the members.
func (r Roster) Quorum() int { return 2*len(r.Members)/3 + 1 }

func (Roster) domain() string { return "lockstep/roster/1" }

func (r Roster) check() error {
	n := len(r.Members)
	switch {
	case r.Epoch == 0 || r.Attempt == 0:
		return fault.Errorf(fault.Damaged, "roster: epochs and attempts count from 1")
	case n == 0 || n > MaxMembers || len(r.Observers) > MaxObservers:
		return fault.Errorf(fault.Damaged, "roster: %d members and %d observers; 1 to %d and up to %d are allowed", n, len(r.Observers), MaxMembers, MaxObservers)
	case r.MinGroup == 0 || int(r.MinGroup) > n:
		return fault.Errorf(fault.Damaged, "roster: %d members, min_group %d", n, r.MinGroup)
	case r.Deadline == 0:
		return fault.Errorf(fault.Damaged, "roster: no deadline")
	case r.Elements > MaxElements || r.LeafElements > merkle.LeafElements || r.ChunkLeaves > MaxChunk || !r.Shape().Valid():
		return fault.Errorf(fault.Damaged, "roster: impossible shape: %d elements in leaves of %d, %d a chunk", r.Elements, r.LeafElements, r.ChunkLeaves)
	}
	parts := Parts(r.Shape().Chunks(), n, r.Seed)
	seen := map[signed.PeerID]bool{}
	var tokens uint64
	for i, m := range r.Members {
		switch {
		case i > 0 && m.UID <= r.Members[i-1].UID:
			return fault.Errorf(fault.Damaged, "roster: uid %d stands after uid %d", m.UID, r.Members[i-1].UID)
		case seen[m.Peer]:
			return fault.Errorf(fault.Damaged, "roster: peer %s sits on two seats", m.Peer.Short())
		case !AddressFits(m.Address):
			return fault.Errorf(fault.Damaged, "roster: uid %d has an address that is too long or not UTF-8", m.UID)
		case m.Tokens == 0 || m.Tokens >= MaxTokens:
			return fault.Errorf(fault.Damaged, "roster: uid %d has %d tokens", m.UID, m.Tokens)
		case m.Part != parts[i]:
			return fault.Errorf(fault.Damaged, "roster: uid %d has part %v, the rule gives %v", m.UID, m.Part, parts[i])
		}
		seen[m.Peer] = true
		tokens += m.Tokens
	}
	if tokens >= MaxTokens {
		return fault.Errorf(fault.Damaged, "roster: %d tokens; fewer than 2^53 are allowed", tokens)
	}
	for _, o := range r.Observers {
		if !AddressFits(o.Address) {
			return fault.Errorf(fault.Damaged, "roster: observer %s has an address that is too long or not UTF-8", o.Peer.Short())
		}
	}
	return nil
}

// AddressFits reports whether a roster can hold an address.
func AddressFits(a string) bool { return len(a) <= MaxAddress && utf8.ValidString(a) }
