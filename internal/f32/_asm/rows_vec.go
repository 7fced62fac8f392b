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

// A vec is a run of float32 lanes in one or more registers. Sixteen lanes are
// two YMM registers or one ZMM register.
type vec []reg.VecVirtual

// A mask marks lanes of a vec: one YMM register of ones and zeros, or one K
// register, for each register of the vec.
type mask []reg.Register

// A source is an operand of a vec operation: a vec, or a constant in memory.
type source interface{ part(p int) Op }

func (v vec) part(p int) Op { return v[p] }

// A constant is one float32 repeated over the widest register.
type constant struct{ Mem }

func (c constant) part(int) Op { return c.Mem }

var constants = map[string]constant{}

// lit returns the constant with the given bits. The name appears in the
// assembly.
func lit(name string, bits uint32) constant {
	c, ok := constants[name]
	if !ok {
		c = constant{GLOBL("row_"+name, RODATA|NOPTR)}
		for i := range 8 {
			DATA(8*i, U64(uint64(bits)<<32|uint64(bits)))
		}
		constants[name] = c
	}
	return c
}

// new returns a vec of fresh registers.
func (k *rowKernel) new() vec {
	v := make(vec, k.parts)
	for p := range v {
		v[p] = k.alloc()
	}
	return v
}

// three emits op(y, x, new), AVX's operand order for "new = x op y".
func (k *rowKernel) three(op func(...Op), x vec, y source) vec {
	v := k.new()
	for p := range v {
		op(y.part(p), x[p], v[p])
	}
	return v
}

func (k *rowKernel) add(x vec, y source) vec { return k.three(VADDPS, x, y) }
func (k *rowKernel) sub(x vec, y source) vec { return k.three(VSUBPS, x, y) }
func (k *rowKernel) mul(x vec, y source) vec { return k.three(VMULPS, x, y) }
func (k *rowKernel) div(x vec, y source) vec { return k.three(VDIVPS, x, y) }

// min returns "if x < y then x else y", NaN included.
func (k *rowKernel) min(x vec, y source) vec { return k.three(VMINPS, x, y) }

func (k *rowKernel) sqrt(x vec) vec {
	v := k.new()
	for p := range v {
		VSQRTPS(x[p], v[p])
	}
	return v
}

// copy returns a copy of x, for the operations below, which overwrite.
func (k *rowKernel) copy(x source) vec {
	v := k.new()
	for p := range v {
		VMOVUPS(x.part(p), v[p])
	}
	return v
}

// zero returns a vec of +0.
func (k *rowKernel) zero() vec {
	v := k.new()
	for p := range v {
		x := v[p].AsX()
		VXORPS(x, x, x) // clears the whole register
	}
	return v
}

// fma overwrites z with fma(x, y, z).
func (k *rowKernel) fma(x vec, y source, z vec) vec {
	for p := range z {
		VFMADD231PS(y.part(p), x[p], z[p])
	}
	return z
}

// fnma overwrites z with fma(-x, y, z).
func (k *rowKernel) fnma(x vec, y source, z vec) vec {
	for p := range z {
		VFNMADD231PS(y.part(p), x[p], z[p])
	}
	return z
}

// fms overwrites z with fma(x, y, -z).
func (k *rowKernel) fms(x vec, y source, z vec) vec {
	for p := range z {
		VFMSUB231PS(y.part(p), x[p], z[p])
	}
	return z
}

// horner overwrites q with fma(q, x, c): a step of Horner's rule.
func (k *rowKernel) horner(q, x vec, c source) vec {
	for p := range q {
		VFMADD213PS(c.part(p), x[p], q[p])
	}
	return q
}

// Predicates of VCMPPS. The unordered ones also hold when an operand is NaN.
const (
	lessThan     = 0x11 // LT_OQ
	notLessThan  = 0x15 // NLT_UQ
	notLessEqual = 0x16 // NLE_UQ
)

// compare marks the lanes where the predicate holds for x and y.
func (k *rowKernel) compare(predicate uint64, x vec, y source) mask {
	m := make(mask, k.parts)
	for p := range m {
		m[p] = k.newMask()
		VCMPPS(Imm(predicate), y.part(p), x[p], m[p])
	}
	return m
}

func (k *rowKernel) newMask() reg.Register {
	if k.width == 16 {
		return K()
	}
	return k.alloc()
}

// choose returns x in marked lanes and y in the others.
func (k *rowKernel) choose(m mask, x source, y vec) vec {
	v := k.new()
	for p := range v {
		k.blend(m[p], x.part(p), y[p], v[p])
	}
	return v
}

// blend emits dst = m ? x : y for one register.
func (k *rowKernel) blend(m, x, y, dst Op) {
	if k.width == 16 {
		VBLENDMPS(x, y, m, dst)
	} else {
		VBLENDVPS(m, x, y, dst)
	}
}

// keep returns x in marked lanes and +0 in the others.
func (k *rowKernel) keep(m mask, x vec) vec {
	v := k.new()
	for p := range v {
		if k.width == 16 {
			VMOVUPS_Z(x[p], m[p], v[p])
		} else {
			VANDPS(m[p], x[p], v[p])
		}
	}
	return v
}

// addExponent adds t<<23 to the bits of x, lane by lane, and overwrites both.
func (k *rowKernel) addExponent(x, t vec) vec {
	for p := range x {
		VPSLLD(Imm(23), t[p], t[p])
		VPADDD(t[p], x[p], x[p])
	}
	return x
}
