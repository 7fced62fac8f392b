package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/attr"
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// matmul emits the kernels of the matrix product and of the pool under it.
func matmul() {
	for _, vectors := range []int{2, 1} {
		for r := 1; r <= 6; r++ {
			tile("AVX2", 6, r, vectors, 32, func() reg.VecVirtual { return YMM() })
		}
		for r := 1; r <= 12; r++ {
			tile("AVX512", 12, r, vectors, 64, func() reg.VecVirtual { return ZMM() })
		}
	}
	for _, columns := range []int{6, 12, 16, 32} {
		copyPanels(columns)
	}
	transpose(6)
	transpose(8)
	pause()
}

// chains is the state of a tile kernel: one chain of N6 for each output, r rows
// by one or two vectors of columns side by side. Each step of k loads the
// vectors of B once for all rows and one element of A for each row. Rows times
// two must exceed the latency of a multiply-add times the number that start in a
// cycle, and leave registers for four operands.
type chains struct {
	rows  int // of a panel of A
	bytes int // of a vector
	a     reg.GPVirtual
	bAt   reg.GPVirtual
	t     [][]reg.VecVirtual
	b     []reg.VecVirtual
	x     [2]reg.VecVirtual // elements of A, by turns
}

// panelVectors is the number of vectors in a row of a panel of B.
const panelVectors = 2

// tile emits the kernel for the first r rows of tiles of rows x two vectors, or
// for the left half of such tiles.
func tile(isa string, rows, r, vectors, bytes int, vector func() reg.VecVirtual) {
	width := panelVectors * bytes / 4
	name, columns, step := fmt.Sprintf("tile%d%s", r, isa), width, "panels x "
	if vectors < panelVectors {
		name, columns, step = fmt.Sprintf("half%d%s", r, isa), width/2, "the first "
	}
	TEXT(name, attr.NOSPLIT, "func(panels, k int, a, b, c *float32, ldc int, accumulate bool)")
	Doc(fmt.Sprintf("%s computes one block of N6 for %d rows and %s%d columns of c, where A[i,l] is", name, r, step, columns),
		fmt.Sprintf("a[l*%d+i] and B[l,j] of panel p is b[(p*k+l)*%d+j]. panels and k are at least 1.", rows, width))
	panels, k, a, b, c, ldc := gp("panels"), gp("k"), gp("a"), gp("b"), gp("c"), stride("ldc")
	s := chains{rows: rows, bytes: bytes, a: GP64(), bAt: b}
	row := func() (r []reg.VecVirtual) {
		for range vectors {
			r = append(r, vector())
		}
		return r
	}
	for range r {
		s.t = append(s.t, row())
	}
	s.b = row()
	s.x = [2]reg.VecVirtual{vector(), vector()}

	Label("panel")
	out := GP64()
	MOVQ(c, out)
	s.start(out, ldc)
	MOVQ(a, s.a)
	s.loop(k)
	MOVQ(c, out)
	s.add(out, ldc)
	ADDQ(U32(uint32(panelVectors*bytes)), c)
	DECQ(panels)
	JNZ(LabelRef("panel"))
	VZEROUPPER()
	RET()
}

// start sets all chains to +0 and asks for the rows of out, which are needed
// when the chains end.
func (s *chains) start(row, ldc reg.GPVirtual) {
	Comment("t = +0")
	for i, t := range s.t {
		PREFETCHT0(Mem{Base: row})
		if i < len(s.t)-1 {
			ADDQ(ldc, row)
		}
		for _, sum := range t {
			VXORPS(sum, sum, sum)
		}
	}
}

// loop runs the chains over k, several steps a turn. Tiles of all rows, where
// nearly all time is spent, take longer turns.
func (s *chains) loop(k reg.GPVirtual) {
	unroll := 8
	if len(s.t) < s.rows {
		unroll = 2
	}
	n := GP64()
	MOVQ(k, n)
	SUBQ(U8(uint8(unroll)), n)
	JLT(LabelRef("rest"))
	Label("turn")
	if len(s.t) == s.rows {
		s.fetchAhead(unroll)
	}
	s.steps(unroll)
	SUBQ(U8(uint8(unroll)), n)
	JGE(LabelRef("turn"))
	Label("rest")
	ADDQ(U8(uint8(unroll)), n)
	JZ(LabelRef("sum"))
	Label("step")
	s.steps(1)
	DECQ(n)
	JNZ(LabelRef("step"))
	Label("sum")
}

// fetchAhead asks for what n steps will read of A a few hundred cycles later. A
// comes from the last-level cache, and what the processor fetches ahead by
// itself stops at the end of each page. Behind a panel lies the next one.
func (s *chains) fetchAhead(n int) {
	const distance, line = 2048, 64
	for at := 0; at < 4*s.rows*n; at += line {
		PREFETCHT0(Mem{Base: s.a, Disp: distance + at})
	}
}

// steps emits n steps of all chains: t = fma(A[i,k], B[k,j], t).
func (s *chains) steps(n int) {
	for u := range n {
		for j, b := range s.b {
			VMOVUPS(Mem{Base: s.bAt, Disp: panelVectors*s.bytes*u + s.bytes*j}, b)
		}
		for i, t := range s.t {
			x := s.x[i%2]
			VBROADCASTSS(Mem{Base: s.a, Disp: 4 * (s.rows*u + i)}, x)
			for j, b := range s.b {
				VFMADD231PS(b, x, t[j])
			}
		}
	}
	ADDQ(U32(uint32(4*s.rows*n)), s.a)
	ADDQ(U32(uint32(panelVectors*s.bytes*n)), s.bAt)
}

// add adds the chains to out, or to +0.
func (s *chains) add(row, ldc reg.GPVirtual) {
	accumulate := Load(Param("accumulate"), GP8()).(reg.GPVirtual)
	TESTB(accumulate, accumulate)
	JZ(LabelRef("first"))
	Comment("out = add(out, t)")
	s.store(row, ldc, func(column Mem) Op { return column })
	JMP(LabelRef("next"))
	Label("first")
	Comment("out = add(+0, t)")
	VXORPS(s.b[0], s.b[0], s.b[0])
	s.store(row, ldc, func(Mem) Op { return s.b[0] })
	Label("next")
}

func (s *chains) store(row, ldc reg.GPVirtual, addend func(column Mem) Op) {
	for i, t := range s.t {
		for j := range t {
			column := Mem{Base: row, Disp: j * s.bytes}
			VADDPS(addend(column), t[j], t[j])
			VMOVUPS(t[j], column)
		}
		if i < len(s.t)-1 {
			ADDQ(ldc, row)
		}
	}
}

// pause emits the wait of a spinning goroutine: PAUSE leaves the core's other
// hardware thread, if there is one, the execution units.
func pause() {
	TEXT("pause", attr.NOSPLIT, "func(n uint32)")
	Doc("pause executes PAUSE n times; n is at least 1.")
	n := Load(Param("n"), GP32())
	Label("again")
	PAUSE()
	DECL(n)
	JNZ(LabelRef("again"))
	RET()
}
