package f32

// kernels are the assembly routines of one ISA for matrix products. They
// compute tiles of a.width x b.width outputs.
type kernels struct {
	a, b packer
	tile []tileKernel // tile[r-1] computes r rows
	half []tileKernel // of which half[r-1] computes the left half of the columns
}

// tileKernel computes one block of N6 for a panel of A and consecutive panels
// of B; see the stubs.
type tileKernel func(panels, k int, a, b, c *float32, ldc int, accumulate bool)

// tuning holds the sizes that fit a product to the machine. None changes a bit
// of the result.
type tuning struct {
	// inline is the number of multiply-adds below which waking a worker costs
	// more than it gains.
	inline int64
	// region bounds the rows of A that are packed at a time: with a block of k
	// they are 6 MiB, which the last-level cache holds.
	region int
	// strip bounds the floats of B that a task packs, to half of a core's own
	// cache of 512 KiB.
	strip int
	// group is the number of panels of A that one task packs.
	group int
}

// packWork is the number of multiply-adds that take as long as packing an
// element: about a cycle.
const packWork = 16

// tuned is a variable so that tests can make everything small.
var tuned = tuning{inline: 1 << 19, region: 1536, strip: maxStrip, group: 8}

// strip is the working memory of one task: columns j0, j0+1, ... of B, packed,
// and a tile at the right edge of out.
type strip struct {
	b           [maxStrip]float32 // first, so that it begins with a page
	edge        [maxTile]float32
	j0, columns int
}

const (
	maxStrip = 64 << 10
	maxTile  = 12 * 32
)

var strips freeList[strip]

func newStrip() *strip { return new(strip) }

// tiled computes the product a pass at a time: a region of rows by a block of
// k. First the region of A is packed for all; then each task packs a strip of B
// for itself and multiplies.
func (p *product) tiled(ks *kernels) {
	p.kernels = ks
	rows := roundUp(ceilDiv(p.m, ceilDiv(p.m, tuned.region)), ks.a.width)
	packed := takeRegion(rows * min(p.k, blockK))
	defer packed.give()
	p.packed = packed.x
	p.divide(rows)
	for p.m0 = 0; p.m0 < p.m; p.m0 += rows {
		p.rows = min(rows, p.m-p.m0)
		for p.k0 = 0; p.k0 < p.k; p.k0 += blockK {
			p.kc = min(blockK, p.k-p.k0)
			elements := int64(p.rows) * int64(p.kc)
			share(elements*packWork, ceilDiv(p.rows, tuned.group*ks.a.width), p.packTask)
			share(elements*int64(p.n), p.chunks*p.strips, p.stripTask)
		}
	}
}

// divide sets the size of the tasks: strips as wide as the cache allows, but
// several for each thread; if there are too few columns for that, strips of
// one panel and the rows in chunks.
func (p *product) divide(region int) {
	rows, columns := p.kernels.a.width, p.kernels.b.width
	want := 1
	if n := Threads(); n > 1 {
		want = 4 * n
	}
	panels := ceilDiv(p.n, columns)
	widest := max(1, min(tuned.strip/(min(p.k, blockK)*columns), ceilDiv(panels, want)))
	p.stripWidth = ceilDiv(panels, ceilDiv(panels, widest)) * columns
	p.strips = ceilDiv(p.n, p.stripWidth)

	const leastPanels = 16 // less would not repay packing the strip
	chunks := max(1, min(ceilDiv(want, p.strips), region/(leastPanels*rows)))
	p.chunkRows = roundUp(ceilDiv(region, chunks), rows)
	p.chunks = ceilDiv(region, p.chunkRows)
}

func ceilDiv(x, y int) int { return (x + y - 1) / y }

func roundUp(x, multiple int) int { return ceilDiv(x, multiple) * multiple }

// packGroupOfA packs the g-th group of A's panels.
func (p *product) packGroupOfA(g int) {
	w := p.kernels.a.width
	i := g * tuned.group * w
	lines := min(tuned.group*w, p.rows-i)
	x := p.a[(p.m0+i)*p.aRow+p.k0*p.aCol:]
	p.kernels.a.pack(p.packed[i*p.kc:], x, p.aRow, p.aCol, lines, p.kc)
}

// multiplyStrip packs a strip of B and multiplies a chunk of rows with it.
func (p *product) multiplyStrip(task int) {
	s := strips.take(newStrip)
	i0 := task / p.strips * p.chunkRows
	s.j0 = task % p.strips * p.stripWidth
	s.columns = min(p.stripWidth, p.n-s.j0)
	p.kernels.b.pack(s.b[:], p.b[p.k0*p.bRow+s.j0*p.bCol:], p.bCol, p.bRow, s.columns, p.kc)
	for i := i0; i < min(i0+p.chunkRows, p.rows); i += p.kernels.a.width {
		p.multiplyPanel(s, i)
	}
	strips.give(s)
}

// multiplyPanel multiplies the panel of A that begins with row i of the region
// by a strip of B.
func (p *product) multiplyPanel(s *strip, i int) {
	rows, width := min(p.kernels.a.width, p.rows-i), p.kernels.b.width
	tile := p.kernels.tile[rows-1]
	a := &p.packed[i*p.kc]
	out := p.out[(p.m0+i)*p.ldc+s.j0:]
	accumulate := p.accumulate || p.k0 > 0
	panels := s.columns / width
	if panels > 0 {
		tile(panels, p.kc, a, &s.b[0], &out[0], p.ldc, accumulate)
	}
	done := panels * width
	if done == s.columns {
		return
	}
	// The last panel reaches beyond out's right edge: work on a copy.
	rest := s.columns - done
	for r := 0; r < rows && accumulate; r++ {
		copy(s.edge[r*width:][:rest], out[r*p.ldc+done:])
	}
	if rest <= width/2 {
		tile = p.kernels.half[rows-1]
	}
	tile(1, p.kc, a, &s.b[done*p.kc], &s.edge[0], width, accumulate)
	for r := range rows {
		copy(out[r*p.ldc+done:][:rest], s.edge[r*width:])
	}
}
