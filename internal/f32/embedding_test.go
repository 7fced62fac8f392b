package f32

import (
	"math/rand/v2"
	"testing"
)

// TestN14_EmbeddingGradOrder compares with a loop per vocabulary entry.
func TestN14_EmbeddingGradOrder(t *testing.T) {
	r := rand.New(rand.NewPCG(14, 0))
	const vocabulary, width, positions = 11, tile + 19, 40
	for range 5 {
		tokens := make([]int32, positions)
		for i := range tokens {
			tokens[i] = int32(r.IntN(vocabulary - 2)) // some never occur
		}
		d := newRowCall(r, positions*width, 0, drawCancelling).a
		out := newRowCall(r, vocabulary*width, 0, drawCancelling).a
		want := append([]float32(nil), out...)
		for token := range vocabulary {
			for j := range width {
				var t float32
				seen := false
				for i, id := range tokens {
					if int(id) == token {
						t, seen = t+d[i*width+j], true
					}
				}
				if seen {
					want[token*width+j] = want[token*width+j] + t
				}
			}
		}
		EmbeddingGrad(out, d, tokens, width)
		for i := range out {
			if !same32(out[i], want[i]) {
				t.Fatalf("token %d, column %d: %x, want %x", i/width, i%width, out[i], want[i])
			}
		}
	}
}
