// Package signed seals documents: canonical CBOR, a domain that says which
// kind of document it is, and an ed25519 signature over both. What the
// documents say is the business of others.
package signed

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"lockstep/internal/fault"
	"lockstep/internal/merkle"
)

// PeerID names a node: SHA-256 of its ed25519 public key.
type PeerID [32]byte

// IDOf returns the peer ID of a public key.
func IDOf(key ed25519.PublicKey) PeerID { return sha256.Sum256(key) }

// String returns 64 lower-case hex digits.
func (p PeerID) String() string { return hex.EncodeToString(p[:]) }

// Short returns the first eight hex digits, for people.
func (p PeerID) Short() string { return hex.EncodeToString(p[:4]) }

// IsZero reports whether p names nobody.
func (p PeerID) IsZero() bool { return p == PeerID{} }

// MarshalText makes peer IDs hex strings in JSON and YAML.
func (p PeerID) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText accepts exactly 64 hex digits.
func (p *PeerID) UnmarshalText(text []byte) error {
	if len(text) != hex.EncodedLen(len(p)) {
		return fmt.Errorf("a peer ID has 64 hex digits, not %d", len(text))
	}
	_, err := hex.Decode(p[:], text)
	return err
}

// Envelope is a sealed document: the canonical CBOR of envelope.
type Envelope []byte

type envelope struct {
	_         struct{} `cbor:",toarray"`
	Domain    string
	Body      []byte
	Key       []byte
	Signature []byte
}

// preimage is what the signature covers: "lockstep/signed/1" ‖ u8 len ‖ domain
// ‖ body.
func preimage(domain string, body []byte) []byte {
	b := append([]byte("lockstep/signed/1"), byte(len(domain)))
	b = append(b, domain...)
	return append(b, body...)
}

// Seal encodes v and signs it under a domain of at most 64 bytes.
func Seal(domain string, v any, key ed25519.PrivateKey) (Envelope, error) {
	if len(domain) > 64 {
		panic("signed: domain too long")
	}
	body, err := Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("seal %s: %w", domain, err)
	}
	return Marshal(envelope{
		Domain:    domain,
		Body:      body,
		Key:       key.Public().(ed25519.PublicKey),
		Signature: ed25519.Sign(key, preimage(domain, body)),
	})
}

// Open checks domain, signature and form, reads the document into v and
// returns who signed it. Every error is fault.Damaged; v is then undefined.
func Open(domain string, e Envelope, v any) (PeerID, error) {
	var env envelope
	if err := Unmarshal(e, &env); err != nil {
		return PeerID{}, fmt.Errorf("%s: %w", domain, err)
	}
	if env.Domain != domain {
		return PeerID{}, fault.Errorf(fault.Damaged, "a signed %q where a %q is wanted", clip(env.Domain), domain)
	}
	if len(env.Key) != ed25519.PublicKeySize {
		return PeerID{}, fault.Errorf(fault.Damaged, "%s: public key of %d bytes", domain, len(env.Key))
	}
	if !ed25519.Verify(env.Key, preimage(domain, env.Body), env.Signature) {
		return PeerID{}, fault.Errorf(fault.Damaged, "%s: the signature is not %s's", domain, IDOf(env.Key).Short())
	}
	if err := Unmarshal(env.Body, v); err != nil {
		return PeerID{}, fmt.Errorf("%s: %w", domain, err)
	}
	return IDOf(env.Key), nil
}

// clip keeps foreign strings in messages short.
func clip(s string) string { return s[:min(len(s), 64)] }

// Digest names a document: SHA-256("lockstep/document/1" ‖ preimage ‖ key). It
// leaves the signature out, so that one statement has one name. An envelope
// that cannot be read has the zero Digest.
func (e Envelope) Digest() merkle.Digest {
	var env envelope
	if err := Unmarshal(e, &env); err != nil {
		return merkle.Digest{}
	}
	h := sha256.New()
	h.Write([]byte("lockstep/document/1"))
	h.Write(preimage(env.Domain, env.Body))
	h.Write(env.Key)
	var d merkle.Digest
	h.Sum(d[:0])
	return d
}
