package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// finiteBlocks stops at the first block of sixteen that has all exponent bits
// set somewhere.
func (k *avxKernel) finiteBlocks() {
	x, n := k.base("x"), k.length("x")
	exponent := k.copy(lit("infinity", infinity))
	k.index = GP64()
	XORQ(k.index, k.index)
	SUBQ(Imm(uint64(sixteen-1)), n)
	Label("block")
	CMPQ(k.index, n)
	JGE(LabelRef("done"))
	k.jumpIfEqual(k.bitAnd(k.load(x), exponent), exponent, "done")
	ADDQ(Imm(uint64(sixteen)), k.index)
	JMP(LabelRef("block"))
	Label("done")
	VZEROUPPER()
	Store(k.index, ReturnIndex(0))
}

// bitAnd returns the bitwise and.
func (k *avxKernel) bitAnd(x, y vec) vec { return k.three(VANDPS, x, y) }

// jumpIfEqual jumps if any lane of x has the bits of y.
func (k *avxKernel) jumpIfEqual(x, y vec, label string) {
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
func (k *avxKernel) doubles() int { return 2 * int(sixteen) / k.width }

// narrow returns a register of half a vec register's width: it holds the
// float32 form of one register of float64 lanes.
func (k *avxKernel) narrow() reg.VecVirtual {
	if k.width == 16 {
		return YMM()
	}
	return XMM()
}

// sumSquares keeps sixteen float64 lanes. In the tail the missing elements are
// read as +0: a square is never -0, so adding it changes nothing.
func (k *avxKernel) sumSquares() {
	x, l := k.base("x"), make(vec, k.doubles())
	for p := range l {
		l[p] = k.alloc()
		low := virtual(l[p]).AsX()
		VXORPS(low, low, low)
	}
	half := k.width / 2
	k.each(k.length("x"), func() {
		for p := range l {
			at := Mem{Base: x.(reg.Register), Index: k.index, Scale: 4, Disp: 4 * half * p}
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
}

// foldDoubles returns the fold of sixteen float64 lanes, 8, 4, 2 and 1 apart.
func (k *avxKernel) foldDoubles(l vec) {
	half := len(l) / 2
	for p := range half { // 8
		VADDPD(l[p+half], l[p], l[p])
	}
	low, high := virtual(l[0]).AsY(), Op(YMM()) // 4
	if k.width == 16 {
		VEXTRACTF64X4(Imm(1), l[0], high)
	} else {
		high = l[1]
	}
	VADDPD(high, low, low)
	x, h := virtual(l[0]).AsX(), XMM()
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
func (k *avxKernel) addFloat64() {
	acc, x := k.base("acc"), k.base("x")
	k.eachDouble(k.length("x"), func() {
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
	k.finish()
}

func (k *avxKernel) divideRound() {
	out, acc := k.base("out"), k.base("acc")
	b, err := Param("n").Resolve()
	if err != nil {
		panic(err)
	}
	n := k.alloc()
	VBROADCASTSD(b.Addr, n)
	k.eachDouble(k.length("acc"), func() {
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
	k.finish()
}

// single and double return the current element of a float32 or float64 slice.
func (k *avxKernel) single(base register) Mem {
	return Mem{Base: base.(reg.Register), Index: k.index, Scale: 4}
}
func (k *avxKernel) double(base register) Mem {
	return Mem{Base: base.(reg.Register), Index: k.index, Scale: 8}
}

// eachDouble runs block for every register of float64 lanes, then one for every
// element that is left.
func (k *avxKernel) eachDouble(n register, block, one func()) {
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
