package validate

import (
	"fmt"
	"math"

	"lockstep/internal/merkle"
	"lockstep/model"
)

// Difference is the first element in which two gradients are not the same bits.
type Difference struct {
	Leaf     uint32 `cbor:"1,keyasint" json:"leaf"`
	Element  uint64 `cbor:"2,keyasint" json:"element"` // of the flat vector
	Tensor   string `cbor:"3,keyasint" json:"tensor"`
	Index    uint64 `cbor:"4,keyasint" json:"index"`    // in the tensor, row-major
	Claimed  uint32 `cbor:"5,keyasint" json:"claimed"`  // bits of the miner's value
	Computed uint32 `cbor:"6,keyasint" json:"computed"` // bits of the recomputed one
}

// IsZero reports whether d tells of no difference.
func (d Difference) IsZero() bool { return d.Tensor == "" }

// ULP returns how many float32 values lie between the two, one of them counted;
// false where one is NaN. The zeros are neighbours of equal value: -0 and +0
// are 0 apart, and different bits all the same.
func (d Difference) ULP() (uint64, bool) {
	a, b := math.Float32frombits(d.Claimed), math.Float32frombits(d.Computed)
	if a != a || b != b {
		return 0, false
	}
	x, y := ordinal(d.Claimed), ordinal(d.Computed)
	return uint64(max(x, y) - min(x, y)), true
}

// ordinal numbers float32 values in their order, both zeros being 0.
func ordinal(bits uint32) int64 {
	magnitude := int64(bits &^ (1 << 31))
	if bits>>31 == 1 {
		return -magnitude
	}
	return magnitude
}

// String tells place, both values in hex and decimal, and their distance.
func (d Difference) String() string {
	distance := "not comparable"
	if ulp, ok := d.ULP(); ok {
		distance = fmt.Sprintf("%d ulp apart", ulp)
	}
	return fmt.Sprintf("%s[%d]: claimed 0x%08x (%v), computed 0x%08x (%v), %s", d.Tensor, d.Index,
		d.Claimed, math.Float32frombits(d.Claimed), d.Computed, math.Float32frombits(d.Computed), distance)
}

// differenceIn compares the bytes of one leaf with the computed gradient. They
// must have the leaf's length; ok is false where they are equal.
func differenceIn(l *model.Layout, leaf int, claimed []byte, gradient []float32) (d Difference, ok bool) {
	lo, hi := l.Grid(merkle.KindGradient).LeafSpan(leaf)
	values := make([]float32, hi-lo)
	merkle.DecodeFloat32(values, claimed)
	for i, v := range values {
		a, b := math.Float32bits(v), math.Float32bits(gradient[lo+i])
		if a == b {
			continue
		}
		tensor, index := l.Place(lo + i)
		return Difference{uint32(leaf), uint64(lo + i), tensor.Name, uint64(index), a, b}, true
	}
	return Difference{}, false
}
