package main

import "fmt"

// Of the 32 vector registers, a tile of 12 rows by 8 columns takes 24 for its
// chains and five for operands. A step of k then loads five registers for 24
// multiply-adds. Four multiply-adds a cycle of four cycles each, the most of
// any core so far, need 16 chains.
const (
	neonRows    = 12
	neonColumns = 8
)

// neonMatmul emits the kernels of the matrix product.
func neonMatmul(n *neonFile) {
	for _, vectors := range []int{2, 1} {
		for r := 1; r <= neonRows; r++ {
			neonTile(n, r, vectors)
		}
	}
	neonCopyPanels(n, neonRows)
	neonCopyPanels(n, neonColumns)
	neonTranspose(n)
}

// neonChains is the state of a tile kernel: one chain of N6 for each output.
type neonChains struct {
	f    *neonFunction
	a, b neonRegister
	t    [][]register // rows by one or two vectors
}

// neonTile emits the kernel for the first r rows of tiles, or of their left
// halves.
func neonTile(n *neonFile, r, vectors int) {
	name, columns, step := fmt.Sprintf("tile%dNEON", r), neonColumns, "panels x "
	if vectors == 1 {
		name, columns, step = fmt.Sprintf("half%dNEON", r), neonColumns/2, "the first "
	}
	f := n.newFunction(name, "func(panels, k int, a, b, c *float32, ldc int, accumulate bool)",
		fmt.Sprintf("%s computes one block of N6 for %d rows and %s%d columns of c, where A[i,l] is "+
			"a[l*%d+i] and B[l,j] of panel p is b[(p*k+l)*%d+j]. panels and k are at least 1.", name, r, step, columns, neonRows, neonColumns))
	panels, k, a, c, ldc := f.argument("panels"), f.argument("k"), f.argument("a"), f.argument("c"), f.stride("ldc")
	accumulate := f.argument("accumulate")
	s := neonChains{f: f, a: f.general(), b: f.argument("b")}
	for range r {
		s.t = append(s.t, f.vectors(vectors))
	}
	row := f.general()

	f.mark("panel")
	f.op("MOVD R{1}, R{0}", row, c)
	s.start(row, ldc)
	f.op("MOVD R{1}, R{0}", s.a, a)
	s.loop(k)
	f.op("MOVD R{1}, R{0}", row, c)
	s.add(row, ldc, accumulate)
	f.op(fmt.Sprintf("ADD $%d, R{0}, R{0}", 4*neonColumns), c)
	f.op("SUBS $1, R{0}, R{0}", panels)
	f.jump("BNE", "panel")
}

// start sets all chains to +0 and asks for the rows of out, which are needed
// when the chains end.
func (s *neonChains) start(row, ldc register) {
	for i, t := range s.t {
		s.f.op("PRFM (R{0}), PLDL1KEEP", row)
		if i < len(s.t)-1 {
			s.f.op("ADD R{1}, R{0}, R{0}", row, ldc)
		}
		for _, r := range t {
			s.f.op("VEOR V{0}.B16, V{0}.B16, V{0}.B16", r)
		}
	}
}

// loop runs the chains over k, four steps a turn.
func (s *neonChains) loop(k register) {
	const unroll = 4
	n := s.f.general()
	s.f.op(fmt.Sprintf("SUBS $%d, R{1}, R{0}", unroll), n, k)
	s.f.jump("BLT", "rest")
	s.f.mark("turn")
	s.steps(unroll)
	s.f.op(fmt.Sprintf("SUBS $%d, R{0}, R{0}", unroll), n)
	s.f.jump("BGE", "turn")
	s.f.mark("rest")
	s.f.op(fmt.Sprintf("ADDS $%d, R{0}, R{0}", unroll), n)
	s.f.jump("BEQ", "sum")
	s.f.mark("step")
	s.steps(1)
	s.f.op("SUBS $1, R{0}, R{0}", n)
	s.f.jump("BNE", "step")
	s.f.mark("sum")
}

// steps emits n steps of all chains: t = fma(A[i,k], B[k,j], t). A's elements
// come four to a register, and a multiply-add picks one.
func (s *neonChains) steps(n int) {
	for u := range n {
		b := s.f.vectors(len(s.t[0]))
		s.f.loadAll(b, s.b, 4*neonColumns*u)
		a := s.f.vectors((len(s.t) + 3) / 4)
		s.f.loadAll(a, s.a, 4*neonRows*u)
		for i, t := range s.t {
			for j, sum := range t {
				s.f.fmlaLane(sum, b[j], a[i/4], i%4)
			}
		}
	}
	s.f.op(fmt.Sprintf("ADD $%d, R{0}, R{0}", 4*neonRows*n), s.a)
	s.f.op(fmt.Sprintf("ADD $%d, R{0}, R{0}", 4*neonColumns*n), s.b)
}

// vectors returns n new registers.
func (f *neonFunction) vectors(n int) (v []register) {
	for range n {
		v = append(v, f.vector())
	}
	return v
}

// loadAll fills registers from consecutive memory, storeAll writes them there.
func (f *neonFunction) loadAll(v []register, base register, offset int) {
	for ; len(v) > 1; v, offset = v[2:], offset+32 {
		f.op(fmt.Sprintf("FLDPQ %d(R{2}), (F{0}, F{1})", offset), v[0], v[1], base)
	}
	if len(v) == 1 {
		f.op(fmt.Sprintf("FMOVQ %d(R{1}), F{0}", offset), v[0], base)
	}
}

func (f *neonFunction) storeAll(v []register, base register, offset int) {
	for ; len(v) > 1; v, offset = v[2:], offset+32 {
		f.op(fmt.Sprintf("FSTPQ (F{0}, F{1}), %d(R{2})", offset), v[0], v[1], base)
	}
	if len(v) == 1 {
		f.op(fmt.Sprintf("FMOVQ F{0}, %d(R{1})", offset), v[0], base)
	}
}

// add adds the chains to out, or to +0.
func (s *neonChains) add(row, ldc, accumulate register) {
	out := s.f.vectors(len(s.t[0]))
	s.f.jump("CBZ", "first", accumulate)
	s.store(row, ldc, out, func() { s.f.loadAll(out, row, 0) })
	s.f.jump("B", "next")
	s.f.mark("first")
	for _, r := range out {
		s.f.op("VEOR V{0}.B16, V{0}.B16, V{0}.B16", r)
	}
	s.store(row, ldc, out, func() {})
	s.f.mark("next")
}

// store writes out + t, where fill brings a row of out.
func (s *neonChains) store(row, ldc register, out []register, fill func()) {
	for i, t := range s.t {
		fill()
		for j, r := range t {
			s.f.three(wordFADD, "fadd", r, out[j], r)
		}
		s.f.storeAll(t, row, 0)
		if i < len(s.t)-1 {
			s.f.op("ADD R{1}, R{0}, R{0}", row, ldc)
		}
	}
}

// neonCopyPanels emits the packer of operands stored with k along their rows;
// see copyPanels.
func neonCopyPanels(n *neonFile, columns int) {
	name := fmt.Sprintf("copyPanels%dNEON", columns)
	f := n.newFunction(name, "func(dst *float32, dstPanel int, src *float32, srcRow, panels, k int)",
		fmt.Sprintf("%s copies src[l*srcRow+p*%d+j] to dst[p*dstPanel+l*%d+j] for l < k, p < panels, j < %d; "+
			"panels and k are at least 1.", name, columns, columns, columns))
	dst, dstPanel, src, srcRow := f.argument("dst"), f.stride("dstPanel"), f.argument("src"), f.stride("srcRow")
	panels, k := f.argument("panels"), f.argument("k")
	from, to, count, ahead := f.general(), f.general(), f.general(), f.general()
	x, y, z := f.vector(), f.vector(), f.vector()

	f.mark("row")
	f.op("MOVD R{1}, R{0}", from, src)
	f.op("MOVD R{1}, R{0}", to, dst)
	f.op("MOVD R{1}, R{0}", count, panels)
	f.op("ADD R{2}<<3, R{1}, R{0}", ahead, src, srcRow)
	f.mark("panel")
	f.op("PRFM (R{0}), PLDL1KEEP", ahead) // eight rows ahead
	f.op("FLDPQ (R{2}), (F{0}, F{1})", x, y, from)
	f.op("FSTPQ (F{0}, F{1}), (R{2})", x, y, to)
	if columns == 12 {
		f.op("FMOVQ 32(R{1}), F{0}", z, from)
		f.op("FMOVQ F{0}, 32(R{1})", z, to)
	}
	for _, r := range []register{from, ahead} {
		f.op(fmt.Sprintf("ADD $%d, R{0}, R{0}", 4*columns), r)
	}
	f.op("ADD R{1}, R{0}, R{0}", to, dstPanel)
	f.op("SUBS $1, R{0}, R{0}", count)
	f.jump("BNE", "panel")
	f.op("ADD R{1}, R{0}, R{0}", src, srcRow)
	f.op(fmt.Sprintf("ADD $%d, R{0}, R{0}", 4*columns), dst)
	f.op("SUBS $1, R{0}, R{0}", k)
	f.jump("BNE", "row")
}

// neonTranspose emits the packer of operands stored with k along a row: four
// neighbouring rows become columns, four steps of k at a time.
func neonTranspose(n *neonFile) {
	f := n.newFunction("transpose4NEON", "func(dst *float32, dstRow int, src *float32, srcRow, quads int)",
		"transpose4NEON copies src[i*srcRow+l] to dst[l*dstRow+i] for i < 4, l < 4*quads; quads is at least 1.")
	dst, dstRow, srcRow, quads := f.argument("dst"), f.stride("dstRow"), f.stride("srcRow"), f.argument("quads")
	src := []neonRegister{f.argument("src"), f.general(), f.general(), f.general()}
	for i := range 3 {
		f.op("ADD R{2}, R{1}, R{0}", src[i+1], src[i], srcRow)
	}
	f.mark("quad")
	var rows [4]register
	for i := range rows {
		rows[i] = f.vector()
		f.op("FMOVQ.P 16(R{1}), F{0}", rows[i], src[i])
	}
	for _, column := range f.transposed(rows) {
		f.op("FMOVQ F{0}, (R{1})", column, dst)
		f.op("ADD R{1}, R{0}, R{0}", dst, dstRow)
	}
	f.op("SUBS $1, R{0}, R{0}", quads)
	f.jump("BNE", "quad")
}
