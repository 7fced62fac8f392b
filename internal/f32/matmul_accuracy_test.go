package f32

import (
	"math"
	"math/rand/v2"
	"testing"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas64"
)

// The product is a product: against float64, each element is within the bound
// of N6's chains and blocks, (min(k, 1024) + blocks) 2^-24 times the sum of
// the magnitudes of its terms.
func TestMatMul_AgreesWithFloat64(t *testing.T) {
	eachISA(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(6, 9))
		for _, c := range []matrixCase{
			{layout: NN, m: 37, n: 50, k: 768, aGap: 3},
			{layout: NT, m: 20, n: 41, k: 2500, bGap: 1},
			{layout: TN, m: 64, n: 64, k: 256, outGap: 2, accumulate: true},
		} {
			o := c.operands(normal(r))
			want, magnitude := c.float64Products(o)
			got := c.multiply(t, o)
			blocks := (c.k + blockK - 1) / blockK
			unit := float64(min(c.k, blockK)+blocks) * 0x1p-24 * 1.001 // second-order terms
			for e, x := range got {
				err := math.Abs(float64(x) - want[e])
				if bound := unit * magnitude[e]; err > bound {
					t.Fatalf("%v: out[%d,%d] is off by %g, more than %g", c, e/c.n, e%c.n, err, bound)
				}
			}
		}
	})
}

// float64Products returns the products, and the products of the magnitudes.
func (c matrixCase) float64Products(o operands) (want, magnitude []float64) {
	matrix := func(rows, cols int, at func(i, j int) float32, abs bool) blas64.General {
		g := blas64.General{Rows: rows, Cols: cols, Stride: cols, Data: make([]float64, rows*cols)}
		for e := range g.Data {
			g.Data[e] = float64(at(e/cols, e%cols))
			if abs {
				g.Data[e] = math.Abs(g.Data[e])
			}
		}
		return g
	}
	product := func(abs bool) []float64 {
		a := matrix(c.m, c.k, func(i, k int) float32 { return *c.at(o, i, k) }, abs)
		b := matrix(c.k, c.n, func(k, j int) float32 { return *c.bt(o, k, j) }, abs)
		out := matrix(c.m, c.n, func(i, j int) float32 {
			if !c.accumulate {
				return 0
			}
			return o.out[i*o.ldc+j]
		}, abs)
		blas64.Gemm(blas.NoTrans, blas.NoTrans, 1, a, b, 1, out)
		return out.Data
	}
	return product(false), product(true)
}
