package commit

import (
	"bytes"
	"slices"

	"lockstep/internal/fault"
	"lockstep/internal/merkle"
	"lockstep/internal/signed"
	"lockstep/internal/spec"
)

// Verdict is the outcome of an attempt.
type Verdict uint8

// The two outcomes.
const (
	Commit Verdict = 1
	Abort  Verdict = 2
)

// String returns the verdict's name.
func (v Verdict) String() string {
	switch v {
	case Commit:
		return "COMMIT"
	case Abort:
		return "ABORT"
	}
	return "undecided"
}

// Exclusion says why a member is not in the next attempt.
type Exclusion struct {
	UID  uint32 `cbor:"1,keyasint" json:"uid"`
	Kind Kind   `cbor:"2,keyasint" json:"kind"`
}

// Decision ends an attempt. There is exactly one for each roster.
type Decision struct {
	Fingerprint merkle.Digest `cbor:"1,keyasint" json:"fingerprint"`
	RunID       spec.RunID    `cbor:"2,keyasint" json:"run_id"`
	Epoch       uint64        `cbor:"3,keyasint" json:"epoch"`
	Attempt     uint32        `cbor:"4,keyasint" json:"attempt"`
	Roster      merkle.Digest `cbor:"5,keyasint" json:"roster"`
	Verdict     Verdict       `cbor:"6,keyasint" json:"verdict"`
	Result      merkle.Digest `cbor:"7,keyasint" json:"result"`    // root of the average; zero unless COMMIT
	Members     []uint32      `cbor:"8,keyasint" json:"members"`   // uids of the roster, ascending
	Tokens      uint64        `cbor:"9,keyasint" json:"tokens"`    // the divisor
	Excluded    []Exclusion   `cbor:"10,keyasint" json:"excluded"` // from the next attempt, ascending by uid
}

func (Decision) domain() string { return "lockstep/decision/1" }

func (d Decision) check() error {
	switch {
	case d.Verdict != Commit && d.Verdict != Abort:
		return fault.Errorf(fault.Damaged, "decision: unknown verdict %d", d.Verdict)
	case (d.Verdict == Commit) == d.Result.IsZero():
		return fault.Errorf(fault.Damaged, "decision: a result belongs to a COMMIT, and only there")
	case d.Epoch == 0 || d.Attempt == 0:
		return fault.Errorf(fault.Damaged, "decision: epochs and attempts count from 1")
	case len(d.Members) > MaxMembers || len(d.Excluded) > MaxMembers:
		return fault.Errorf(fault.Damaged, "decision: %d members, %d excluded", len(d.Members), len(d.Excluded))
	}
	return nil
}

// Certificate is a Decision with the signatures of enough validators: one
// envelope each, all over the same document. The zero value certifies nothing.
type Certificate struct {
	Signatures []signed.Envelope `cbor:"1,keyasint" json:"signatures"`
}

// MaxValidators caps the signatures of one certificate.
const MaxValidators = 64

// Certified is a decision that a certificate proves. Only Validators makes one,
// so whoever holds one may act on it.
type Certified struct {
	decision    Decision
	certificate Certificate
}

// Decision returns what was decided.
func (c Certified) Decision() Decision { return c.decision }

// Certificate returns the signatures, for others to check.
func (c Certified) Certificate() Certificate { return c.certificate }

// IsZero reports whether c holds no decision.
func (c Certified) IsZero() bool { return c.certificate.Signatures == nil }

// Validators are the keys whose word decides, and how many of them must agree.
// The zero value trusts nobody.
type Validators struct {
	Peers []signed.PeerID
	Need  int
}

// Solo trusts one validator alone.
func Solo(p signed.PeerID) Validators { return Validators{[]signed.PeerID{p}, 1} }

// Includes reports whether p is a validator. Any of them may lead an attempt.
func (v Validators) Includes(p signed.PeerID) bool { return slices.Contains(v.Peers, p) }

// Decision opens a certificate and checks it with Certify. The error is
// fault.Damaged where the bytes are no certificate.
func (v Validators) Decision(c Certificate) (Certified, error) {
	if len(c.Signatures) > MaxValidators {
		return Certified{}, fault.Errorf(fault.Damaged, "certificate: %d signatures; up to %d are allowed", len(c.Signatures), MaxValidators)
	}
	opened := make([]Signed[Decision], len(c.Signatures))
	for i, e := range c.Signatures {
		var err error
		if opened[i], err = Open[Decision](e); err != nil {
			return Certified{}, err
		}
	}
	return v.Certify(opened)
}

// Certify checks that at least Need different validators signed one and the
// same decision. The error is fault.Undecided where signatures are missing or
// strange, fault.Damaged where they contradict each other.
func (v Validators) Certify(signatures []Signed[Decision]) (Certified, error) {
	var first []byte
	var c Certified
	var signers []signed.PeerID
	for _, s := range signatures {
		body, err := signed.Marshal(s.doc)
		if err != nil {
			return Certified{}, fault.Wrap(fault.Damaged, err)
		}
		if first == nil {
			first, c.decision = body, s.doc
		}
		switch {
		case !bytes.Equal(first, body):
			return Certified{}, fault.Errorf(fault.Damaged, "certificate: it signs two different decisions")
		case !v.Includes(s.signer):
			return Certified{}, fault.Errorf(fault.Undecided, "certificate: %s is not a validator", s.signer.Short())
		case slices.Contains(signers, s.signer):
			return Certified{}, fault.Errorf(fault.Damaged, "certificate: %s signed twice", s.signer.Short())
		}
		signers = append(signers, s.signer)
		c.certificate.Signatures = append(c.certificate.Signatures, s.envelope)
	}
	if v.Need < 1 || len(signers) < v.Need {
		return Certified{}, fault.Errorf(fault.Undecided, "certificate: %d of %d signatures", len(signers), v.Need)
	}
	return c, nil
}
