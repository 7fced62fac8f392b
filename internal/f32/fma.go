package f32

import "math"

// FMA returns x*y + z rounded once to float32 (N3). It is the portable
// definition of VFMADD231PS and of every other float32 fused multiply-add.
//
// The product of two float32 values is exact in float64, so one float64 sum
// holds x*y + z with one rounding. A second rounding, to float32, changes the
// result only where that sum fell on the midpoint of two float32 values, or
// where float32's grid is coarser still because the result is subnormal.
// Those rare sums are redone in fmaToOdd.
func FMA(x, y, z float32) float32 {
	s := float64(float64(x)*float64(y)) + float64(z)
	b := math.Float64bits(s)
	if b&(1<<29-1) == 1<<28 || b&(1<<63-1) < minNormalBits {
		return fmaToOdd(x, y, z)
	}
	return float32(s)
}

// minNormalBits is 2^-126, the smallest normal float32, as float64 bits.
const minNormalBits = (1023 - 126) << 52

// fmaToOdd rounds the float64 sum to odd before it rounds to float32, which
// makes the two roundings equal to one (Boldo and Melquiond, "Emulation of FMA
// and correctly rounded sums: proved algorithms using rounding to odd").
func fmaToOdd(x, y, z float32) float32 {
	p := float64(float64(x) * float64(y)) // exact
	c := float64(z)
	s := p + c
	// TwoSum (Knuth): e is the exact error of s.
	t := s - p
	e := (p - (s - t)) + (c - t)
	b := math.Float64bits(s)
	if e != 0 && b&1 == 0 {
		// The exact sum lies between s and its neighbour on e's side; of the
		// two, the neighbour is the odd one.
		if (e > 0) == (s > 0) {
			b++
		} else {
			b--
		}
	}
	return float32(math.Float64frombits(b))
}
