package validate

import (
	"crypto/ed25519"
	"math"
	"strings"
	"unicode"

	"lockstep/internal/fault"
	"lockstep/internal/merkle"
	"lockstep/internal/signed"
	"lockstep/internal/spec"
	"lockstep/model"
	"lockstep/reduce/commit"
)

// Facts is what a claim states about work, and what a recomputation finds. A
// recomputation ends at the first stage that differs; later fields are zero.
type Facts struct {
	Segments  []uint64      `cbor:"1,keyasint" json:"segments"`
	Sequences uint32        `cbor:"2,keyasint" json:"sequences"`
	Tokens    uint64        `cbor:"3,keyasint" json:"tokens"`
	Rows      merkle.Digest `cbor:"4,keyasint" json:"rows"`
	TokenIDs  merkle.Digest `cbor:"5,keyasint" json:"token_ids"`
	LossBits  uint64        `cbor:"6,keyasint" json:"loss_bits"` // float64, summed over tokens
	Gradient  merkle.Digest `cbor:"7,keyasint" json:"gradient"`
}

// Loss returns the sum of the token losses.
func (f Facts) Loss() float64 { return math.Float64frombits(f.LossBits) }

// factsOf returns the facts that a claim states.
func factsOf(c commit.Claim) Facts {
	return Facts{
		Segments: c.Segments, Sequences: c.Sequences, Tokens: c.Tokens,
		Rows: c.Rows, TokenIDs: c.TokenIDs, LossBits: c.LossBits, Gradient: c.Gradient,
	}
}

// Part names one file of an evidence folder and the SHA-256 of its bytes.
type Part struct {
	Name   string        `cbor:"1,keyasint" json:"name"`
	Digest merkle.Digest `cbor:"2,keyasint" json:"digest"`
}

// Verdict is a validator's word about one miner in one epoch. Signed, it also
// pins every other part of the evidence, so that a part which is lost or
// changed is told from one that never was.
type Verdict struct {
	Fingerprint merkle.Digest `cbor:"1,keyasint" json:"fingerprint"` // of the run spec
	RunID       spec.RunID    `cbor:"2,keyasint" json:"run_id"`
	Epoch       uint64        `cbor:"3,keyasint" json:"epoch"`
	UID         uint32        `cbor:"4,keyasint" json:"uid"`
	Miner       signed.PeerID `cbor:"5,keyasint" json:"miner"`
	Claim       merkle.Digest `cbor:"6,keyasint" json:"claim"` // of the signed claim; zero without a readable one
	Base        model.Header  `cbor:"7,keyasint" json:"base"`  // the state that the epoch starts from, as its root sees it
	Outcome     Outcome       `cbor:"8,keyasint" json:"outcome"`
	Stage       Stage         `cbor:"9,keyasint" json:"stage"`    // Mismatch: the first that differs
	Round       commit.Kind   `cbor:"10,keyasint" json:"round"`   // Convicted: of what
	Found       Facts         `cbor:"11,keyasint" json:"found"`   // by recomputation
	Differs     Difference    `cbor:"12,keyasint" json:"differs"` // zero unless a leaf was opened
	Text        string        `cbor:"13,keyasint" json:"text"`    // one line for people
	Parts       []Part        `cbor:"14,keyasint" json:"parts"`   // ascending by name
}

// Kind names the cheat that was found, "" for none: "random" (a gradient that
// it did not compute), "tokens" (a false count of sequences or tokens), "loss"
// (a false loss beside the right gradient), "text" (other segments, rows or
// tokens), "withheld", or a kind of the round: "switch" (other bytes sent than
// claimed), "recommit" (committed or opened otherwise than claimed),
// "wrong-sum" and so on.
func (v *Verdict) Kind() string {
	switch {
	case v.Outcome == Convicted:
		return v.Round.String()
	case v.Outcome == Withheld:
		return v.Outcome.String()
	case v.Outcome != Mismatch:
		return ""
	case v.Stage == StageGradient || !v.Differs.IsZero():
		return "random"
	case v.Stage == StageLoss:
		return "loss"
	case v.Stage == StageCount:
		return "tokens"
	}
	return "text"
}

const verdictDomain = "lockstep/verdict/1"

// Limits of a verdict's lists and strings.
const (
	maxText  = 1024 // bytes
	maxParts = 16
)

// line makes one printable line of text that may come from others, short
// enough for two of them to fit a verdict.
func line(s string) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
	return strings.ToValidUTF8(s[:min(len(s), maxText/3)], "")
}

// Seal signs a verdict.
func (v *Verdict) Seal(key ed25519.PrivateKey) (signed.Envelope, error) {
	if err := v.check(); err != nil {
		return nil, err
	}
	return signed.Seal(verdictDomain, *v, key)
}

// OpenVerdict verifies a signed verdict and returns who signed it. Errors are
// fault.Damaged.
func OpenVerdict(e signed.Envelope) (*Verdict, signed.PeerID, error) {
	v := new(Verdict)
	by, err := signed.Open(verdictDomain, e, v)
	if err == nil {
		err = v.check()
	}
	if err != nil {
		return nil, signed.PeerID{}, err
	}
	return v, by, nil
}

func (v *Verdict) check() error {
	ordered := true
	for i, p := range v.Parts {
		ordered = ordered && (i == 0 || v.Parts[i-1].Name < p.Name)
	}
	switch {
	case v.Epoch == 0:
		return fault.Errorf(fault.Damaged, "verdict: epochs count from 1")
	case v.Base.Epoch != v.Epoch-1:
		return fault.Errorf(fault.Damaged, "verdict: epoch %d on the state of epoch %d", v.Epoch, v.Base.Epoch)
	case v.Outcome < Exact || v.Outcome > Absent:
		return fault.Errorf(fault.Damaged, "verdict: unknown outcome %d", v.Outcome)
	case (v.Outcome == Mismatch) != (v.Stage != 0) || v.Stage > StageGradient:
		return fault.Errorf(fault.Damaged, "verdict: stage %d of outcome %s", v.Stage, v.Outcome)
	case (v.Outcome == Convicted) != v.Round.Provable():
		return fault.Errorf(fault.Damaged, "verdict: round kind %s of outcome %s", v.Round, v.Outcome)
	case len(v.Found.Segments) > commit.MaxSegments || len(v.Text) > maxText || len(v.Differs.Tensor) > maxText:
		return fault.Errorf(fault.Damaged, "verdict: a list or text is too long")
	case len(v.Parts) > maxParts || !ordered:
		return fault.Errorf(fault.Damaged, "verdict: parts are too many or not in order")
	}
	return nil
}
