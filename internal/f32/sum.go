package f32

// lanes is the number of partial sums of a row reduction (N9), on every
// machine: one AVX-512 register, two of AVX2, four of NEON.
const lanes = 16

// fold adds the lanes pairwise, 8, 4, 2 and 1 apart (N9).
func fold(l *[lanes]float32) float32 {
	for w := lanes / 2; w > 0; w /= 2 {
		for j := range w {
			l[j] += l[j+w]
		}
	}
	return l[0]
}

// sumGeneric returns R16(x), the sum of x in the order of N9: lane j starts at
// +0 and takes elements j, j+16, ... ascending, then the lanes are folded.
func sumGeneric(x []float32) float32 {
	var l [lanes]float32
	for i, v := range x {
		l[i%lanes] += v
	}
	return fold(&l)
}

// dotGeneric returns the sum of x[i]*y[i] in the order of N9, each product
// entering its lane by a fused multiply-add. y is as long as x.
func dotGeneric(x, y []float32) float32 {
	var l [lanes]float32
	for i, v := range x {
		l[i%lanes] = FMA(v, y[i], l[i%lanes])
	}
	return fold(&l)
}

// SumSquares returns the sum of the squares of x, one leaf of a gradient, in 16
// float64 lanes folded as in N9 (N13). Each square is exact.
func SumSquares(x []float32) float64 { return sumSquares(x) }

func sumSquaresGeneric(x []float32) float64 {
	var l [lanes]float64
	for i, v := range x {
		d := float64(v)
		l[i%lanes] += float64(d * d)
	}
	for w := lanes / 2; w > 0; w /= 2 {
		for j := range w {
			l[j] += l[j+w]
		}
	}
	return l[0]
}
