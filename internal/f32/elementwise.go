package f32

import "math"

// Add sets dst[i] = x[i] + y[i]. dst may be x or y.
func Add(dst, x, y []float32) {
	if len(x) != len(dst) || len(y) != len(dst) {
		panic("f32: Add: lengths differ")
	}
	add(dst, x, y)
}

// AddTo sets dst[i] = dst[i] + x[i].
func AddTo(dst, x []float32) {
	if len(x) != len(dst) {
		panic("f32: AddTo: lengths differ")
	}
	add(dst, dst, x)
}

func addGeneric(dst, x, y []float32) {
	for i := range dst {
		dst[i] = x[i] + y[i]
	}
}

// AddBias adds bias[j] to column j of out, a (rows, n) matrix whose rows start
// ld elements apart.
func AddBias(out []float32, ld int, bias []float32, rows, n int) {
	checkMatrix(len(out), ld, rows, n)
	if len(bias) != n {
		panic("f32: AddBias: bias is not as wide as the matrix")
	}
	for i := range rows {
		row := out[i*ld:][:n]
		add(row, row, bias)
	}
}

// SumRows is the bias gradient of one sequence (N8): per column, t = +0 and
// t = t + d over the rows ascending, then out = out + t. d is a (rows, n)
// matrix whose rows start ld elements apart.
func SumRows(out, d []float32, rows, n, ld int) {
	checkMatrix(len(d), ld, rows, n)
	if len(out) != n {
		panic("f32: SumRows: out is not as wide as the matrix")
	}
	for lo := 0; lo < n; lo += tile {
		var sums [tile]float32
		t := sums[:min(tile, n-lo)]
		for i := range rows {
			add(t, t, d[i*ld+lo:][:len(t)])
		}
		add(out[lo:][:len(t)], out[lo:][:len(t)], t)
	}
}

// tile is how many columns are summed over all rows before the next ones: their
// partial sums stay on the stack and in the first-level cache.
const tile = 512

// checkMatrix panics unless a (rows, n) matrix with row stride ld fits into
// length elements.
func checkMatrix(length, ld, rows, n int) {
	if rows < 0 || n < 0 || ld < n {
		panic("f32: matrix: negative size, or rows overlap")
	}
	if rows > 0 && length < (rows-1)*ld+n {
		panic("f32: matrix: slice too short")
	}
}

// Scale sets x[i] = x[i] * s.
func Scale(x []float32, s float32) { scale(x, x, s) }

// scaleGeneric sets dst[i] = x[i] * s.
func scaleGeneric(dst, x []float32, s float32) {
	for i, v := range x {
		dst[i] = v * s
	}
}

// Finite returns the index of the first NaN or infinity in x, or -1 (N21).
func Finite(x []float32) int {
	for i := finiteBlocks(x); i < len(x); i++ {
		if !isFinite(x[i]) {
			return i
		}
	}
	return -1
}

// finiteBlocksGeneric returns how many leading elements are finite, counted in
// whole blocks of 16.
func finiteBlocksGeneric(x []float32) int {
	i := 0
	for i < len(x) && isFinite(x[i]) {
		i++
	}
	return i - i%lanes
}

// isFinite reports whether x is neither NaN nor infinite.
func isFinite(x float32) bool {
	const exponent = 0x7F800000
	return math.Float32bits(x)&exponent != exponent
}

// AddFloat64 sets acc[i] = acc[i] + x[i] in float64: one peer's term of the sum
// over peers (N16).
func AddFloat64(acc []float64, x []float32) {
	if len(acc) != len(x) {
		panic("f32: AddFloat64: lengths differ")
	}
	addFloat64(acc, x)
}

func addFloat64Generic(acc []float64, x []float32) {
	for i, v := range x {
		acc[i] += float64(v)
	}
}

// DivideRound sets out[i] = acc[i] / n, divided in float64 and rounded once to
// float32 (N16).
func DivideRound(out []float32, acc []float64, n float64) {
	if len(out) != len(acc) {
		panic("f32: DivideRound: lengths differ")
	}
	divideRound(out, acc, n)
}

func divideRoundGeneric(out []float32, acc []float64, n float64) {
	for i, v := range acc {
		out[i] = float32(v / n)
	}
}
