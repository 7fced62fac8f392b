package main

import (
	"github.com/mmcloughlin/avo/attr"
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// avx is a target that emits through avo.
type avx machine

// An avxKernel is a kernel being emitted: a loop over full vecs, and one more
// pass of the same body over the tail with the missing lanes masked.
type avxKernel struct {
	machine
	parts int           // registers of a vec
	index reg.GPVirtual // number of the vec's first element
	tail  []register    // the lanes that exist, nil outside the tail

	table, missing reg.GPVirtual // of laneWords
}

// function builds a function in avo's context. Several registers are sixteen
// lanes, too.
func (m avx) function(name, signature, doc string, w width, body func(k kernel)) {
	TEXT(name+m.suffix, attr.NOSPLIT, signature)
	Pragma("noescape")
	Doc(name + m.suffix + " is " + name + "Generic: " + doc)
	k := &avxKernel{machine: machine(m), parts: 1}
	if w != single {
		k.parts = int(sixteen) / m.width
	}
	body(kernel{k})
	RET()
}

func (k *avxKernel) base(name string) register { return Load(Param(name).Base(), GP64()) }

func (k *avxKernel) length(name string) register { return Load(Param(name).Len(), GP64()) }

// splat returns a vec with the float32 at m in every lane. Its parts are one
// register, so it must not be overwritten.
func (k *avxKernel) splat(m Mem) vec {
	r := k.alloc()
	VBROADCASTSS(m, r)
	v := make(vec, k.parts)
	for p := range v {
		v[p] = r
	}
	return v
}

// param returns a vec with a float32 parameter in every lane.
func (k *avxKernel) param(name string) vec {
	b, err := Param(name).Resolve()
	if err != nil {
		panic(err)
	}
	return k.splat(b.Addr)
}

func (k *avxKernel) each(n register, body func()) {
	lanes := uint64(k.parts * k.width)
	k.index = GP64()
	XORQ(k.index, k.index)
	end := GP64()
	MOVQ(n, end)
	SUBQ(Imm(lanes-1), end)
	JLE(LabelRef("tail"))

	Label("block")
	body()
	ADDQ(Imm(lanes), k.index)
	CMPQ(k.index, end)
	JLT(LabelRef("block"))

	Label("tail")
	rest := GP64()
	MOVQ(n, rest)
	SUBQ(k.index, rest)
	JZ(LabelRef("done"))
	k.tail = k.firstLanes(rest)
	body()
	k.tail = nil

	Label("done")
}

// firstLanes marks the first n lanes, n below 16. It overwrites n.
func (k *avxKernel) firstLanes(n reg.GPVirtual) []register {
	k.table, k.missing = GP64(), n
	LEAQ(laneTable(), k.table)
	NEGQ(n)
	m := make([]register, k.parts)
	for p := range m {
		r := k.alloc()
		VMOVUPS(k.laneWords(k.width*p), r)
		m[p] = r
		if k.width == 16 {
			m[p] = K()
			VPMOVD2M(r, m[p])
		}
	}
	return m
}

// laneWords returns the mask words of the tail's lanes from number lane on.
func (k *avxKernel) laneWords(lane int) Mem {
	return Mem{Base: k.table, Index: k.missing, Scale: 4, Disp: 64 + 4*lane}
}

var lanesInUse *Mem

// laneTable holds sixteen words of ones before sixteen of zeros: read n words
// before the middle, it is the mask of the first n lanes.
func laneTable() Mem {
	if lanesInUse == nil {
		table := GLOBL("row_lanes", RODATA|NOPTR)
		for i := range 16 {
			words := U64(0)
			if i < 8 {
				words--
			}
			DATA(8*i, words)
		}
		lanesInUse = &table
	}
	return *lanesInUse
}

// at returns the memory of part p of the current vec.
func (k *avxKernel) at(base register, p int) Mem {
	return Mem{Base: base.(reg.Register), Index: k.index, Scale: 4, Disp: 4 * k.width * p}
}

func (k *avxKernel) load(base register) vec {
	v := k.new()
	for p := range v {
		switch {
		case k.tail == nil:
			VMOVUPS(k.at(base, p), v[p])
		case k.width == 16:
			VMOVUPS_Z(k.at(base, p), k.tail[p], v[p])
		default:
			VMASKMOVPS(k.at(base, p), k.tail[p], v[p])
		}
	}
	return v
}

func (k *avxKernel) store(v vec, base register) {
	for p := range v {
		switch {
		case k.tail == nil:
			VMOVUPS(v[p], k.at(base, p))
		case k.width == 16:
			VMOVUPS(v[p], k.tail[p], k.at(base, p))
		default:
			VMASKMOVPS(v[p], k.tail[p], k.at(base, p))
		}
	}
}

// accumulate emits op for every register of acc. In the tail the lanes that do
// not exist keep their value.
func (k *avxKernel) accumulate(acc vec, op func(p int, dst register)) {
	for p, a := range acc {
		if k.tail == nil {
			op(p, a)
			continue
		}
		t := k.alloc()
		VMOVAPS(a, t)
		op(p, t)
		k.blend(k.tail[p], t, a, a)
	}
}

func (k *avxKernel) accumulateSum(acc, x vec) {
	k.accumulate(acc, func(p int, dst register) { VADDPS(x[p], dst, dst) })
}

func (k *avxKernel) accumulateProduct(acc, x, y vec) {
	k.accumulate(acc, func(p int, dst register) { VFMADD231PS(y[p], x[p], dst) })
}

// accumulateMax uses MAXPS, which gives its second operand, the lane, unless
// the first is greater.
func (k *avxKernel) accumulateMax(acc, x vec) {
	k.accumulate(acc, func(p int, dst register) { VMAXPS(dst, x[p], dst) })
}

func (k *avxKernel) foldSum(acc vec) register { return k.fold(acc, VADDPS) }
func (k *avxKernel) foldMax(acc vec) register { return k.fold(acc, VMAXPS) }

func (k *avxKernel) plusZero(x register) register {
	zero := XMM()
	VXORPS(zero, zero, zero)
	VADDSS(zero, x, x)
	return x
}

// fold combines the sixteen lanes by op.
func (k *avxKernel) fold(l vec, op func(...Op)) register {
	low, high := virtual(l[0]).AsY(), Op(YMM())
	if k.width == 16 {
		VEXTRACTF64X4(Imm(1), l[0], high)
	} else {
		high = l[1]
	}
	op(high, low, low)
	x, h := virtual(l[0]).AsX(), XMM()
	VEXTRACTF128(Imm(1), low, h)
	op(h, x, x)
	VPERMILPD(Imm(1), x, h)
	op(h, x, x)
	VMOVSHDUP(x, h)
	op(h, x, x)
	return x
}

// finish leaves the vector unit clean, too.
func (k *avxKernel) finish(results ...register) {
	VZEROUPPER()
	for i, r := range results {
		b, err := ReturnIndex(i).Resolve()
		if err != nil {
			panic(err)
		}
		VMOVSS(r, b.Addr)
	}
}
