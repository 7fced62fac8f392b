// Package merkle hashes long vectors leaf by leaf into a SHA-256 Merkle tree
// of RFC 6962's shape, so that two parties can find the first leaf in which
// their vectors differ, and prove one leaf without showing the rest. It knows
// nothing of what is hashed.
package merkle

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/bits"
)

// Digest is a SHA-256 value. The zero Digest stands for "none".
type Digest [32]byte

// String returns 64 lower-case hex digits.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// Short returns the first eight hex digits, for people.
func (d Digest) Short() string { return hex.EncodeToString(d[:4]) }

// IsZero reports whether d stands for "none".
func (d Digest) IsZero() bool { return d == Digest{} }

// MarshalText makes digests hex strings in JSON and as CBOR text keys.
func (d Digest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText accepts exactly 64 hex digits.
func (d *Digest) UnmarshalText(text []byte) error {
	if len(text) != hex.EncodedLen(len(d)) {
		return fmt.Errorf("merkle: a digest has 64 hex digits, not %d", len(text))
	}
	_, err := hex.Decode(d[:], text)
	return err
}

// ParseDigest reads 64 hex digits.
func ParseDigest(s string) (Digest, error) {
	var d Digest
	err := d.UnmarshalText([]byte(s))
	return d, err
}

// node is SHA-256(0x01, left, right).
func node(l, r Digest) Digest {
	var b [1 + 2*len(l)]byte
	b[0] = 1
	copy(b[1:], l[:])
	copy(b[1+len(l):], r[:])
	return sha256.Sum256(b[:])
}

// split returns the size of the left subtree of n > 1 leaves: the largest
// power of two below n (RFC 6962 section 2.1).
func split(n int) int { return 1 << (bits.Len(uint(n-1)) - 1) }

// Root returns the root over leaves. No leaves give SHA-256 of nothing.
func Root(leaves []Digest) Digest {
	switch n := len(leaves); n {
	case 0:
		return sha256.Sum256(nil)
	case 1:
		return leaves[0]
	default:
		k := split(n)
		return node(Root(leaves[:k]), Root(leaves[k:]))
	}
}

// Prove returns the audit path of leaf i, deepest sibling first.
// It panics unless i is a leaf.
func Prove(leaves []Digest, i int) []Digest {
	n := len(leaves)
	if i < 0 || i >= n {
		panic("merkle: proof of a leaf that is not there")
	}
	if n == 1 {
		return nil
	}
	k := split(n)
	if i < k {
		return append(Prove(leaves[:k], i), Root(leaves[k:]))
	}
	return append(Prove(leaves[k:], i-k), Root(leaves[:k]))
}

// VerifyProof reports whether leaf is number i of the n leaves under root.
func VerifyProof(root Digest, n, i int, leaf Digest, proof []Digest) bool {
	if i < 0 || i >= n {
		return false
	}
	got, ok := fold(n, i, leaf, proof)
	return ok && got == root
}

// fold recomputes the root from one leaf and its path; the path must have
// exactly the length that n and i give.
func fold(n, i int, leaf Digest, proof []Digest) (Digest, bool) {
	if n == 1 {
		return leaf, len(proof) == 0
	}
	if len(proof) == 0 {
		return Digest{}, false
	}
	last := len(proof) - 1
	k := split(n)
	if i < k {
		l, ok := fold(k, i, leaf, proof[:last])
		return node(l, proof[last]), ok
	}
	r, ok := fold(n-k, i-k, leaf, proof[:last])
	return node(proof[last], r), ok
}

// FirstDifference returns the first index at which a and b differ, or -1. A
// missing tail counts as a difference.
func FirstDifference(a, b []Digest) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	if len(a) != len(b) {
		return n
	}
	return -1
}
