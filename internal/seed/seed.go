// Package seed derives every random number of a run from one integer. The
// numbers are integers, addressed by counter and separated by domain: the same
// (seed, domain, arguments, index) gives the same value on every machine, in
// any order of asking. Turning integers into floats is the caller's business.
package seed

import (
	"crypto/sha256"
	"encoding/binary"
	"math/bits"
)

// Stream is an endless, randomly addressable sequence of 64-bit integers.
// The zero value is a valid stream, but no domain's: use New.
type Stream struct{ key [2]uint32 }

// New returns the stream of a domain. The key is the head of
// SHA-256("lockstep/seed/1" ‖ u64 run ‖ u32 len ‖ domain ‖ u64 args...).
func New(run uint64, domain string, args ...uint64) Stream {
	b := []byte("lockstep/seed/1")
	b = binary.LittleEndian.AppendUint64(b, run)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(domain)))
	b = append(b, domain...)
	for _, a := range args {
		b = binary.LittleEndian.AppendUint64(b, a)
	}
	h := sha256.Sum256(b)
	return Stream{key: [2]uint32{
		binary.LittleEndian.Uint32(h[0:]),
		binary.LittleEndian.Uint32(h[4:]),
	}}
}

// At returns number i: the low or high half of Philox4x32-10 block i/2
// (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
func (s Stream) At(i uint64) uint64 {
	c := philox4x32([4]uint32{uint32(i >> 1), uint32(i >> 33)}, s.key)
	if i&1 == 0 {
		return uint64(c[0]) | uint64(c[1])<<32
	}
	return uint64(c[2]) | uint64(c[3])<<32
}

// Pair returns At(2i) and At(2i+1), which come from one block.
func (s Stream) Pair(i uint64) (uint64, uint64) {
	c := philox4x32([4]uint32{uint32(i), uint32(i >> 32)}, s.key)
	return uint64(c[0]) | uint64(c[1])<<32, uint64(c[2]) | uint64(c[3])<<32
}

// philox4x32 is ten rounds of Philox with the paper's constants.
func philox4x32(c [4]uint32, k [2]uint32) [4]uint32 {
	for range 10 {
		hi0, lo0 := bits.Mul32(0xD2511F53, c[0])
		hi1, lo1 := bits.Mul32(0xCD9E8D57, c[2])
		c = [4]uint32{hi1 ^ c[1] ^ k[0], lo1, hi0 ^ c[3] ^ k[1], lo0}
		k[0] += 0x9E3779B9
		k[1] += 0xBB67AE85
	}
	return c
}

// Below returns a number in [0, n) for index i, by the multiply-shift of
// Lemire without rejection: its bias is below n / 2^64. It panics for n = 0.
func (s Stream) Below(i, n uint64) uint64 {
	if n == 0 {
		panic("seed: Below of an empty range")
	}
	hi, _ := bits.Mul64(s.At(i), n)
	return hi
}
