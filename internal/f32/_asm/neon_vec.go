package main

// shared returns a source as a vec that is only read: a constant is loaded once.
func (k *neonKernel) shared(s source) vec {
	if v, ok := s.(vec); ok {
		return v
	}
	r := k.constant(s.(constant))
	v := make(vec, k.parts)
	for p := range v {
		v[p] = r
	}
	return v
}

// constant loads a constant into a new register.
func (k *neonKernel) constant(c constant) register {
	r := k.f.vector()
	k.f.load(c.everywhere(), r)
	return r
}

// fill returns a vec of new registers that emit fills.
func (k *neonKernel) fill(emit func(p int, d register)) vec {
	v := make(vec, k.parts)
	for p := range v {
		v[p] = k.f.vector()
		emit(p, v[p])
	}
	return v
}

// binary emits new = x op y.
func (k *neonKernel) binary(word uint32, name string, x vec, y source) vec {
	ys := k.shared(y)
	return k.fill(func(p int, d register) { k.f.three(word, name, d, x[p], ys[p]) })
}

func (k *neonKernel) add(x vec, y source) vec { return k.binary(wordFADD, "fadd", x, y) }
func (k *neonKernel) sub(x vec, y source) vec { return k.binary(wordFSUB, "fsub", x, y) }
func (k *neonKernel) mul(x vec, y source) vec { return k.binary(wordFMUL, "fmul", x, y) }
func (k *neonKernel) div(x vec, y source) vec { return k.binary(wordFDIV, "fdiv", x, y) }

func (k *neonKernel) sqrt(x vec) vec {
	return k.fill(func(p int, d register) { k.f.wordOp(wordFSQRT, "fsqrt v{0}.4s, v{1}.4s", d, x[p]) })
}

// min compares and selects, since FMIN has rules of its own for NaN and zeros.
func (k *neonKernel) min(x vec, y source) vec {
	return k.choose(k.compare(lessThan, x, y), x, k.shared(y))
}

func (k *neonKernel) copy(x source) vec {
	return k.fill(func(p int, d register) {
		if v, ok := x.(vec); ok {
			k.f.op("VMOV V{1}.B16, V{0}.B16", d, v[p])
			return
		}
		k.f.load(x.(constant).everywhere(), d)
	})
}

func (k *neonKernel) zero() vec {
	return k.fill(func(_ int, d register) { k.f.op("VEOR V{0}.B16, V{0}.B16, V{0}.B16", d) })
}

// fma is FMLA, which is fused on every processor.
func (k *neonKernel) fma(x vec, y source, z vec) vec {
	ys := k.shared(y)
	for p := range z {
		k.f.op("VFMLA V{2}.S4, V{1}.S4, V{0}.S4", z[p], x[p], ys[p])
	}
	return z
}

func (k *neonKernel) fnma(x vec, y source, z vec) vec {
	ys := k.shared(y)
	for p := range z {
		k.f.op("VFMLS V{2}.S4, V{1}.S4, V{0}.S4", z[p], x[p], ys[p])
	}
	return z
}

// fms negates z first, which is exact.
func (k *neonKernel) fms(x vec, y source, z vec) vec {
	for p := range z {
		k.f.wordOp(wordFNEG, "fneg v{0}.4s, v{1}.4s", z[p], z[p])
	}
	return k.fma(x, y, z)
}

// horner multiplies into a copy of c, as FMLA overwrites its addend.
func (k *neonKernel) horner(q, x vec, c source) vec { return k.fma(q, x, k.copy(c)) }

func (k *neonKernel) addExponent(x, t vec) vec {
	for p := range x {
		k.f.op("VSHL $23, V{0}.S4, V{0}.S4", t[p])
		k.f.op("VADD V{1}.S4, V{0}.S4, V{0}.S4", x[p], t[p])
	}
	return x
}

// compare marks by FCMGT and FCMGE, which are false for NaN; a predicate that
// holds for NaN marks the lanes where its opposite is true.
func (k *neonKernel) compare(what predicate, x vec, y source) mask {
	ys := k.shared(y)
	m := mask{inverted: what != lessThan}
	for p := range x {
		d := k.f.vector()
		m.lanes = append(m.lanes, d)
		switch what {
		case lessThan, notLessThan:
			k.f.three(wordFCMGT, "fcmgt", d, ys[p], x[p])
		case notLessEqual:
			k.f.three(wordFCMGE, "fcmge", d, ys[p], x[p])
		}
	}
	return m
}

// choose selects in the mask's own register.
func (k *neonKernel) choose(m mask, x source, y vec) vec {
	xs := k.shared(x)
	v := make(vec, k.parts)
	for p := range v {
		marked, others := xs[p], y[p]
		if m.inverted {
			marked, others = others, marked
		}
		v[p] = m.lanes[p]
		k.f.op("VBSL V{2}.B16, V{1}.B16, V{0}.B16", v[p], marked, others)
	}
	return v
}

func (k *neonKernel) keep(m mask, x vec) vec {
	return k.fill(func(p int, d register) {
		if m.inverted {
			k.f.wordOp(wordBIC, "bic v{0}.16b, v{1}.16b, v{2}.16b", d, x[p], m.lanes[p])
			return
		}
		k.f.op("VAND V{2}.B16, V{1}.B16, V{0}.B16", d, x[p], m.lanes[p])
	})
}
