package f32

import "testing"

// Sums whose terms are never negative let nothing cancel, but beside a huge term
// M one small one is lost and two that have met before are not. So of three
// terms, M at i and a one at j and k, the sum tells whether j and k meet before
// they meet i; the answers for all triples fix the tree of additions.
func TestN13_OrderRevealed(t *testing.T) {
	const (
		n    = 53
		huge = 3 << 25 // its square is 9 * 2^50, whose neighbours in float64 are 2 apart
	)
	x := make([]float32, n)
	for _, isa := range Available() {
		restore := ForTest(isa)
		for i := range n {
			for j := range n {
				for k := range j {
					if i == j || i == k {
						continue
					}
					clear(x)
					x[i], x[j], x[k] = huge, 1, 1
					want := float64(huge) * huge
					if treeSize(n, j, k) < treeSize(n, i, j) {
						want += 2
					}
					if got := SumSquares(x); got != want {
						t.Fatalf("%s: with M at %d and ones at %d and %d the sum is M^2 + %v, want + %v",
							isa, i, j, k, got-float64(huge)*huge, want-float64(huge)*huge)
					}
				}
			}
		}
		restore()
	}
}

// Sums over the token dimension ascend (N8), those of an embedding over the
// positions of one token (N14). In column c, +M stands at one position of the
// token, -M at another and ones elsewhere: those up to the later of the two are
// lost.
func TestN8_OrderRevealed(t *testing.T) {
	const positions, huge = 19, 1 << 60
	const columns = positions * positions
	ones, zeros := make([]float32, positions*columns), make([]float32, positions)
	for i := range ones {
		ones[i] = 1
	}
	// all is a (positions, columns) matrix; every has each of its rows twice, the
	// first time with ones for a token of its own.
	all, every := make([]float32, positions*columns), make([]float32, 2*positions*columns)
	tokens := make([]int32, 2*positions)
	for t := range positions {
		tokens[2*t+1] = 1
		for c := range columns {
			v := float32(1)
			if plus, minus := c/positions, c%positions; plus != minus {
				switch t {
				case plus:
					v = huge
				case minus:
					v = -huge
				}
			}
			all[t*columns+c], every[2*t*columns+c], every[(2*t+1)*columns+c] = v, 1, v
		}
	}
	sums := map[string]func(out []float32){
		"SumRows": func(out []float32) { SumRows(out, all, positions, columns, columns) },
		"LayerNormParams, gamma": func(out []float32) {
			LayerNormParams(out, make([]float32, columns), all, ones, zeros, ones, positions, columns, columns)
		},
		"LayerNormParams, beta": func(out []float32) {
			LayerNormParams(make([]float32, columns), out, all, ones, zeros, ones, positions, columns, columns)
		},
		"EmbeddingGrad": func(out []float32) {
			both := make([]float32, 2*columns)
			copy(both[columns:], out)
			EmbeddingGrad(both, every, tokens, columns)
			copy(out, both[columns:])
		},
	}
	for _, isa := range Available() {
		restore := ForTest(isa)
		for name, sum := range sums {
			out := make([]float32, columns)
			for c := range out {
				out[c] = 0.5 // lost if the chain began with it
			}
			sum(out)
			for c, got := range out {
				plus, minus := c/positions, c%positions
				want := float32(positions-1-max(plus, minus)) + 0.5
				if plus == minus {
					want = positions + 0.5
				}
				if got != want {
					t.Fatalf("%s on %s: with +M at %d and -M at %d the sum is %v, want %v", name, isa, plus, minus, got, want)
				}
			}
		}
		restore()
	}
}
