package main

// steps emits the optimizer's step and the float64 sums around it.
func steps() {
	adamW()
	emit("sumSquares", "func(x []float32) float64", "the sum of squares in 16 float64 lanes (N13).", sixteen, kernel.sumSquares)
	emit("finiteBlocks", "func(x []float32) int", "the number of leading elements, in whole blocks of 16, that are finite (N21).", sixteen, kernel.finiteBlocks)
	emit("addFloat64", "func(acc []float64, x []float32)", "acc[i] = acc[i] + x[i] (N16).", single, kernel.addFloat64)
	emit("divideRound", "func(out []float32, acc []float64, n float64)", "out[i] = acc[i] / n, rounded once more to float32 (N16).", single, kernel.divideRound)
}

// adamW keeps one register per vec: ten coefficients leave room for no more.
func adamW() {
	const signature = "func(theta, m, v, g []float32, " +
		"beta1, oneMinusBeta1, beta2, oneMinusBeta2, c1, c2, eps, lr, decay, clip float32)"
	emit("adamW", signature, "one AdamW step (N18).", single, func(k kernel) {
		theta, m, v, g := k.base("theta"), k.base("m"), k.base("v"), k.base("g")
		beta1, oneMinusBeta1 := k.param("beta1"), k.param("oneMinusBeta1")
		beta2, oneMinusBeta2 := k.param("beta2"), k.param("oneMinusBeta2")
		c1, c2, eps := k.param("c1"), k.param("c2"), k.param("eps")
		lr, decay, clip := k.param("lr"), k.param("decay"), k.param("clip")
		k.each(k.length("g"), func() {
			clipped := k.mul(k.load(g), clip)
			first := k.mul(clipped, oneMinusBeta1)
			first = k.fma(k.load(m), beta1, first)
			k.store(first, m)
			second := k.mul(k.mul(clipped, oneMinusBeta2), clipped)
			second = k.fma(k.load(v), beta2, second)
			k.store(second, v)
			root := k.add(k.sqrt(k.mul(second, c2)), eps)
			u := k.div(k.mul(first, c1), root)
			weight := k.load(theta)
			u = k.add(u, k.mul(weight, decay))
			k.store(k.fnma(u, lr, weight), theta)
		})
		k.finish()
	})
}
