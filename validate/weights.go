package validate

import "math/big"

// MaxWeight is the weight of the best miner, as Bittensor takes weights: u16,
// scaled so that the largest is 65535.
const MaxWeight = 65535

// setWeights gives every score its weight: Average · 65535 / largest Average,
// rounded half to even, exactly. Where every average is 0 every weight is 0:
// nothing is spread evenly over miners that showed nothing.
//
// Bittensor's SDK rescales by the maximum once more, which leaves these
// integers as they are.
func setWeights(scores []Score) {
	var top uint64
	for _, s := range scores {
		top = max(top, uint64(s.Average))
	}
	for i := range scores {
		scores[i].Weight = 0
		if top > 0 {
			scores[i].Weight = uint16(halfEven(uint64(scores[i].Average)*MaxWeight, top))
		}
	}
}

// halfEven returns a/b rounded to the nearest integer, ties to the even one.
// It wants a below 2^63.
func halfEven(a, b uint64) uint64 {
	q, r := a/b, a%b
	if 2*r > b || (2*r == b && q%2 == 1) {
		q++
	}
	return q
}

// ratio returns min(10⁶, ⌊10⁶ · product of above / product of below⌋). Bytes
// times nanoseconds times 10⁶ can pass 128 bits, hence big integers.
func ratio(above, below []uint64) uint32 {
	q := product(append(above, Million))
	q.Quo(q, product(below))
	if !q.IsUint64() || q.Uint64() > Million {
		return Million
	}
	return uint32(q.Uint64())
}

func product(factors []uint64) *big.Int {
	p := big.NewInt(1)
	for _, f := range factors {
		p.Mul(p, new(big.Int).SetUint64(f))
	}
	return p
}
