package main

// The constants of exp.go, by the same names.
var (
	log2E      = uint32(0x3FB8AA3B)
	ln2High    = uint32(0x3F317218)
	ln2Low     = uint32(0xB102E308)
	expC2      = uint32(0x3EFFFFFE)
	expC3      = uint32(0x3E2AAA46)
	expC4      = uint32(0x3D2AAC2C)
	expC5      = uint32(0x3C091EF0)
	expC6      = uint32(0x3AB5639F)
	roundMagic = uint32(0x4B400000)
	expMax     = uint32(0x42B17217)
	expMin     = uint32(0xC2AEAC4F)
	infinity   = uint32(0x7F800000)
	one        = uint32(0x3F800000)
)

// The constants of gelu.go, by the same names.
var (
	geluA        = uint32(0xBFCC4000)
	geluALow     = uint32(0xB88A67A8)
	geluB        = uint32(0xBD922279)
	geluBLow     = uint32(0xB124D8B5)
	geluD        = uint32(0x3FCC422A)
	geluE        = uint32(0x3E5B33B6)
	geluLimit    = uint32(0x41200000)
	geluLeast    = uint32(0xC1200000) // -geluLimit
	negativeZero = uint32(0x80000000)
)

// exps emits the kernels built on the exponential.
func exps() {
	emit("expSlice", "func(y, x []float32)", "y[i] = Exp(x[i]) (N12).", several, func(k kernel) {
		y, x := k.base("y"), k.base("x")
		k.each(k.length("x"), func() {
			k.store(k.exp(k.load(x)), y)
		})
		k.finish()
	})
	emit("expStore", "func(e, s []float32, m float32) float32", "e[i] = Exp(s[i] - m); it returns R16(e) (N11).", sixteen, func(k kernel) {
		e, s, m, l := k.base("e"), k.base("s"), k.param("m"), k.zero()
		k.each(k.length("s"), func() {
			v := k.exp(k.sub(k.load(s), m))
			k.store(v, e)
			k.accumulateSum(l, v)
		})
		k.finish(k.foldSum(l))
	})
	emit("expTotal", "func(s []float32, m float32) float32", "R16 of Exp(s[i] - m) (N11).", sixteen, func(k kernel) {
		s, m, l := k.base("s"), k.param("m"), k.zero()
		k.each(k.length("s"), func() {
			k.accumulateSum(l, k.exp(k.sub(k.load(s), m)))
		})
		k.finish(k.foldSum(l))
	})
	emit("geluForward", "func(y, x []float32)", "y[i] = GELU(x[i]) (N12).", several, func(k kernel) {
		y, x := k.base("y"), k.base("x")
		k.each(k.length("x"), func() {
			k.store(k.gelu(k.load(x)), y)
		})
		k.finish()
	})
	emit("geluBackward", "func(dx, dy, x []float32)", "dx[i] = dy[i] * GELUGrad(x[i]) (N12).", several, func(k kernel) {
		dx, dy, x := k.base("dx"), k.base("dy"), k.base("x")
		k.each(k.length("x"), func() {
			g := k.geluGrad(k.load(x))
			k.store(k.mul(k.load(dy), g), dx)
		})
		k.finish()
	})
}

// exp is Exp of exp.go.
func (k kernel) exp(x vec) vec {
	t, n := k.expRound(x)
	r := k.fnma(n, lit("ln2High", ln2High), k.copy(x))
	r = k.fnma(n, lit("ln2Low", ln2Low), r)
	y := k.expReduced(r, t)
	y = k.keep(k.compare(notLessThan, x, lit("expMin", expMin)), y)
	large := k.compare(notLessEqual, x, lit("expMax", expMax))
	return k.choose(large, k.add(x, lit("infinity", infinity)), y)
}

// expSum is expSum of exp.go.
func (k kernel) expSum(x, low vec) vec {
	t, n := k.expRound(x)
	r := k.fnma(n, lit("ln2High", ln2High), k.copy(x))
	r = k.add(r, k.fnma(n, lit("ln2Low", ln2Low), low))
	return k.expReduced(r, t)
}

// expRound returns n, x/ln 2 rounded to an integer, and t with n in its low bits.
func (k kernel) expRound(x vec) (t, n vec) {
	magic := lit("roundMagic", roundMagic)
	t = k.fma(x, lit("log2E", log2E), k.copy(magic))
	return t, k.sub(t, magic)
}

// expReduced is expReduced of exp.go.
func (k kernel) expReduced(r, t vec) vec {
	p := k.copy(lit("expC6", expC6))
	p = k.horner(p, r, lit("expC5", expC5))
	p = k.horner(p, r, lit("expC4", expC4))
	p = k.horner(p, r, lit("expC3", expC3))
	p = k.horner(p, r, lit("expC2", expC2))
	p = k.horner(p, r, lit("one", one))
	p = k.horner(p, r, lit("one", one))
	return k.addExponent(p, t)
}

// gelu is GELU of gelu.go.
func (k kernel) gelu(x vec) vec {
	e, _, _ := k.geluExp(x)
	return k.geluSmall(x, k.div(x, k.add(e, lit("one", one))))
}

// geluGrad is GELUGrad of gelu.go.
func (k kernel) geluGrad(x vec) vec {
	e, c, square := k.geluExp(x)
	s := k.div(k.copy(lit("one", one)), k.add(e, lit("one", one)))
	slope := k.fma(square, lit("geluE", geluE), k.copy(lit("geluD", geluD)))
	y := k.mul(k.mul(c, slope), k.mul(e, s))
	return k.geluSmall(x, k.fma(y, s, k.copy(s)))
}

// geluSmall returns -0 where x < -geluLimit, and y elsewhere.
func (k kernel) geluSmall(x, y vec) vec {
	small := k.compare(lessThan, x, lit("geluLeast", geluLeast))
	return k.choose(small, lit("negativeZero", negativeZero), y)
}

// geluExp is geluExp of gelu.go.
func (k kernel) geluExp(x vec) (e, c, square vec) {
	b := lit("geluB", geluB)
	c = k.min(k.copy(lit("geluLimit", geluLimit)), x)
	square = k.mul(c, c)
	squareLow := k.fms(c, c, k.copy(square))
	w := k.fma(square, b, k.copy(lit("geluA", geluA)))
	d := k.sub(k.copy(lit("geluA", geluA)), w)
	d = k.fma(square, b, d)
	d = k.fma(squareLow, b, d)
	d = k.add(d, k.fma(square, lit("geluBLow", geluBLow), k.copy(lit("geluALow", geluALow))))
	z := k.mul(c, w)
	low := k.fms(c, w, k.copy(z))
	low = k.fma(c, d, low)
	return k.expSum(z, low), c, square
}
