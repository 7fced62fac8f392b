package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// steps emits the optimizer's step and the float64 sums around it.
func steps() {
	adamW()
	sumSquares()
	finiteBlocks()
	addFloat64()
	divideRound()
}

// adamW keeps one register per vec: ten coefficients leave room for no more.
func adamW() {
	const signature = "func(theta, m, v, g []float32, " +
		"beta1, oneMinusBeta1, beta2, oneMinusBeta2, c1, c2, eps, lr, decay, clip float32)"
	emit("adamW", signature, "one AdamW step (N18).", 0, func(k *rowKernel) {
		theta, m, v, g := base("theta"), base("m"), base("v"), base("g")
		beta1, oneMinusBeta1 := k.param("beta1"), k.param("oneMinusBeta1")
		beta2, oneMinusBeta2 := k.param("beta2"), k.param("oneMinusBeta2")
		c1, c2, eps := k.param("c1"), k.param("c2"), k.param("eps")
		lr, decay, clip := k.param("lr"), k.param("decay"), k.param("clip")
		k.each(length("g"), func() {
			clipped := k.mul(k.load(g), clip)
			first := k.mul(clipped, oneMinusBeta1)
			first = k.fma(k.load(m), beta1, first)
			k.store(first, m)
			second := k.mul(k.mul(clipped, oneMinusBeta2), clipped)
			second = k.fma(k.load(v), beta2, second)
			k.store(second, v)
			root := k.add(k.sqrt(k.mul(second, c2)), eps)
			u := k.div(k.mul(first, c1), root)
			weight := k.load(theta)
			u = k.add(u, k.mul(weight, decay))
			k.store(k.fnma(u, lr, weight), theta)
		})
		finish()
	})
}

// finiteBlocks stops at the first block of sixteen that has all exponent bits
// set somewhere.
func finiteBlocks() {
	emit("finiteBlocks", "func(x []float32) int", "the number of leading elements, in whole blocks of 16, that are finite (N21).", sixteen, func(k *rowKernel) {
		x, n := base("x"), length("x")
		exponent := k.copy(lit("infinity", infinity))
		k.index = GP64()
		XORQ(k.index, k.index)
		SUBQ(Imm(sixteen-1), n)
		Label("block")
		CMPQ(k.index, n)
		JGE(LabelRef("done"))
		k.jumpIfEqual(k.bitAnd(k.load(x), exponent), exponent, "done")
		ADDQ(Imm(sixteen), k.index)
		JMP(LabelRef("block"))
		Label("done")
		VZEROUPPER()
		Store(k.index, ReturnIndex(0))
	})
}

// bitAnd returns the bitwise and.
func (k *rowKernel) bitAnd(x, y vec) vec { return k.three(VANDPS, x, y) }

// jumpIfEqual jumps if any lane of x has the bits of y.
func (k *rowKernel) jumpIfEqual(x, y vec, label string) {
	flags := GP32()
	if k.width == 16 {
		m := K()
		VPCMPEQD(y[0], x[0], m)
		KMOVW(m, flags)
	} else {
		VPCMPEQD(y[0], x[0], x[0])
		VPCMPEQD(y[1], x[1], x[1])
		VORPS(x[0], x[1], x[0])
		VMOVMSKPS(x[0], flags)
	}
	TESTL(flags, flags)
	JNZ(LabelRef(label))
}

// doubles is the number of registers that hold sixteen float64 lanes.
func (k *rowKernel) doubles() int { return 2 * sixteen / k.width }

// narrow returns a register of half a vec register's width: it holds the
// float32 form of one register of float64 lanes.
func (k *rowKernel) narrow() reg.VecVirtual {
	if k.width == 16 {
		return YMM()
	}
	return XMM()
}

// sumSquares keeps sixteen float64 lanes. In the tail the missing elements are
// read as +0: a square is never -0, so adding it changes nothing.
func sumSquares() {
	emit("sumSquares", "func(x []float32) float64", "the sum of squares in 16 float64 lanes (N13).", sixteen, func(k *rowKernel) {
		x, l := base("x"), make(vec, k.doubles())
		for p := range l {
			l[p] = k.alloc()
			low := l[p].AsX()
			VXORPS(low, low, low)
		}
		half := k.width / 2
		k.each(length("x"), func() {
			for p := range l {
				at := Mem{Base: x, Index: k.index, Scale: 4, Disp: 4 * half * p}
				d := k.alloc()
				if k.tail == nil {
					VCVTPS2PD(at, d)
				} else {
					n := k.narrow()
					VMOVUPS(k.laneWords(half*p), n)
					VMASKMOVPS(at, n, n)
					VCVTPS2PD(n, d)
				}
				VFMADD231PD(d, d, l[p])
			}
		})
		k.foldDoubles(l)
	})
}

// foldDoubles returns the fold of sixteen float64 lanes, 8, 4, 2 and 1 apart.
func (k *rowKernel) foldDoubles(l vec) {
	half := len(l) / 2
	for p := range half { // 8
		VADDPD(l[p+half], l[p], l[p])
	}
	low, high := l[0].AsY(), reg.Register(YMM()) // 4
	if k.width == 16 {
		VEXTRACTF64X4(Imm(1), l[0], high)
	} else {
		high = l[1]
	}
	VADDPD(high, low, low)
	x, h := l[0].AsX(), XMM()
	VEXTRACTF128(Imm(1), low, h) // 2
	VADDPD(h, x, x)
	VPERMILPD(Imm(1), x, h) // 1
	VADDSD(h, x, x)
	VZEROUPPER()
	b, err := ReturnIndex(0).Resolve()
	if err != nil {
		panic(err)
	}
	VMOVSD(x, b.Addr)
}

// addFloat64 and divideRound take float64 vectors of one register, and their
// tails one element at a time.
func addFloat64() {
	emit("addFloat64", "func(acc []float64, x []float32)", "acc[i] = acc[i] + x[i] (N16).", 0, func(k *rowKernel) {
		acc, x := base("acc"), base("x")
		k.eachDouble(length("x"), func() {
			d := k.alloc()
			VCVTPS2PD(k.single(x), d)
			VADDPD(k.double(acc), d, d)
			VMOVUPD(d, k.double(acc))
		}, func() {
			s, d := XMM(), XMM()
			VMOVSS(k.single(x), s)
			VCVTSS2SD(s, s, d)
			VADDSD(k.double(acc), d, d)
			VMOVSD(d, k.double(acc))
		})
		finish()
	})
}

func divideRound() {
	emit("divideRound", "func(out []float32, acc []float64, n float64)", "out[i] = acc[i] / n, rounded once more to float32 (N16).", 0, func(k *rowKernel) {
		out, acc := base("out"), base("acc")
		b, err := Param("n").Resolve()
		if err != nil {
			panic(err)
		}
		n := k.alloc()
		VBROADCASTSD(b.Addr, n)
		k.eachDouble(length("acc"), func() {
			d, s := k.alloc(), k.narrow()
			VMOVUPD(k.double(acc), d)
			VDIVPD(n, d, d)
			if k.width == 16 {
				VCVTPD2PS(d, s)
			} else {
				VCVTPD2PSY(d, s)
			}
			VMOVUPS(s, k.single(out))
		}, func() {
			d := XMM()
			VMOVSD(k.double(acc), d)
			VDIVSD(n.AsX(), d, d)
			VCVTSD2SS(d, d, d)
			VMOVSS(d, k.single(out))
		})
		finish()
	})
}

// single and double return the current element of a float32 or float64 slice.
func (k *rowKernel) single(base reg.Register) Mem { return Mem{Base: base, Index: k.index, Scale: 4} }
func (k *rowKernel) double(base reg.Register) Mem { return Mem{Base: base, Index: k.index, Scale: 8} }

// eachDouble runs block for every register of float64 lanes, then one for every
// element that is left.
func (k *rowKernel) eachDouble(n reg.Register, block, one func()) {
	lanes := uint64(k.width / 2)
	k.index = GP64()
	XORQ(k.index, k.index)
	end := GP64()
	MOVQ(n, end)
	SUBQ(Imm(lanes-1), end)
	Label("block")
	CMPQ(k.index, end)
	JGE(LabelRef("tail"))
	block()
	ADDQ(Imm(lanes), k.index)
	JMP(LabelRef("block"))
	Label("tail")
	CMPQ(k.index, n)
	JGE(LabelRef("done"))
	one()
	INCQ(k.index)
	JMP(LabelRef("tail"))
	Label("done")
}
