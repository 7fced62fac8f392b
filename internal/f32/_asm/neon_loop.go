package main

import "fmt"

// A neonKernel is a row kernel being emitted. Each base register walks along its
// slice; in the tail, elements pass through local memory one by one.
type neonKernel struct {
	f     *neonFunction
	parts int            // registers of a vec
	bases []neonRegister // of slices, advanced after each vec

	inTail        bool
	rest, scratch neonRegister // elements of the tail, address of local memory
	tailMask      []register   // the lanes that exist, once they are needed
}

// scratchBytes hold one vec of sixteen lanes.
const scratchBytes = 64

// function builds a function. Kernels without a sum have two registers to a
// vec: four would not leave enough for GELU's derivative, and one has too few
// chains to hide the latency of its polynomial.
func (n *neonFile) function(name, signature, doc string, w width, body func(k kernel)) {
	f := n.newFunction(name+"NEON", signature, name+"NEON is "+name+"Generic: "+doc)
	f.noescape = true
	k := &neonKernel{f: f, parts: max(int(w)/4, 1)}
	body(kernel{k})
}

func (k *neonKernel) base(slice string) register {
	r := k.f.argument(slice + "_base")
	k.bases = append(k.bases, r)
	return r
}

func (k *neonKernel) length(slice string) register { return k.f.argument(slice + "_len") }

func (k *neonKernel) param(name string) vec {
	r := k.f.vector()
	k.f.op("FMOVS "+k.f.signature.at(name)+", F{0}", r)
	k.f.op("VDUP V{0}.S[0], V{0}.S4", r)
	v := make(vec, k.parts)
	for p := range v {
		v[p] = r
	}
	return v
}

func (k *neonKernel) finish(results ...register) {
	for i, r := range results {
		k.f.op("FMOVS F{0}, "+k.f.signature.at(k.f.signature.results[i]), r)
	}
}

func (k *neonKernel) each(n register, body func()) {
	lanes := 4 * k.parts
	k.f.op(fmt.Sprintf("SUBS $%d, R{0}, R{0}", lanes), n)
	k.f.jump("BLT", "tail")
	k.f.mark("block")
	body()
	for _, b := range k.bases {
		k.f.op(fmt.Sprintf("ADD $%d, R{0}, R{0}", 4*lanes), b)
	}
	k.f.op(fmt.Sprintf("SUBS $%d, R{0}, R{0}", lanes), n)
	k.f.jump("BGE", "block")

	k.f.mark("tail")
	k.f.op(fmt.Sprintf("ADDS $%d, R{0}, R{0}", lanes), n)
	k.f.jump("BEQ", "done")
	k.beginTail(n.(neonRegister))
	body()
	k.inTail = false
	k.f.mark("done")
}

// beginTail prepares for the last n elements.
func (k *neonKernel) beginTail(n neonRegister) {
	k.inTail, k.rest = true, n
	k.f.frame = scratchBytes
	k.scratch = k.f.general()
	k.f.op(fmt.Sprintf("MOVD $scratch-%d(SP), R{0}", scratchBytes), k.scratch)
}

// mask returns a register that marks the lanes of part p which the tail has.
func (k *neonKernel) mask(p int) register {
	if k.tailMask == nil {
		k.tailMask = make([]register, k.parts)
		limit := k.f.vector()
		k.f.op("VDUP R{1}, V{0}.S4", limit, k.rest)
		for q := range k.tailMask {
			first := uint32(4 * q)
			d := k.f.vector()
			k.f.load(neonConstant{fmt.Sprintf("lanes %d to %d", first, first+3), [4]uint32{first, first + 1, first + 2, first + 3}}, d)
			// The sign of the difference is the mask.
			k.f.op("VSUB V{1}.S4, V{0}.S4, V{0}.S4", d, limit)
			k.f.wordOp(wordSSHR, "sshr v{0}.4s, v{1}.4s, #31", d, d)
			k.tailMask[q] = d
		}
	}
	return k.tailMask[p]
}

// transfer copies the tail's elements one by one.
func (k *neonKernel) transfer(from, to register) {
	source, target, n, x := k.f.general(), k.f.general(), k.f.general(), k.f.general()
	again := k.f.fresh("copy")
	k.f.op("MOVD R{1}, R{0}", source, from)
	k.f.op("MOVD R{1}, R{0}", target, to)
	k.f.op("MOVD R{1}, R{0}", n, k.rest)
	k.f.mark(again)
	k.f.op("MOVWU.P 4(R{1}), R{0}", x, source)
	k.f.op("MOVW.P R{0}, 4(R{1})", x, target)
	k.f.op("SUBS $1, R{0}, R{0}", n)
	k.f.jump("BNE", again)
}

func (k *neonKernel) load(base register) vec {
	from := base
	if k.inTail {
		zero := k.f.vector()
		k.f.op("VEOR V{0}.B16, V{0}.B16, V{0}.B16", zero)
		for p := range k.parts {
			k.f.op(fmt.Sprintf("FMOVQ F{0}, %d(R{1})", 16*p), zero, k.scratch)
		}
		k.transfer(base, k.scratch)
		from = k.scratch
	}
	v := vec(k.f.vectors(k.parts))
	k.f.loadAll(v, from, 0)
	return v
}

func (k *neonKernel) store(v vec, base register) {
	to := base
	if k.inTail {
		to = k.scratch
	}
	k.f.storeAll(v, to, 0)
	if k.inTail {
		k.transfer(k.scratch, base)
	}
}

// accumulate emits op for every register of acc; in the tail on a copy, of
// which acc takes the lanes that exist.
func (k *neonKernel) accumulate(acc vec, op func(p int, dst register)) {
	for p, a := range acc {
		if !k.inTail {
			op(p, a)
			continue
		}
		t := k.f.vector()
		k.f.op("VMOV V{1}.B16, V{0}.B16", t, a)
		op(p, t)
		k.f.op("VBIT V{2}.B16, V{1}.B16, V{0}.B16", a, t, k.mask(p))
	}
}

func (k *neonKernel) accumulateSum(acc, x vec) {
	k.accumulate(acc, func(p int, dst register) { k.f.three(wordFADD, "fadd", dst, dst, x[p]) })
}

func (k *neonKernel) accumulateProduct(acc, x, y vec) {
	k.accumulate(acc, func(p int, dst register) { k.f.op("VFMLA V{2}.S4, V{1}.S4, V{0}.S4", dst, x[p], y[p]) })
}

func (k *neonKernel) accumulateMax(acc, x vec) {
	k.accumulate(acc, func(p int, dst register) { k.greater(dst, x[p]) })
}

// greater replaces the lanes of dst that are less than those of x.
func (k *neonKernel) greater(dst, x register) {
	m := k.f.vector()
	k.f.three(wordFCMGT, "fcmgt", m, x, dst)
	k.f.op("VBIT V{2}.B16, V{1}.B16, V{0}.B16", dst, x, m)
}

func (k *neonKernel) foldSum(acc vec) register {
	return k.fold(acc, func(dst, x register) { k.f.three(wordFADD, "fadd", dst, dst, x) })
}

func (k *neonKernel) foldMax(acc vec) register { return k.fold(acc, k.greater) }

// fold combines the sixteen lanes by op.
func (k *neonKernel) fold(l vec, op func(dst, x register)) register {
	op(l[0], l[2]) // 8 apart
	op(l[1], l[3])
	op(l[0], l[1]) // 4 apart
	for _, bytes := range []int{8, 4} {
		h := k.f.vector()
		k.f.op(fmt.Sprintf("VEXT $%d, V{1}.B16, V{1}.B16, V{0}.B16", bytes), h, l[0])
		op(l[0], h)
	}
	return l[0]
}

func (k *neonKernel) plusZero(x register) register {
	zero := k.f.vector()
	k.f.op("VEOR V{0}.B16, V{0}.B16, V{0}.B16", zero)
	k.f.three(wordFADD, "fadd", x, x, zero)
	return x
}
