package f32

// vectorKernels are the assembly routines of one ISA for products with one row,
// which are bound by the time to read B.
type vectorKernels struct {
	rows    func(t, x []float32, b *float32, ldb int)
	columns func(t *[lanes]float32, x *float32, quads int, b *float32, ldb int)
}

// vectorColumns is how many columns one task of such a product takes where B's
// rows are read: runs of memory that are long enough to be fetched ahead.
const vectorColumns = 384

// vectorGroups is how many groups of sixteen columns one task takes where B's
// columns are read.
const vectorGroups = 16

// vector computes the product of one row, contiguous in a, with B.
func (p *product) vector(ks *vectorKernels) {
	p.vectors = ks
	work := int64(p.n) * int64(p.k)
	if p.bCol == 1 {
		share(work, ceilDiv(p.n, vectorColumns), p.rowsTask)
	} else {
		share(work, ceilDiv(p.n, vectorGroups*lanes), p.columnsTask)
	}
}

// vectorRows computes one task's columns of a product with B stored (k, n).
func (p *product) vectorRows(task int) {
	j0 := task * vectorColumns
	out := p.out[j0:min(j0+vectorColumns, p.n)]
	if !p.accumulate {
		clear(out)
	}
	s := strips.take(newStrip)
	t := s.b[:len(out)]
	for k0 := 0; k0 < p.k; k0 += blockK {
		clear(t)
		p.vectors.rows(t, p.a[k0:min(k0+blockK, p.k)], &p.b[k0*p.bRow+j0], p.bRow)
		add(out, out, t)
	}
	strips.give(s)
}

// vectorColumnGroups computes one task's columns of a product with B stored
// (n, k), n being at least 16.
func (p *product) vectorColumnGroups(task int) {
	s := strips.take(newStrip)
	t := (*[lanes]float32)(s.edge[:])
	j0 := task * vectorGroups * lanes
	end := min(j0+vectorGroups*lanes, p.n)
	for ; j0 < end; j0 += lanes {
		p.vectorGroup(t, j0, min(lanes, end-j0))
	}
	strips.give(s)
}

// vectorGroup computes columns j0 to j0+columns-1; t is working memory. The
// kernel takes sixteen: at the end of B it starts earlier, and what was there
// before is not touched.
func (p *product) vectorGroup(t *[lanes]float32, j0, columns int) {
	first := min(j0, p.n-lanes)
	out := p.out[j0:][:columns]
	if !p.accumulate {
		clear(out)
	}
	for k0 := 0; k0 < p.k; k0 += blockK {
		p.vectorBlock(t, first, k0, min(blockK, p.k-k0))
		for j := range out {
			out[j] += t[j0-first+j]
		}
	}
}

// vectorBlock computes one block of sixteen chains (N6).
func (p *product) vectorBlock(t *[lanes]float32, j0, k0, kc int) {
	clear(t[:])
	quads := kc / 4
	if quads > 0 {
		p.vectors.columns(t, &p.a[k0], quads, &p.b[j0*p.bCol+k0], p.bCol)
	}
	for k := k0 + quads*4; k < k0+kc; k++ {
		for j := range t {
			t[j] = FMA(p.a[k], p.b[(j0+j)*p.bCol+k], t[j])
		}
	}
}
