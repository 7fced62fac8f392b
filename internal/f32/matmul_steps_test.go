package f32

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// prefixes computes products over the first k steps of its operands, for k
// ascending by 1, by the words of N6.
type prefixes struct {
	c    matrixCase // with the full k
	o    operands
	k    int
	done []float32 // the sum of the complete blocks
	t    []float32 // the chains of the present block
}

// next goes one step on and returns the products, and a case for them.
func (p *prefixes) next() (matrixCase, []float32) {
	for e := range p.t {
		p.t[e] = FMA(*p.c.at(p.o, e/p.c.n, p.k), *p.c.bt(p.o, p.k, e%p.c.n), p.t[e])
	}
	want := make([]float32, len(p.t))
	for e, t := range p.t {
		want[e] = p.done[e] + t
	}
	if p.k++; p.k%1024 == 0 {
		copy(p.done, want)
		clear(p.t)
	}
	c := p.c
	c.k = p.k
	return c, want
}

// Every number of steps up to 2,000, for a row more and a column more than the
// largest tile, and for one row, in each layout in turn.
func TestN6_MatMulEveryK(t *testing.T) {
	const steps = 2000
	const some = 17 // of the portable product, which has no tails in k, and of short tests
	for _, m := range []int{1, 13} {
		r := rand.New(rand.NewPCG(6, 30))
		var products [3]prefixes
		for layout := range Layout(3) {
			c := matrixCase{layout: layout, m: m, n: 33, k: steps}
			products[layout] = prefixes{c: c, o: c.operands(normal(r)), done: make([]float32, m*c.n), t: make([]float32, m*c.n)}
		}
		for k := 1; k <= steps; k++ {
			for layout := range products {
				c, want := products[layout].next()
				if k%3 != layout {
					continue
				}
				for _, isa := range Available() {
					if k%some != 0 && (isa == Portable || testing.Short()) {
						continue
					}
					restore := ForTest(isa)
					mustEqual(t, fmt.Sprint(isa, ": ", c), c.n, c.multiply(t, products[layout].o), want)
					restore()
				}
			}
		}
	}
}
