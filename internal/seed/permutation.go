package seed

import "math/bits"

// Permutation is a bijection of [0, n), computed one element at a time.
// The zero value permutes nothing.
type Permutation struct {
	n    uint64
	half uint      // bits of each half of the Feistel block
	keys [8]uint64 // one round key each
}

// NewPermutation returns the permutation of [0, n) that s keys: eight Feistel
// rounds over the smallest even number of bits that holds n, walked in cycles
// until the value falls below n (Black and Rogaway, "Ciphers with arbitrary
// finite domains"). It panics for n above 2^62.
func NewPermutation(n uint64, s Stream) Permutation {
	if n > 1<<62 {
		panic("seed: permutation too large")
	}
	width := 2
	if n > 1 {
		width = bits.Len64(n - 1)
	}
	p := Permutation{n: n, half: uint(max(width, 2)+1) / 2}
	for i := range p.keys {
		p.keys[i] = s.At(uint64(i))
	}
	return p
}

// Len returns n.
func (p Permutation) Len() uint64 { return p.n }

// At returns the image of i. It panics unless i < n.
func (p Permutation) At(i uint64) uint64 {
	if i >= p.n {
		panic("seed: permutation index out of range")
	}
	for i = p.once(i); i >= p.n; i = p.once(i) {
	}
	return i
}

// once is the Feistel network on the block [0, 4^half).
func (p Permutation) once(i uint64) uint64 {
	mask := uint64(1)<<p.half - 1
	l, r := i>>p.half, i&mask
	for _, k := range p.keys {
		l, r = r, l^(mix(r^k)&mask)
	}
	return l<<p.half | r
}

// mix is the finaliser of MurmurHash3: it spreads every input bit.
func mix(x uint64) uint64 {
	x ^= x >> 33
	x *= 0xFF51AFD7ED558CCD
	x ^= x >> 33
	x *= 0xC4CEB9FE1A85EC53
	return x ^ x>>33
}
