package main

import "fmt"

// finiteBlocks stops at the first block of sixteen that has all exponent bits
// set somewhere.
func (k *neonKernel) finiteBlocks() {
	x, n := k.base("x"), k.length("x")
	exponent := k.constant(lit("infinity", infinity))
	count, low, high := k.f.general(), k.f.general(), k.f.general()
	k.f.op("MOVD $0, R{0}", count)
	k.f.mark("block")
	k.f.op("SUBS $16, R{0}, R{0}", n)
	k.f.jump("BLT", "done")
	v := k.load(x)
	for _, r := range v {
		k.f.op("VAND V{1}.B16, V{0}.B16, V{0}.B16", r, exponent)
		k.f.op("VCMEQ V{1}.S4, V{0}.S4, V{0}.S4", r, exponent)
	}
	for _, pair := range [][2]int{{0, 1}, {2, 3}, {0, 2}} {
		k.f.op("VORR V{1}.B16, V{0}.B16, V{0}.B16", v[pair[0]], v[pair[1]])
	}
	k.f.op("VMOV V{1}.D[0], R{0}", low, v[0])
	k.f.op("VMOV V{1}.D[1], R{0}", high, v[0])
	k.f.op("ORR R{1}, R{0}, R{0}", low, high)
	k.f.jump("CBNZ", "done", low)
	k.f.op("ADD $64, R{0}, R{0}", x)
	k.f.op("ADD $16, R{0}, R{0}", count)
	k.f.jump("B", "block")
	k.f.mark("done")
	k.f.op("MOVD R{0}, "+k.f.signature.at("ret"), count)
}

// doubles returns the float64 form of a vec, two registers for each of it.
func (k *neonKernel) doubles(v vec) vec {
	var d vec
	for _, r := range v {
		low, high := k.f.vector(), k.f.vector()
		k.f.wordOp(wordFCVTL, "fcvtl v{0}.2d, v{1}.2s", low, r)
		k.f.wordOp(wordFCVTL2, "fcvtl2 v{0}.2d, v{1}.4s", high, r)
		d = append(d, low, high)
	}
	return d
}

// addDoubles emits dst = dst + x.
func (k *neonKernel) addDoubles(dst, x register) {
	k.f.wordOp(wordFADDD, "fadd v{0}.2d, v{1}.2d, v{2}.2d", dst, dst, x)
}

// sumSquares keeps sixteen float64 lanes. In the tail the missing elements are
// read as +0: a square is never -0, so adding it changes nothing.
func (k *neonKernel) sumSquares() {
	x, l := k.base("x"), make(vec, 8)
	for p := range l {
		l[p] = k.f.vector()
		k.f.op("VEOR V{0}.B16, V{0}.B16, V{0}.B16", l[p])
	}
	k.each(k.length("x"), func() {
		for p, d := range k.doubles(k.load(x)) {
			k.f.op("VFMLA V{1}.D2, V{1}.D2, V{0}.D2", l[p], d)
		}
	})
	for w := 4; w > 0; w /= 2 { // 8, 4 and 2 lanes apart
		for p := range w {
			k.addDoubles(l[p], l[p+w])
		}
	}
	h := k.f.vector()
	k.f.op("VEXT $8, V{1}.B16, V{1}.B16, V{0}.B16", h, l[0])
	k.addDoubles(l[0], h)
	k.f.op("FMOVD F{0}, "+k.f.signature.at("ret"), l[0])
}

// addFloat64 and divideRound take four elements at a time, and their tails one
// by one.
func (k *neonKernel) addFloat64() {
	acc, x, n := k.base("acc"), k.base("x"), k.length("x")
	s, low, high := k.f.vector(), k.f.vector(), k.f.vector()
	k.eachFour(n, func() {
		k.f.op("FMOVQ.P 16(R{1}), F{0}", s, x)
		k.f.op("FLDPQ (R{2}), (F{0}, F{1})", low, high, acc)
		for p, d := range k.doubles(vec{s}) {
			k.addDoubles([]register{low, high}[p], d)
		}
		k.f.op("FSTPQ.P (F{0}, F{1}), 32(R{2})", low, high, acc)
	}, func() {
		k.f.op("FMOVS.P 4(R{1}), F{0}", s, x)
		k.f.op("FCVTSD F{0}, F{0}", s)
		k.f.op("FMOVD (R{1}), F{0}", low, acc)
		k.f.op("FADDD F{1}, F{0}, F{0}", low, s)
		k.f.op("FMOVD.P F{0}, 8(R{1})", low, acc)
	})
}

func (k *neonKernel) divideRound() {
	out, acc, n := k.base("out"), k.base("acc"), k.length("acc")
	divisor, low, high, s := k.f.vector(), k.f.vector(), k.f.vector(), k.f.vector()
	k.f.op("FMOVD "+k.f.signature.at("n")+", F{0}", divisor)
	k.f.op("VDUP V{0}.D[0], V{0}.D2", divisor)
	k.eachFour(n, func() {
		k.f.op("FLDPQ.P 32(R{2}), (F{0}, F{1})", low, high, acc)
		for _, d := range []register{low, high} {
			k.f.wordOp(wordFDIVD, "fdiv v{0}.2d, v{1}.2d, v{2}.2d", d, d, divisor)
		}
		k.f.wordOp(wordFCVTN, "fcvtn v{0}.2s, v{1}.2d", s, low)
		k.f.wordOp(wordFCVTN2, "fcvtn2 v{0}.4s, v{1}.2d", s, high)
		k.f.op("FMOVQ.P F{0}, 16(R{1})", s, out)
	}, func() {
		k.f.op("FMOVD.P 8(R{1}), F{0}", low, acc)
		k.f.op("FDIVD F{1}, F{0}, F{0}", low, divisor)
		k.f.op("FCVTDS F{0}, F{0}", low)
		k.f.op("FMOVS.P F{0}, 4(R{1})", low, out)
	})
}

// eachFour runs block for every four of n elements, then one for every element
// that is left. Both advance the base registers themselves.
func (k *neonKernel) eachFour(n register, block, one func()) {
	const lanes = 4
	k.f.op(fmt.Sprintf("SUBS $%d, R{0}, R{0}", lanes), n)
	k.f.jump("BLT", "tail")
	k.f.mark("block")
	block()
	k.f.op(fmt.Sprintf("SUBS $%d, R{0}, R{0}", lanes), n)
	k.f.jump("BGE", "block")
	k.f.mark("tail")
	k.f.op(fmt.Sprintf("ADDS $%d, R{0}, R{0}", lanes), n)
	k.f.jump("BEQ", "done")
	k.f.mark("element")
	one()
	k.f.op("SUBS $1, R{0}, R{0}", n)
	k.f.jump("BNE", "element")
	k.f.mark("done")
}
