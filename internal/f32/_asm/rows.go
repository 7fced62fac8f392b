package main

// rows emits the kernels that work along one row or element by element.
func rows() {
	sums()
	exps()
	norms()
	elementwise()
	steps()
}

// sums emits the plain row reductions.
func sums() {
	emit("sum", "func(x []float32) float32", "R16(x) (N9).", sixteen, func(k kernel) {
		x, l := k.base("x"), k.zero()
		k.each(k.length("x"), func() {
			k.accumulateSum(l, k.load(x))
		})
		k.finish(k.foldSum(l))
	})
	emit("dot", "func(x, y []float32) float32", "R16 of x*y, fused (N9).", sixteen, func(k kernel) {
		x, y, l := k.base("x"), k.base("y"), k.zero()
		k.each(k.length("x"), func() {
			k.accumulateProduct(l, k.load(x), k.load(y))
		})
		k.finish(k.foldSum(l))
	})
	emit("maximum", "func(x []float32) float32", "the maximum by \">\", plus +0 (N11).", sixteen, func(k kernel) {
		x, l := k.base("x"), k.copy(lit("negativeInfinity", 0xFF800000))
		k.each(k.length("x"), func() {
			k.accumulateMax(l, k.load(x))
		})
		k.finish(k.plusZero(k.foldMax(l)))
	})
}

// elementwise emits the kernels without a sum.
func elementwise() {
	emit("add", "func(dst, x, y []float32)", "dst[i] = x[i] + y[i].", several, func(k kernel) {
		dst, x, y := k.base("dst"), k.base("x"), k.base("y")
		k.each(k.length("dst"), func() {
			k.store(k.add(k.load(x), k.load(y)), dst)
		})
		k.finish()
	})
	emit("scale", "func(dst, x []float32, s float32)", "dst[i] = x[i] * s.", several, func(k kernel) {
		dst, x, s := k.base("dst"), k.base("x"), k.param("s")
		k.each(k.length("x"), func() {
			k.store(k.mul(k.load(x), s), dst)
		})
		k.finish()
	})
	emit("softmaxGrad", "func(ds, p, dp []float32, d, scale float32)", "ds[i] = (p[i] * (dp[i] - d)) * scale (N27).", several, func(k kernel) {
		ds, p, dp, d, scale := k.base("ds"), k.base("p"), k.base("dp"), k.param("d"), k.param("scale")
		k.each(k.length("p"), func() {
			k.store(k.mul(k.mul(k.load(p), k.sub(k.load(dp), d)), scale), ds)
		})
		k.finish()
	})
}
