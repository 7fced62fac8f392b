package f32

import "slices"

// EmbeddingGrad adds one sequence's gradient to the rows of out that its tokens
// name (N14): per token id and column, t = +0 and t = t + d over the positions
// ascending, then out = out + t. out is (V, width), d is (T, width) and tokens
// has length T.
func EmbeddingGrad(out, d []float32, tokens []int32, width int) {
	checkMatrix(len(d), width, len(tokens), width)
	var buffer [1024]uint64 // enough for a training sequence (N8)
	order := byToken(buffer[:0], tokens)
	for first := 0; first < len(order); {
		last := first + 1
		for last < len(order) && order[last]>>32 == order[first]>>32 {
			last++
		}
		row := out[int(order[first]>>32)*width:][:width]
		addPositions(row, d, order[first:last])
		first = last
	}
}

// byToken appends token<<32 | position of every position to keys, and sorts
// them. All keys differ, so the order is total.
func byToken(keys []uint64, tokens []int32) []uint64 {
	for position, token := range tokens {
		if token < 0 {
			panic("f32: EmbeddingGrad: negative token")
		}
		keys = append(keys, uint64(token)<<32|uint64(position))
	}
	slices.Sort(keys)
	return keys
}

// addPositions adds to out the sum of the rows of d at the positions in the low
// halves of keys, as wide as out.
func addPositions(out, d []float32, keys []uint64) {
	width := len(out)
	for lo := 0; lo < width; lo += tile {
		var sums [tile]float32
		t := sums[:min(tile, width-lo)]
		for _, key := range keys {
			add(t, t, d[int(uint32(key))*width+lo:][:len(t)])
		}
		add(out[lo:][:len(t)], out[lo:][:len(t)], t)
	}
}
