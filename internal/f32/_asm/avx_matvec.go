package main

import (
	"github.com/mmcloughlin/avo/attr"
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// matvec emits the kernels of products with one row. Each element of B is used
// once, so that reading B is all that counts: both kernels read it where it
// lies, several rows of it side by side.
func matvec() {
	for _, m := range machines {
		rowChains(m)
		columnChains(m)
	}
}

// rowChains emits the kernel for B stored (k, n). It takes four rows of B at a
// time from front to back, so that a chain is loaded and stored once for four
// steps, and asks the second-level cache for the next four: fetched into the
// first level they would wait for its few buffers of misses.
func rowChains(m machine) {
	name := "rowChains" + m.suffix
	TEXT(name, attr.NOSPLIT, "func(t, x []float32, b *float32, ldb int)")
	Pragma("noescape")
	Doc(name+" continues one chain of N6 for each column of B, stored (k, n): for k ascending,",
		"t[j] = fma(x[k], b[k*ldb+j], t[j]). Neither t nor x is empty.")
	r := rowPass{machine: m, t: Load(Param("t").Base(), GP64()).(reg.GPVirtual), n: Load(Param("t").Len(), GP64()).(reg.GPVirtual), ldb: stride("ldb")}
	x, k, b := Load(Param("x").Base(), GP64()).(reg.GPVirtual), Load(Param("x").Len(), GP64()).(reg.GPVirtual), gp("b")
	tail := GP64()
	MOVQ(r.n, tail)
	ANDQ(U8(uint8(m.width-1)), tail)
	r.tail = firstLanesOf(m, tail)

	SUBQ(Imm(4), k)
	JLT(LabelRef("rest"))
	Label("four")
	r.pass("four", x, b, 4)
	SUBQ(Imm(4), k)
	JGE(LabelRef("four"))
	Label("rest")
	ADDQ(Imm(4), k)
	JZ(LabelRef("end"))
	Label("one")
	r.pass("one", x, b, 1)
	DECQ(k)
	JNZ(LabelRef("one"))
	Label("end")
	VZEROUPPER()
	RET()
}

// rowPass is the state of rowChains.
type rowPass struct {
	machine
	t, n, ldb reg.GPVirtual
	tail      reg.Register // mask of the columns after the last full vector
}

// pass runs all chains over the next steps rows of B and moves x and b behind
// them.
func (r *rowPass) pass(label string, x, b reg.GPVirtual, steps int) {
	var row []reg.GPVirtual
	var factor []reg.VecVirtual
	for i := range steps {
		row, factor = append(row, GP64()), append(factor, r.alloc())
		VBROADCASTSS(Mem{Base: x, Disp: 4 * i}, factor[i])
		MOVQ(b, row[i])
		ADDQ(r.ldb, b)
	}
	ADDQ(Imm(uint64(4*steps)), x)
	t, n := GP64(), GP64()
	MOVQ(r.t, t)
	MOVQ(r.n, n)
	SUBQ(U8(uint8(r.width)), n)
	JLT(LabelRef(label + "Tail"))
	Label(label + "Vector")
	v := r.alloc()
	VMOVUPS(Mem{Base: t}, v)
	for i := range row {
		PREFETCHT1(Mem{Base: row[i], Index: r.ldb, Scale: uint8(steps)})
		VFMADD231PS(Mem{Base: row[i]}, factor[i], v)
	}
	VMOVUPS(v, Mem{Base: t})
	for _, p := range append(row, t) {
		ADDQ(U8(uint8(4*r.width)), p)
	}
	SUBQ(U8(uint8(r.width)), n)
	JGE(LabelRef(label + "Vector"))
	Label(label + "Tail")
	ADDQ(U8(uint8(r.width)), n)
	JZ(LabelRef(label + "End"))
	r.load(t, v)
	for i := range row {
		w := r.alloc()
		r.load(row[i], w)
		VFMADD231PS(w, factor[i], v)
	}
	if r.width == 16 {
		VMOVUPS(v, r.tail, Mem{Base: t})
	} else {
		VMASKMOVPS(v, r.tail, Mem{Base: t})
	}
	Label(label + "End")
}

// load reads the columns after the last full vector.
func (r *rowPass) load(from reg.GPVirtual, v reg.VecVirtual) {
	if r.width == 16 {
		VMOVUPS_Z(Mem{Base: from}, r.tail, v)
	} else {
		VMASKMOVPS(Mem{Base: from}, r.tail, v)
	}
}

// firstLanesOf marks the first n lanes of a register, n below its width. It
// overwrites n.
func firstLanesOf(m machine, n reg.GPVirtual) reg.Register {
	table := GP64()
	LEAQ(laneTable(), table)
	NEGQ(n)
	words := m.alloc()
	VMOVUPS(Mem{Base: table, Index: n, Scale: 4, Disp: 64}, words)
	if m.width != 16 {
		return words
	}
	k := K()
	VPMOVD2M(words, k)
	return k
}

// columnChains emits the kernel for B stored (n, k). Lanes are columns, but
// neighbours in memory are steps of one chain: squares of four by four are
// transposed in registers, which costs less than waiting for the memory.
func columnChains(m machine) {
	name := "columnChains" + m.suffix
	TEXT(name, attr.NOSPLIT, "func(t *[16]float32, x *float32, quads int, b *float32, ldb int)")
	Pragma("noescape")
	Doc(name+" computes sixteen chains of N6, each from +0, for as many rows of B, stored (n, k): for k < 4*quads",
		"ascending, t[j] = fma(x[k], b[j*ldb+k], t[j]). quads is at least 1.")
	t, x, quads, b, ld := gp("t"), gp("x"), gp("quads"), gp("b"), stride("ldb")
	ld3 := GP64()
	LEAQ(Mem{Base: ld, Index: ld, Scale: 2}, ld3)
	fours := []reg.GPVirtual{b}
	for len(fours) < 4 {
		next := GP64()
		LEAQ(Mem{Base: fours[len(fours)-1], Index: ld, Scale: 4}, next)
		fours = append(fours, next)
	}
	row := func(j int) Mem {
		at := Mem{Base: fours[j/4]}
		switch j % 4 {
		case 1:
			at.Index, at.Scale = ld, 1
		case 2:
			at.Index, at.Scale = ld, 2
		case 3:
			at.Index, at.Scale = ld3, 1
		}
		return at
	}
	sums := make([]reg.VecVirtual, 16/m.width)
	for i := range sums {
		sums[i] = m.alloc()
		VXORPS(sums[i].AsX(), sums[i].AsX(), sums[i].AsX())
	}
	Label("square")
	for i, sum := range sums {
		for k, column := range square(m, func(r, lane int) Mem { return row(m.width*i + 4*lane + r) }) {
			factor := m.alloc()
			VBROADCASTSS(Mem{Base: x, Disp: 4 * k}, factor)
			VFMADD231PS(column, factor, sum)
		}
	}
	for _, p := range append(fours, x) {
		ADDQ(Imm(16), p)
	}
	DECQ(quads)
	JNZ(LabelRef("square"))
	for i, sum := range sums {
		VMOVUPS(sum, Mem{Base: t, Disp: 4 * m.width * i})
	}
	VZEROUPPER()
	RET()
}

// square loads four floats of each of m.width rows and returns them by column.
// Part lane of register r begins as row(r, lane), so that transposing each
// part leaves the rows in order.
func square(m machine, row func(r, lane int) Mem) [4]reg.VecVirtual {
	var in, mixed, out [4]reg.VecVirtual
	for r := range in {
		in[r] = m.alloc()
		VMOVUPS(row(r, 0), in[r].AsX())
		for lane := 1; lane < m.width/4; lane++ {
			if m.width == 16 {
				VINSERTF32X4(Imm(uint64(lane)), row(r, lane), in[r], in[r])
			} else {
				VINSERTF128(Imm(uint64(lane)), row(r, lane), in[r], in[r])
			}
		}
	}
	for r := range mixed {
		mixed[r], out[r] = m.alloc(), m.alloc()
	}
	VUNPCKLPS(in[1], in[0], mixed[0])
	VUNPCKHPS(in[1], in[0], mixed[1])
	VUNPCKLPS(in[3], in[2], mixed[2])
	VUNPCKHPS(in[3], in[2], mixed[3])
	VUNPCKLPD(mixed[2], mixed[0], out[0])
	VUNPCKHPD(mixed[2], mixed[0], out[1])
	VUNPCKLPD(mixed[3], mixed[1], out[2])
	VUNPCKHPD(mixed[3], mixed[1], out[3])
	return out
}
