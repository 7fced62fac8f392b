package main

import (
	"github.com/mmcloughlin/avo/attr"
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// A rowKernel is a kernel being emitted: a loop over full vecs, and one more
// pass of the same body over the tail with the missing lanes masked.
type rowKernel struct {
	machine
	parts int           // registers of a vec
	index reg.GPVirtual // number of the vec's first element
	tail  mask          // the lanes that exist, nil outside the tail

	table, missing reg.GPVirtual // of laneWords
}

// emit writes the function name+suffix for every machine. wide is the number
// of lanes of a vec where a kernel needs sixteen (N9); 0 means one register.
func emit(name, signature, doc string, wide int, body func(k *rowKernel)) {
	for _, m := range machines {
		TEXT(name+m.suffix, attr.NOSPLIT, signature)
		Pragma("noescape")
		Doc(name + m.suffix + " is " + name + "Generic: " + doc)
		k := &rowKernel{machine: m, parts: max(wide/m.width, 1)}
		body(k)
		RET()
	}
}

// base loads the address of a slice parameter.
func base(name string) reg.Register { return Load(Param(name).Base(), GP64()) }

// length loads the length of a slice parameter.
func length(name string) reg.Register { return Load(Param(name).Len(), GP64()) }

// splat returns a vec with the float32 at m in every lane. Its parts are one
// register, so it must not be overwritten.
func (k *rowKernel) splat(m Mem) vec {
	r := k.alloc()
	VBROADCASTSS(m, r)
	v := make(vec, k.parts)
	for p := range v {
		v[p] = r
	}
	return v
}

// param returns a vec with a float32 parameter in every lane.
func (k *rowKernel) param(name string) vec {
	b, err := Param(name).Resolve()
	if err != nil {
		panic(err)
	}
	return k.splat(b.Addr)
}

// each runs body for every vec of n elements, k.index being its first.
func (k *rowKernel) each(n reg.Register, body func()) {
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
func (k *rowKernel) firstLanes(n reg.GPVirtual) mask {
	k.table, k.missing = GP64(), n
	LEAQ(laneTable(), k.table)
	NEGQ(n)
	m := make(mask, k.parts)
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
func (k *rowKernel) laneWords(lane int) Mem {
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
func (k *rowKernel) at(base reg.Register, p int) Mem {
	return Mem{Base: base, Index: k.index, Scale: 4, Disp: 4 * k.width * p}
}

// load reads the current vec; lanes beyond the tail are +0.
func (k *rowKernel) load(base reg.Register) vec {
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

// store writes the current vec; nothing beyond the tail is touched.
func (k *rowKernel) store(v vec, base reg.Register) {
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
// not exist keep their value: adding a zero could turn -0 into +0.
func (k *rowKernel) accumulate(acc vec, op func(p int, dst reg.VecVirtual)) {
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

// accumulateSum adds x to acc.
func (k *rowKernel) accumulateSum(acc vec, x source) {
	k.accumulate(acc, func(p int, dst reg.VecVirtual) { VADDPS(x.part(p), dst, dst) })
}

// accumulateProduct adds x*y, fused, to acc.
func (k *rowKernel) accumulateProduct(acc, x vec, y source) {
	k.accumulate(acc, func(p int, dst reg.VecVirtual) { VFMADD231PS(y.part(p), x[p], dst) })
}

// fold adds the sixteen lanes pairwise, 8, 4, 2 and 1 apart (N9), by op.
func (k *rowKernel) fold(l vec, op func(...Op)) reg.Register {
	low, high := l[0].AsY(), reg.Register(YMM())
	if k.width == 16 {
		VEXTRACTF64X4(Imm(1), l[0], high)
	} else {
		high = l[1]
	}
	op(high, low, low)
	x, h := l[0].AsX(), XMM()
	VEXTRACTF128(Imm(1), low, h)
	op(h, x, x)
	VPERMILPD(Imm(1), x, h)
	op(h, x, x)
	VMOVSHDUP(x, h)
	op(h, x, x)
	return x
}

// finish leaves the vector unit clean and returns float32 results.
func finish(results ...reg.Register) {
	VZEROUPPER()
	for i, r := range results {
		b, err := ReturnIndex(i).Resolve()
		if err != nil {
			panic(err)
		}
		VMOVSS(r, b.Addr)
	}
}
