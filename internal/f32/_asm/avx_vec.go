package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// A machine is an instruction set that row kernels are emitted for. One
// template serves all of them.
type machine struct {
	suffix string                // of the kernels' names
	width  int                   // float32 lanes of a register
	alloc  func() reg.VecVirtual // a new register
}

var machines = []machine{
	{"AVX2", 8, YMM},
	{"AVX512", 16, ZMM},
}

// part returns operand p of a source: a register, or a constant in memory.
func part(s source, p int) Op {
	switch s := s.(type) {
	case vec:
		return s[p]
	case constant:
		return s.memory()
	}
	panic("asm: unknown source")
}

// virtual returns the register that stands behind a part of a vec.
func virtual(r register) reg.VecVirtual { return r.(reg.VecVirtual) }

var constantsInUse = map[string]Mem{}

// memory returns the constant repeated over the widest register.
func (c constant) memory() Mem {
	m, ok := constantsInUse[c.name]
	if !ok {
		m = GLOBL("row_"+c.name, RODATA|NOPTR)
		for i := range 8 {
			DATA(8*i, U64(uint64(c.bits)<<32|uint64(c.bits)))
		}
		constantsInUse[c.name] = m
	}
	return m
}

// new returns a vec of fresh registers.
func (k *avxKernel) new() vec {
	v := make(vec, k.parts)
	for p := range v {
		v[p] = k.alloc()
	}
	return v
}

// three emits op(y, x, new), AVX's operand order for "new = x op y".
func (k *avxKernel) three(op func(...Op), x vec, y source) vec {
	v := k.new()
	for p := range v {
		op(part(y, p), x[p], v[p])
	}
	return v
}

func (k *avxKernel) add(x vec, y source) vec { return k.three(VADDPS, x, y) }
func (k *avxKernel) sub(x vec, y source) vec { return k.three(VSUBPS, x, y) }
func (k *avxKernel) mul(x vec, y source) vec { return k.three(VMULPS, x, y) }
func (k *avxKernel) div(x vec, y source) vec { return k.three(VDIVPS, x, y) }

func (k *avxKernel) min(x vec, y source) vec { return k.three(VMINPS, x, y) }

func (k *avxKernel) sqrt(x vec) vec {
	v := k.new()
	for p := range v {
		VSQRTPS(x[p], v[p])
	}
	return v
}

func (k *avxKernel) copy(x source) vec {
	v := k.new()
	for p := range v {
		VMOVUPS(part(x, p), v[p])
	}
	return v
}

func (k *avxKernel) zero() vec {
	v := k.new()
	for p := range v {
		x := virtual(v[p]).AsX()
		VXORPS(x, x, x) // clears the whole register
	}
	return v
}

func (k *avxKernel) fma(x vec, y source, z vec) vec {
	for p := range z {
		VFMADD231PS(part(y, p), x[p], z[p])
	}
	return z
}

func (k *avxKernel) fnma(x vec, y source, z vec) vec {
	for p := range z {
		VFNMADD231PS(part(y, p), x[p], z[p])
	}
	return z
}

func (k *avxKernel) fms(x vec, y source, z vec) vec {
	for p := range z {
		VFMSUB231PS(part(y, p), x[p], z[p])
	}
	return z
}

func (k *avxKernel) horner(q, x vec, c source) vec {
	for p := range q {
		VFMADD213PS(part(c, p), x[p], q[p])
	}
	return q
}

// predicates of VCMPPS, as kernel.go names them.
var predicates = [...]uint64{
	lessThan:     0x11, // LT_OQ
	notLessThan:  0x15, // NLT_UQ
	notLessEqual: 0x16, // NLE_UQ
}

func (k *avxKernel) compare(what predicate, x vec, y source) mask {
	var m mask
	for p := range k.parts {
		m.lanes = append(m.lanes, k.newMask())
		VCMPPS(Imm(predicates[what]), part(y, p), x[p], m.lanes[p])
	}
	return m
}

func (k *avxKernel) newMask() register {
	if k.width == 16 {
		return K()
	}
	return k.alloc()
}

func (k *avxKernel) choose(m mask, x source, y vec) vec {
	v := k.new()
	for p := range v {
		k.blend(m.lanes[p], part(x, p), y[p], v[p])
	}
	return v
}

// blend emits dst = m ? x : y for one register.
func (k *avxKernel) blend(m, x, y, dst Op) {
	if k.width == 16 {
		VBLENDMPS(x, y, m, dst)
	} else {
		VBLENDVPS(m, x, y, dst)
	}
}

func (k *avxKernel) keep(m mask, x vec) vec {
	v := k.new()
	for p := range v {
		if k.width == 16 {
			VMOVUPS_Z(x[p], m.lanes[p], v[p])
		} else {
			VANDPS(m.lanes[p], x[p], v[p])
		}
	}
	return v
}

func (k *avxKernel) addExponent(x, t vec) vec {
	for p := range x {
		VPSLLD(Imm(23), t[p], t[p])
		VPADDD(t[p], x[p], x[p])
	}
	return x
}
