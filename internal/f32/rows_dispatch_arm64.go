package f32

// Each function below runs the kernel of the active ISA (N24).

func expSlice(y, x []float32) {
	if Active() == NEON {
		expSliceNEON(y, x)
		return
	}
	expSliceGeneric(y, x)
}

func geluForward(y, x []float32) {
	if Active() == NEON {
		geluForwardNEON(y, x)
		return
	}
	geluForwardGeneric(y, x)
}

func geluBackward(dx, dy, x []float32) {
	if Active() == NEON {
		geluBackwardNEON(dx, dy, x)
		return
	}
	geluBackwardGeneric(dx, dy, x)
}

func sum(x []float32) float32 {
	if Active() == NEON {
		return sumNEON(x)
	}
	return sumGeneric(x)
}

func dot(x, y []float32) float32 {
	if Active() == NEON {
		return dotNEON(x, y)
	}
	return dotGeneric(x, y)
}

func sumSquares(x []float32) float64 {
	if Active() == NEON {
		return sumSquaresNEON(x)
	}
	return sumSquaresGeneric(x)
}

func maximum(x []float32) float32 {
	if Active() == NEON {
		return maximumNEON(x)
	}
	return maximumGeneric(x)
}

func expStore(e, s []float32, m float32) float32 {
	if Active() == NEON {
		return expStoreNEON(e, s, m)
	}
	return expStoreGeneric(e, s, m)
}

func expTotal(s []float32, m float32) float32 {
	if Active() == NEON {
		return expTotalNEON(s, m)
	}
	return expTotalGeneric(s, m)
}

func softmaxGrad(ds, p, dp []float32, d, scale float32) {
	if Active() == NEON {
		softmaxGradNEON(ds, p, dp, d, scale)
		return
	}
	softmaxGradGeneric(ds, p, dp, d, scale)
}

func squaresAbout(x []float32, mean float32) float32 {
	if Active() == NEON {
		return squaresAboutNEON(x, mean)
	}
	return squaresAboutGeneric(x, mean)
}

func normalize(y, x, gamma, beta []float32, mean, rstd float32) {
	if Active() == NEON {
		normalizeNEON(y, x, gamma, beta, mean, rstd)
		return
	}
	normalizeGeneric(y, x, gamma, beta, mean, rstd)
}

func normalizeSums(dy, x, gamma []float32, mean, rstd float32) (s1, s2 float32) {
	if Active() == NEON {
		return normalizeSumsNEON(dy, x, gamma, mean, rstd)
	}
	return normalizeSumsGeneric(dy, x, gamma, mean, rstd)
}

func normalizeGrad(dx, dy, x, gamma []float32, mean, rstd, a, b float32) {
	if Active() == NEON {
		normalizeGradNEON(dx, dy, x, gamma, mean, rstd, a, b)
		return
	}
	normalizeGradGeneric(dx, dy, x, gamma, mean, rstd, a, b)
}

func normalizeParams(t, dy, x []float32, mean, rstd float32) {
	if Active() == NEON {
		normalizeParamsNEON(t, dy, x, mean, rstd)
		return
	}
	normalizeParamsGeneric(t, dy, x, mean, rstd)
}

func add(dst, x, y []float32) {
	if Active() == NEON {
		addNEON(dst, x, y)
		return
	}
	addGeneric(dst, x, y)
}

func scale(dst, x []float32, s float32) {
	if Active() == NEON {
		scaleNEON(dst, x, s)
		return
	}
	scaleGeneric(dst, x, s)
}

func adamW(theta, m, v, g []float32, c *AdamW) {
	if Active() == NEON {
		adamWNEON(theta, m, v, g, c.Beta1, c.OneMinusBeta1, c.Beta2, c.OneMinusBeta2,
			c.C1, c.C2, c.Eps, c.LR, c.Decay, c.Clip)
		return
	}
	adamWGeneric(theta, m, v, g, c)
}

func finiteBlocks(x []float32) int {
	if Active() == NEON {
		return finiteBlocksNEON(x)
	}
	return finiteBlocksGeneric(x)
}

func addFloat64(acc []float64, x []float32) {
	if Active() == NEON {
		addFloat64NEON(acc, x)
		return
	}
	addFloat64Generic(acc, x)
}

func divideRound(out []float32, acc []float64, n float64) {
	if Active() == NEON {
		divideRoundNEON(out, acc, n)
		return
	}
	divideRoundGeneric(out, acc, n)
}
