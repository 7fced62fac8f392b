package commit

import (
	"math"

	"lockstep/internal/fault"
	"lockstep/internal/merkle"
	"lockstep/internal/spec"
)

// MaxSegments caps the segments of one claim.
const MaxSegments = 1024

// Claim is a member's statement about its work in one epoch.
type Claim struct {
	Fingerprint merkle.Digest `cbor:"1,keyasint" json:"fingerprint"` // of the run spec
	Epoch       uint64        `cbor:"2,keyasint" json:"epoch"`
	UID         uint32        `cbor:"3,keyasint" json:"uid"`
	Base        merkle.Digest `cbor:"4,keyasint" json:"base"`      // root of the state the gradient was computed on
	Segments    []uint64      `cbor:"5,keyasint" json:"segments"`  // indices of the assigned segments, in order of k
	Sequences   uint32        `cbor:"6,keyasint" json:"sequences"` // windows used, from the first
	Tokens      uint64        `cbor:"7,keyasint" json:"tokens"`    // targets that were not ignored
	LossBits    uint64        `cbor:"8,keyasint" json:"loss_bits"` // IEEE 754 bits of the float64 sum of token losses
	Rows        merkle.Digest `cbor:"9,keyasint" json:"rows"`      // digest of the rows' text
	TokenIDs    merkle.Digest `cbor:"10,keyasint" json:"token_ids"`
	Gradient    merkle.Digest `cbor:"11,keyasint" json:"gradient"`        // root over the token-sum gradient
	Elements    uint64        `cbor:"12,keyasint" json:"elements"`        // of the gradient
	RunID       spec.RunID    `cbor:"13,keyasint,omitzero" json:"run_id"` // absent before it is signed in a run, as in `lockstep hash`
}

// Loss returns the sum of the token losses.
func (c Claim) Loss() float64 { return math.Float64frombits(c.LossBits) }

func (Claim) domain() string { return "lockstep/claim/1" }

func (c Claim) check() error {
	switch {
	case c.Epoch == 0:
		return fault.Errorf(fault.Damaged, "claim: epoch 0 has no gradient; epochs count from 1")
	case len(c.Segments) > MaxSegments:
		return fault.Errorf(fault.Damaged, "claim: %d segments; at most %d are allowed", len(c.Segments), MaxSegments)
	case c.Tokens == 0 || c.Tokens >= MaxTokens:
		return fault.Errorf(fault.Damaged, "claim: %d tokens; 1 to 2^53-1 are allowed", c.Tokens)
	case c.Elements == 0 || c.Elements > MaxElements:
		return fault.Errorf(fault.Damaged, "claim: %d elements; 1 to %d are allowed", c.Elements, MaxElements)
	case math.IsNaN(c.Loss()) || math.IsInf(c.Loss(), 0):
		return fault.Errorf(fault.Damaged, "claim: the loss is not finite (bits %#016x)", c.LossBits)
	}
	return nil
}
