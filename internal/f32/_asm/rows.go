package main

import (
	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/reg"
)

func init() { sets["rows"] = rows }

// sixteen is the number of lanes of a row reduction (N9).
const sixteen = 16

// rows emits the kernels that work along one row or element by element.
func rows() {
	ConstraintExpr("amd64")
	sums()
	exps()
	norms()
	elementwise()
	steps()
}

// sums emits the plain row reductions.
func sums() {
	emit("sum", "func(x []float32) float32", "R16(x) (N9).", sixteen, func(k *rowKernel) {
		x, l := base("x"), k.zero()
		k.each(length("x"), func() {
			k.accumulateSum(l, k.load(x))
		})
		finish(k.fold(l, VADDPS))
	})
	emit("dot", "func(x, y []float32) float32", "R16 of x*y, fused (N9).", sixteen, func(k *rowKernel) {
		x, y, l := base("x"), base("y"), k.zero()
		k.each(length("x"), func() {
			k.accumulateProduct(l, k.load(x), k.load(y))
		})
		finish(k.fold(l, VADDPS))
	})
	emit("maximum", "func(x []float32) float32", "the maximum by \">\", plus +0 (N11).", sixteen, func(k *rowKernel) {
		x, l := base("x"), k.copy(lit("negativeInfinity", 0xFF800000))
		k.each(length("x"), func() {
			v := k.load(x)
			// MAXPS gives its second operand, the lane, unless v > lane.
			k.accumulate(l, func(p int, dst reg.VecVirtual) { VMAXPS(dst, v[p], dst) })
		})
		m := k.fold(l, VMAXPS)
		zero := XMM()
		VXORPS(zero, zero, zero)
		VADDSS(zero, m, m)
		finish(m)
	})
}

// elementwise emits the kernels without a sum.
func elementwise() {
	emit("add", "func(dst, x, y []float32)", "dst[i] = x[i] + y[i].", sixteen, func(k *rowKernel) {
		dst, x, y := base("dst"), base("x"), base("y")
		k.each(length("dst"), func() {
			k.store(k.add(k.load(x), k.load(y)), dst)
		})
		finish()
	})
	emit("scale", "func(dst, x []float32, s float32)", "dst[i] = x[i] * s.", sixteen, func(k *rowKernel) {
		dst, x, s := base("dst"), base("x"), k.param("s")
		k.each(length("x"), func() {
			k.store(k.mul(k.load(x), s), dst)
		})
		finish()
	})
	emit("softmaxGrad", "func(ds, p, dp []float32, d, scale float32)", "ds[i] = (p[i] * (dp[i] - d)) * scale (N27).", sixteen, func(k *rowKernel) {
		ds, p, dp, d, scale := base("ds"), base("p"), base("dp"), k.param("d"), k.param("scale")
		k.each(length("p"), func() {
			k.store(k.mul(k.mul(k.load(p), k.sub(k.load(dp), d)), scale), ds)
		})
		finish()
	})
}
