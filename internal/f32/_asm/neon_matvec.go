package main

import "fmt"

// neonMatvec emits the kernels of products with one row; see matvec.
func neonMatvec(n *neonFile) {
	neonRowChains(n)
	neonColumnChains(n)
}

// neonRowChains emits the kernel for B stored (k, n). It takes four rows of B at
// a time, so that a chain is loaded and stored once for four steps.
func neonRowChains(n *neonFile) {
	f := n.newFunction("rowChainsNEON", "func(t, x []float32, b *float32, ldb int)",
		"rowChainsNEON continues one chain of N6 for each column of B, stored (k, n): for k ascending, "+
			"t[j] = fma(x[k], b[k*ldb+j], t[j]). Neither t nor x is empty.")
	f.noescape = true
	r := neonRowPass{f: f, t: f.argument("t_base"), n: f.argument("t_len"), ldb: f.stride("ldb"), b: f.argument("b"), x: f.argument("x_base")}
	k := f.argument("x_len")
	f.op("SUBS $4, R{0}, R{0}", k)
	f.jump("BLT", "rest")
	f.mark("four")
	f.op("FMOVQ.P 16(R{1}), F{0}", r.factors(), r.x)
	r.pass("four", 4)
	f.op("SUBS $4, R{0}, R{0}", k)
	f.jump("BGE", "four")
	f.mark("rest")
	f.op("ADDS $4, R{0}, R{0}", k)
	f.jump("BEQ", "end")
	f.mark("one")
	f.op("FMOVS.P 4(R{1}), F{0}", r.factors(), r.x)
	r.pass("one", 1)
	f.op("SUBS $1, R{0}, R{0}", k)
	f.jump("BNE", "one")
	f.mark("end")
}

// neonRowPass is the state of neonRowChains.
type neonRowPass struct {
	f               *neonFunction
	t, n, ldb, b, x neonRegister
	x4              register // up to four elements of x
}

// factors returns a new register for the elements of x of the next pass.
func (r *neonRowPass) factors() register {
	r.x4 = r.f.vector()
	return r.x4
}

// pass runs all chains over the next steps rows of B, eight columns at a time
// and then one, and moves b behind the rows.
func (r *neonRowPass) pass(label string, steps int) {
	f := r.f
	var rows []register
	for range steps {
		row := f.general()
		rows = append(rows, row)
		f.op("MOVD R{1}, R{0}", row, r.b)
		f.op("ADD R{1}, R{0}, R{0}", r.b, r.ldb)
	}
	t, n := f.general(), f.general()
	f.op("MOVD R{1}, R{0}", t, r.t)
	f.op("SUBS $8, R{1}, R{0}", n, r.n)
	f.jump("BLT", label+"Tail")
	f.mark(label + "Eight")
	sums := [2]register{f.vector(), f.vector()}
	f.op("FLDPQ (R{2}), (F{0}, F{1})", sums[0], sums[1], t)
	for lane, row := range rows {
		b := [2]register{f.vector(), f.vector()}
		f.op("FLDPQ.P 32(R{2}), (F{0}, F{1})", b[0], b[1], row)
		for i := range sums {
			f.fmlaLane(sums[i], b[i], r.x4, lane)
		}
	}
	f.op("FSTPQ.P (F{0}, F{1}), 32(R{2})", sums[0], sums[1], t)
	f.op("SUBS $8, R{0}, R{0}", n)
	f.jump("BGE", label+"Eight")
	f.mark(label + "Tail")
	f.op("ADDS $8, R{0}, R{0}", n)
	f.jump("BEQ", label+"End")
	f.mark(label + "Column")
	sum := f.vector()
	f.op("FMOVS (R{1}), F{0}", sum, t)
	for lane, row := range rows {
		b := f.vector()
		f.op("FMOVS.P 4(R{1}), F{0}", b, row)
		f.fmlaLane(sum, b, r.x4, lane)
	}
	f.op("FMOVS.P F{0}, 4(R{1})", sum, t)
	f.op("SUBS $1, R{0}, R{0}", n)
	f.jump("BNE", label+"Column")
	f.mark(label + "End")
}

// neonColumnChains emits the kernel for B stored (n, k). Lanes are columns, but
// neighbours in memory are steps of one chain: squares of four by four are
// transposed in registers.
func neonColumnChains(n *neonFile) {
	f := n.newFunction("columnChainsNEON", "func(t *[16]float32, x *float32, quads int, b *float32, ldb int)",
		"columnChainsNEON computes sixteen chains of N6, each from +0, for as many rows of B, stored (n, k): for k < 4*quads "+
			"ascending, t[j] = fma(x[k], b[j*ldb+k], t[j]). quads is at least 1.")
	f.noescape = true
	t, x, quads, ldb := f.argument("t"), f.argument("x"), f.argument("quads"), f.stride("ldb")
	rows := []register{f.argument("b")}
	for len(rows) < int(sixteen) {
		next := f.general()
		f.op("ADD R{2}, R{1}, R{0}", next, rows[len(rows)-1], ldb)
		rows = append(rows, next)
	}
	var sums [4]register
	for i := range sums {
		sums[i] = f.vector()
		f.op("VEOR V{0}.B16, V{0}.B16, V{0}.B16", sums[i])
	}
	f.mark("square")
	x4 := f.vector()
	f.op("FMOVQ.P 16(R{1}), F{0}", x4, x)
	for i, sum := range sums {
		var four [4]register
		for j := range four {
			four[j] = f.vector()
			f.op("FMOVQ.P 16(R{1}), F{0}", four[j], rows[4*i+j])
		}
		for lane, column := range f.transposed(four) {
			f.fmlaLane(sum, column, x4, lane)
		}
	}
	f.op("SUBS $1, R{0}, R{0}", quads)
	f.jump("BNE", "square")
	for i := 0; i < len(sums); i += 2 {
		f.op(fmt.Sprintf("FSTPQ (F{0}, F{1}), %d(R{2})", 16*i), sums[i], sums[i+1], t)
	}
}

// transposed returns the columns of four rows of four floats.
func (f *neonFunction) transposed(rows [4]register) (columns [4]register) {
	var pairs [4]register // of rows 0 and 1, then of 2 and 3: even columns, odd columns
	for i := range columns {
		pairs[i], columns[i] = f.vector(), f.vector()
	}
	for i := range 2 {
		f.op("VTRN1 V{2}.S4, V{1}.S4, V{0}.S4", pairs[2*i], rows[2*i], rows[2*i+1])
		f.op("VTRN2 V{2}.S4, V{1}.S4, V{0}.S4", pairs[2*i+1], rows[2*i], rows[2*i+1])
	}
	for i := range 2 {
		f.op("VZIP1 V{2}.D2, V{1}.D2, V{0}.D2", columns[i], pairs[i], pairs[2+i])
		f.op("VZIP2 V{2}.D2, V{1}.D2, V{0}.D2", columns[2+i], pairs[i], pairs[2+i])
	}
	return columns
}
