package main

// norms emits the kernels of layer normalisation (N10, N27).
func norms() {
	emit("squaresAbout", "func(x []float32, mean float32) float32", "R16 of c*c, fused, with c = x[i] - mean (N10).", sixteen, func(k kernel) {
		x, mean, l := k.base("x"), k.param("mean"), k.zero()
		k.each(k.length("x"), func() {
			c := k.sub(k.load(x), mean)
			k.accumulateProduct(l, c, c)
		})
		k.finish(k.foldSum(l))
	})
	emit("normalize", "func(y, x, gamma, beta []float32, mean, rstd float32)", "y[i] = fma((x[i] - mean) * rstd, gamma[i], beta[i]) (N10).", several, func(k kernel) {
		y, x, gamma, beta := k.base("y"), k.base("x"), k.base("gamma"), k.base("beta")
		mean, rstd := k.param("mean"), k.param("rstd")
		k.each(k.length("x"), func() {
			xhat := k.xhat(k.load(x), mean, rstd)
			k.store(k.fma(xhat, k.load(gamma), k.load(beta)), y)
		})
		k.finish()
	})
	emit("normalizeSums", "func(dy, x, gamma []float32, mean, rstd float32) (s1, s2 float32)", "R16 of dxhat and of dxhat*xhat, fused (N27).", sixteen, func(k kernel) {
		dy, x, gamma := k.base("dy"), k.base("x"), k.base("gamma")
		mean, rstd := k.param("mean"), k.param("rstd")
		l1, l2 := k.zero(), k.zero()
		k.each(k.length("x"), func() {
			xhat := k.xhat(k.load(x), mean, rstd)
			dxhat := k.mul(k.load(dy), k.load(gamma))
			k.accumulateSum(l1, dxhat)
			k.accumulateProduct(l2, dxhat, xhat)
		})
		k.finish(k.foldSum(l1), k.foldSum(l2))
	})
	emit("normalizeGrad", "func(dx, dy, x, gamma []float32, mean, rstd, a, b float32)", "dx[i] = dx[i] + rstd * fma(-xhat, b, dxhat - a) (N27).", several, func(k kernel) {
		dx, dy, x, gamma := k.base("dx"), k.base("dy"), k.base("x"), k.base("gamma")
		mean, rstd, a, b := k.param("mean"), k.param("rstd"), k.param("a"), k.param("b")
		k.each(k.length("x"), func() {
			xhat := k.xhat(k.load(x), mean, rstd)
			t := k.sub(k.mul(k.load(dy), k.load(gamma)), a)
			t = k.fnma(xhat, b, t)
			k.store(k.add(k.load(dx), k.mul(t, rstd)), dx)
		})
		k.finish()
	})
	emit("normalizeParams", "func(t, dy, x []float32, mean, rstd float32)", "t[i] = fma(dy[i], xhat[i], t[i]) (N8).", several, func(k kernel) {
		t, dy, x := k.base("t"), k.base("dy"), k.base("x")
		mean, rstd := k.param("mean"), k.param("rstd")
		k.each(k.length("x"), func() {
			xhat := k.xhat(k.load(x), mean, rstd)
			k.store(k.fma(k.load(dy), xhat, k.load(t)), t)
		})
		k.finish()
	})
}

// xhat returns (x - mean) * rstd.
func (k kernel) xhat(x, mean, rstd vec) vec { return k.mul(k.sub(x, mean), rstd) }
