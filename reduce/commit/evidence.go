package commit

import (
	"crypto/sha256"
	"encoding/binary"

	"lockstep/internal/fault"
	"lockstep/internal/merkle"
	"lockstep/internal/signed"
)

// MaxEvidence caps the bytes of encoded evidence, inputs included.
const MaxEvidence = 32 << 20

// Evidence is a bundle from which anyone can re-decide one accusation. It needs
// no signature of its own: every byte that counts is signed by the accused, or
// hangs under a root the accused signed. Which fields are set depends on Kind;
// see Judge.
type Evidence struct {
	Kind       Kind              `cbor:"1,keyasint"`
	Roster     signed.Envelope   `cbor:"2,keyasint"`
	First      signed.Envelope   `cbor:"3,keyasint"` // signed by the accused
	Second     signed.Envelope   `cbor:"4,keyasint"` // signed by the accused
	Leaf       uint32            `cbor:"5,keyasint"` // number in the whole vector
	LeafDigest merkle.Digest     `cbor:"6,keyasint"` // of that leaf, under the root
	Path       []merkle.Digest   `cbor:"7,keyasint"` // from LeafDigest to the root
	Data       []byte            `cbor:"8,keyasint"` // encoded leaf
	Paths      [][]merkle.Digest `cbor:"9,keyasint"` // WrongSum: of each member's leaf, in uid order

	// Inputs are the encoded leaves of all members, in uid order (WrongSum).
	// They travel behind the document, so that its cap need not hold them.
	Inputs [][]byte `cbor:"-"`
}

// Encode returns u32 length ‖ canonical CBOR ‖ inputs, each as long as Data.
func (e Evidence) Encode() []byte {
	doc, err := signed.Marshal(e)
	if err != nil {
		panic("commit: " + err.Error()) // plain structs always encode
	}
	out := binary.LittleEndian.AppendUint32(nil, uint32(len(doc)))
	out = append(out, doc...)
	for _, in := range e.Inputs {
		out = append(out, in...)
	}
	return out
}

// IsZero reports whether e holds nothing.
func (e Evidence) IsZero() bool { return e.Kind == 0 }

// Digest names the evidence: SHA-256 of its encoded bytes.
func (e Evidence) Digest() merkle.Digest {
	if e.IsZero() {
		return merkle.Digest{}
	}
	return sha256.Sum256(e.Encode())
}

// ParseEvidence reads what Encode wrote. Errors are fault.Damaged.
func ParseEvidence(b []byte) (Evidence, error) {
	var e Evidence
	if len(b) < 4 || len(b) > MaxEvidence {
		return e, fault.Errorf(fault.Damaged, "evidence of %d bytes; 4 to %d are read", len(b), MaxEvidence)
	}
	n := binary.LittleEndian.Uint32(b)
	rest := b[4:]
	if uint64(n) > uint64(len(rest)) {
		return e, fault.Errorf(fault.Damaged, "evidence: document of %d bytes in %d", n, len(rest))
	}
	if err := signed.Unmarshal(rest[:n], &e); err != nil {
		return Evidence{}, err
	}
	rest = rest[n:]
	if len(rest) == 0 {
		return e, nil
	}
	count := len(e.Paths)
	if count == 0 || count > MaxMembers || len(rest)%count != 0 {
		return Evidence{}, fault.Errorf(fault.Damaged, "evidence: %d bytes of inputs for %d members", len(rest), count)
	}
	size := len(rest) / count
	for i := range count {
		e.Inputs = append(e.Inputs, rest[i*size:(i+1)*size])
	}
	return e, nil
}
