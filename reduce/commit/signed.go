package commit

import (
	"crypto/ed25519"

	"lockstep/internal/merkle"
	"lockstep/internal/signed"
)

// Document is one of this package's document types.
type Document interface {
	Claim | Roster | Commitment | Set | Opening | Header | Receipt | Vote | Decision | Complaint
	domain() string
	check() error
}

// Signed is a document together with the envelope that proves who signed it.
// Only Seal and Open make one. The zero value holds no document: see IsZero.
type Signed[T Document] struct {
	doc      T
	signer   signed.PeerID
	digest   merkle.Digest
	envelope signed.Envelope
}

// Doc returns the document. Its slices are shared and must not be changed.
func (s Signed[T]) Doc() T { return s.doc }

// Signer returns whose key signed.
func (s Signed[T]) Signer() signed.PeerID { return s.signer }

// Digest names the statement: it covers document and key, not the signature.
func (s Signed[T]) Digest() merkle.Digest { return s.digest }

// Envelope returns the bytes to store or send.
func (s Signed[T]) Envelope() signed.Envelope { return s.envelope }

// IsZero reports whether s holds no document.
func (s Signed[T]) IsZero() bool { return s.envelope == nil }

// Seal signs doc.
func Seal[T Document](doc T, key ed25519.PrivateKey) Signed[T] {
	e, err := signed.Seal(doc.domain(), doc, key)
	if err != nil {
		panic("commit: " + err.Error()) // plain structs always encode
	}
	return Signed[T]{doc, signed.IDOf(key.Public().(ed25519.PublicKey)), e.Digest(), e}
}

// Open verifies an envelope: domain, signature, canonical form, and all rules
// that the document can be checked against on its own. Errors are
// fault.Damaged.
func Open[T Document](e signed.Envelope) (Signed[T], error) {
	var s Signed[T]
	signer, err := signed.Open(s.doc.domain(), e, &s.doc)
	if err != nil {
		return Signed[T]{}, err
	}
	if err := s.doc.check(); err != nil {
		return Signed[T]{}, err
	}
	s.signer, s.digest, s.envelope = signer, e.Digest(), e
	return s, nil
}
