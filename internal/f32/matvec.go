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
	j0 := task * vectorGroups * lanes
	end := min(j0+vectorGroups*lanes, p.n)
	for ; j0 < end; j0 += lanes {
		p.vectorGroup(s, j0, min(lanes, end-j0))
	}
	strips.give(s)
}

// vectorGroup computes columns j0 to j0+columns-1; s is working memory. The
// kernel takes sixteen: at the end of B it starts earlier, and what was there
// before is not touched.
func (p *product) vectorGroup(s *strip, j0, columns int) {
	first := min(j0, p.n-lanes)
	out := p.out[j0:][:columns]
	if !p.accumulate {
		clear(out)
	}
	for k0 := 0; k0 < p.k; k0 += blockK {
		t := p.vectorBlock(s, first, k0, min(blockK, p.k-k0))
		for j := range out {
			out[j] += t[j0-first+j]
		}
	}
}

// vectorBlock computes one block of sixteen chains (N6). Up to three steps that
// remain after fours of them are done on a transposed copy.
func (p *product) vectorBlock(s *strip, j0, k0, kc int) *[lanes]float32 {
	t := (*[lanes]float32)(s.edge[:])
	clear(t[:])
	b := p.b[j0*p.bCol+k0:]
	quads := kc / 4
	if quads > 0 {
		p.vectors.columns(t, &p.a[k0], quads, &b[0], p.bCol)
	}
	if done := quads * 4; done < kc {
		transposeSteps(s.b[:], lanes, b[done:], p.bCol, lanes, 0, kc-done)
		p.vectors.rows(t[:], p.a[k0+done:k0+kc], &s.b[0], lanes)
	}
	return t
}
