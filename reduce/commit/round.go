package commit

import (
	"crypto/sha256"

	"lockstep/internal/fault"
	"lockstep/internal/merkle"
	"lockstep/internal/signed"
)

// Commitment binds a member to its claimed root before anybody opens.
type Commitment struct {
	Roster merkle.Digest `cbor:"1,keyasint" json:"roster"`
	UID    uint32        `cbor:"2,keyasint" json:"uid"`
	Claim  merkle.Digest `cbor:"3,keyasint" json:"claim"`
	Tokens uint64        `cbor:"4,keyasint" json:"tokens"`
	Hash   merkle.Digest `cbor:"5,keyasint" json:"hash"` // Hash(Roster, peer, salt, root)
}

// Hash is what a commitment hides: SHA-256("lockstep/commitment/1" ‖ roster ‖
// peer ‖ salt ‖ root).
func Hash(roster merkle.Digest, peer signed.PeerID, salt [32]byte, root merkle.Digest) merkle.Digest {
	b := []byte("lockstep/commitment/1")
	b = append(b, roster[:]...)
	b = append(b, peer[:]...)
	b = append(b, salt[:]...)
	b = append(b, root[:]...)
	return sha256.Sum256(b)
}

func (Commitment) domain() string { return "lockstep/commitment/1" }
func (Commitment) check() error   { return nil }

// Set says that the commitments of all members of a roster are in. It lists
// the digests of the signed commitments in uid order; from here on the group is
// fixed.
type Set struct {
	Roster      merkle.Digest   `cbor:"1,keyasint" json:"roster"`
	Commitments []merkle.Digest `cbor:"2,keyasint" json:"commitments"`
}

func (Set) domain() string { return "lockstep/set/1" }

func (s Set) check() error {
	if len(s.Commitments) == 0 || len(s.Commitments) > MaxMembers {
		return fault.Errorf(fault.Damaged, "set: %d commitments; 1 to %d are allowed", len(s.Commitments), MaxMembers)
	}
	return nil
}

// Opening shows what a commitment hid. The digests of all leaves travel beside
// it and are checked against the root.
type Opening struct {
	Roster merkle.Digest `cbor:"1,keyasint" json:"roster"`
	UID    uint32        `cbor:"2,keyasint" json:"uid"`
	Claim  merkle.Digest `cbor:"3,keyasint" json:"claim"`
	Root   merkle.Digest `cbor:"4,keyasint" json:"root"`
	Salt   [32]byte      `cbor:"5,keyasint" json:"-"`
}

// Opens reports whether an opening shows what member m of the roster claimed, and
// is what it committed to.
func (o Opening) Opens(c Commitment, m Member) bool {
	return o.Root == m.Gradient && o.Claim == m.Claim && c.Hash == Hash(o.Roster, m.Peer, o.Salt, o.Root)
}

func (Opening) domain() string { return "lockstep/opening/1" }
func (Opening) check() error   { return nil }

// Stream says which way a chunk goes.
type Stream uint8

// The streams between two peers.
const (
	Scatter Stream = 1 // a member's own gradient, to the owner of the part
	Gather  Stream = 2 // the owner's average, to everybody
)

// Kind returns which vector the stream's leaves belong to.
func (s Stream) Kind() merkle.Kind {
	if s == Scatter {
		return merkle.KindGradient
	}
	return merkle.KindAverage
}

// Header is the sender's word for one chunk.
type Header struct {
	Roster merkle.Digest   `cbor:"1,keyasint" json:"roster"`
	UID    uint32          `cbor:"2,keyasint" json:"uid"` // sender
	Stream Stream          `cbor:"3,keyasint" json:"stream"`
	Chunk  uint32          `cbor:"4,keyasint" json:"chunk"`
	Leaves []merkle.Digest `cbor:"5,keyasint" json:"leaves"` // of the chunk's leaves
}

// MaxChunkLeaves caps the digests of one header.
const MaxChunkLeaves = 256

func (Header) domain() string { return "lockstep/chunk/1" }

func (h Header) check() error {
	if h.Stream != Scatter && h.Stream != Gather {
		return fault.Errorf(fault.Damaged, "chunk %d: unknown stream %d", h.Chunk, h.Stream)
	}
	if len(h.Leaves) == 0 || len(h.Leaves) > MaxChunkLeaves {
		return fault.Errorf(fault.Damaged, "chunk %d: %d leaf digests; 1 to %d are allowed", h.Chunk, len(h.Leaves), MaxChunkLeaves)
	}
	return nil
}

// Receipt is an owner's word for its part.
type Receipt struct {
	Roster merkle.Digest `cbor:"1,keyasint" json:"roster"`
	UID    uint32        `cbor:"2,keyasint" json:"uid"`
	Inputs merkle.Digest `cbor:"3,keyasint" json:"inputs"` // Roster.Inputs
	Result merkle.Digest `cbor:"4,keyasint" json:"result"` // root over the part's leaves, the first of them being number 0
}

func (Receipt) domain() string { return "lockstep/receipt/1" }
func (Receipt) check() error   { return nil }

// Blame names a member that broke an attempt.
type Blame struct {
	UID      uint32        `cbor:"1,keyasint" json:"uid"`
	Kind     Kind          `cbor:"2,keyasint" json:"kind"`
	Evidence merkle.Digest `cbor:"3,keyasint" json:"evidence"` // Evidence.Digest, zero without
}

// Vote is a member's word on an attempt: the root of the whole result, or why
// it has none.
type Vote struct {
	Roster  merkle.Digest `cbor:"1,keyasint" json:"roster"`
	Epoch   uint64        `cbor:"2,keyasint" json:"epoch"`
	Attempt uint32        `cbor:"3,keyasint" json:"attempt"`
	UID     uint32        `cbor:"4,keyasint" json:"uid"`
	OK      bool          `cbor:"5,keyasint" json:"ok"`
	Result  merkle.Digest `cbor:"6,keyasint" json:"result"`  // zero unless OK
	Reduced bool          `cbor:"7,keyasint" json:"reduced"` // the voter's own part was summed and sent out
	Blames  []Blame       `cbor:"8,keyasint" json:"blames"`  // empty if OK
}

func (Vote) domain() string { return "lockstep/vote/1" }

func (v Vote) check() error {
	switch {
	case v.OK == v.Result.IsZero():
		return fault.Errorf(fault.Damaged, "vote of uid %d: a result belongs to an ok vote, and only there", v.UID)
	case v.OK && (len(v.Blames) > 0 || !v.Reduced):
		return fault.Errorf(fault.Damaged, "vote of uid %d: ok, and yet it lacks something", v.UID)
	case len(v.Blames) > MaxMembers:
		return fault.Errorf(fault.Damaged, "vote of uid %d: %d blames", v.UID, len(v.Blames))
	}
	return nil
}

// Complaint names a member that broke an attempt, as soon as it is seen.
type Complaint struct {
	Roster merkle.Digest `cbor:"1,keyasint" json:"roster"`
	UID    uint32        `cbor:"2,keyasint" json:"uid"` // who complains
	Blame  Blame         `cbor:"3,keyasint" json:"blame"`
}

func (Complaint) domain() string { return "lockstep/complaint/1" }
func (Complaint) check() error   { return nil }
