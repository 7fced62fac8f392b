package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/attr"
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// gp names a parameter that has been loaded into a general register.
func gp(param string) reg.GPVirtual { return Load(Param(param), GP64()).(reg.GPVirtual) }

// stride loads a parameter that counts float32s and scales it to bytes.
func stride(param string) reg.GPVirtual {
	r := gp(param)
	SHLQ(Imm(2), r)
	return r
}

// copyPanels emits the packer of operands stored with k along their rows: it
// cuts a strip of panels x columns into panels. A row is read through all
// panels before the next one, since it is the rows that lie far apart; often
// on another page each, so that the processor does not fetch ahead by itself.
func copyPanels(columns int) {
	name := fmt.Sprintf("copyPanels%dAVX2", columns)
	TEXT(name, attr.NOSPLIT, "func(dst *float32, dstPanel int, src *float32, srcRow, panels, k int)")
	Doc(fmt.Sprintf("%s copies src[l*srcRow+p*%d+j] to dst[p*dstPanel+l*%d+j] for l < k, p < panels,", name, columns, columns),
		fmt.Sprintf("j < %d; panels and k are at least 1.", columns))
	dst, dstPanel := gp("dst"), stride("dstPanel")
	src, srcRow := gp("src"), stride("srcRow")
	panels, k := gp("panels"), gp("k")
	from, to, n := GP64(), GP64(), GP64()

	Label("row")
	MOVQ(src, from)
	MOVQ(dst, to)
	MOVQ(panels, n)
	Label("panel")
	PREFETCHT0(Mem{Base: from, Index: srcRow, Scale: 8}) // eight rows ahead
	for j := 0; j < columns; {
		j += move(Mem{Base: from, Disp: 4 * j}, Mem{Base: to, Disp: 4 * j}, columns-j)
	}
	ADDQ(U32(uint32(4*columns)), from)
	ADDQ(dstPanel, to)
	DECQ(n)
	JNZ(LabelRef("panel"))
	ADDQ(srcRow, src)
	ADDQ(U32(uint32(4*columns)), dst)
	DECQ(k)
	JNZ(LabelRef("row"))
	VZEROUPPER()
	RET()
}

// move copies as many floats as one register takes of the n that remain and
// returns their number.
func move(from, to Mem, n int) int {
	switch {
	case n >= 8:
		y := YMM()
		VMOVUPS(from, y)
		VMOVUPS(y, to)
		return 8
	case n >= 4:
		x := XMM()
		VMOVUPS(from, x)
		VMOVUPS(x, to)
		return 4
	default:
		x := XMM()
		VMOVSD(from, x)
		VMOVSD(x, to)
		return 2
	}
}

// transpose emits the packer of operands stored with k along a row: rows
// neighbouring rows become columns. Four steps of k are transposed at a time,
// rows 0-3 in the low half of the registers and the others in the high half.
func transpose(rows int) {
	name := fmt.Sprintf("transpose%dAVX2", rows)
	TEXT(name, attr.NOSPLIT, "func(dst *float32, dstRow int, src *float32, srcRow, quads int)")
	Doc(fmt.Sprintf("%s copies src[i*srcRow+l] to dst[l*dstRow+i] for i < %d, l < 4*quads; quads is at", name, rows), "least 1.")
	dst, dstRow := gp("dst"), stride("dstRow")
	src, srcRow := gp("src"), stride("srcRow")
	quads := gp("quads")
	srcRow3, src3 := GP64(), GP64()
	LEAQ(Mem{Base: srcRow, Index: srcRow, Scale: 2}, srcRow3)
	LEAQ(Mem{Base: src, Index: srcRow3, Scale: 1}, src3)
	row := [8]Mem{
		{Base: src}, {Base: src, Index: srcRow, Scale: 1}, {Base: src, Index: srcRow, Scale: 2},
		{Base: src3}, {Base: src, Index: srcRow, Scale: 4}, {Base: src3, Index: srcRow, Scale: 2},
		{Base: src3, Index: srcRow3, Scale: 1}, {Base: src3, Index: srcRow, Scale: 4},
	}

	Label("quad")
	var r [4]reg.VecVirtual // r[i]: four of row i, four of row i+4
	for i := range r {
		r[i] = YMM()
		VMOVUPS(row[i], r[i].AsX())
		if i+4 < rows {
			VINSERTF128(Imm(1), row[i+4], r[i], r[i])
		}
	}
	lo01, hi01, lo23, hi23 := YMM(), YMM(), YMM(), YMM()
	VUNPCKLPS(r[1], r[0], lo01)
	VUNPCKHPS(r[1], r[0], hi01)
	VUNPCKLPS(r[3], r[2], lo23)
	VUNPCKHPS(r[3], r[2], hi23)
	column := YMM()
	for _, merge := range []func(){
		func() { VUNPCKLPD(lo23, lo01, column) },
		func() { VUNPCKHPD(lo23, lo01, column) },
		func() { VUNPCKLPD(hi23, hi01, column) },
		func() { VUNPCKHPD(hi23, hi01, column) },
	} {
		merge()
		storeColumn(column, dst, rows)
		ADDQ(dstRow, dst)
	}
	ADDQ(Imm(16), src)
	ADDQ(Imm(16), src3)
	DECQ(quads)
	JNZ(LabelRef("quad"))
	VZEROUPPER()
	RET()
}

// storeColumn stores the first 8 or 6 elements of a register.
func storeColumn(column reg.VecVirtual, dst reg.GPVirtual, rows int) {
	if rows == 8 {
		VMOVUPS(column, Mem{Base: dst})
		return
	}
	VMOVUPS(column.AsX(), Mem{Base: dst})
	VEXTRACTF128(Imm(1), column, column.AsX())
	VMOVSD(column.AsX(), Mem{Base: dst, Disp: 16})
}
