package f32

// Each function below runs the kernel of the active ISA (N24).

func expSlice(y, x []float32) {
	switch Active() {
	case AVX512:
		expSliceAVX512(y, x)
	case AVX2:
		expSliceAVX2(y, x)
	default:
		expSliceGeneric(y, x)
	}
}

func geluForward(y, x []float32) {
	switch Active() {
	case AVX512:
		geluForwardAVX512(y, x)
	case AVX2:
		geluForwardAVX2(y, x)
	default:
		geluForwardGeneric(y, x)
	}
}

func geluBackward(dx, dy, x []float32) {
	switch Active() {
	case AVX512:
		geluBackwardAVX512(dx, dy, x)
	case AVX2:
		geluBackwardAVX2(dx, dy, x)
	default:
		geluBackwardGeneric(dx, dy, x)
	}
}

func sum(x []float32) float32 {
	switch Active() {
	case AVX512:
		return sumAVX512(x)
	case AVX2:
		return sumAVX2(x)
	default:
		return sumGeneric(x)
	}
}

func dot(x, y []float32) float32 {
	switch Active() {
	case AVX512:
		return dotAVX512(x, y)
	case AVX2:
		return dotAVX2(x, y)
	default:
		return dotGeneric(x, y)
	}
}

func sumSquares(x []float32) float64 {
	switch Active() {
	case AVX512:
		return sumSquaresAVX512(x)
	case AVX2:
		return sumSquaresAVX2(x)
	default:
		return sumSquaresGeneric(x)
	}
}

func maximum(x []float32) float32 {
	switch Active() {
	case AVX512:
		return maximumAVX512(x)
	case AVX2:
		return maximumAVX2(x)
	default:
		return maximumGeneric(x)
	}
}

func expStore(e, s []float32, m float32) float32 {
	switch Active() {
	case AVX512:
		return expStoreAVX512(e, s, m)
	case AVX2:
		return expStoreAVX2(e, s, m)
	default:
		return expStoreGeneric(e, s, m)
	}
}

func expTotal(s []float32, m float32) float32 {
	switch Active() {
	case AVX512:
		return expTotalAVX512(s, m)
	case AVX2:
		return expTotalAVX2(s, m)
	default:
		return expTotalGeneric(s, m)
	}
}

func softmaxGrad(ds, p, dp []float32, d, scale float32) {
	switch Active() {
	case AVX512:
		softmaxGradAVX512(ds, p, dp, d, scale)
	case AVX2:
		softmaxGradAVX2(ds, p, dp, d, scale)
	default:
		softmaxGradGeneric(ds, p, dp, d, scale)
	}
}

func squaresAbout(x []float32, mean float32) float32 {
	switch Active() {
	case AVX512:
		return squaresAboutAVX512(x, mean)
	case AVX2:
		return squaresAboutAVX2(x, mean)
	default:
		return squaresAboutGeneric(x, mean)
	}
}

func normalize(y, x, gamma, beta []float32, mean, rstd float32) {
	switch Active() {
	case AVX512:
		normalizeAVX512(y, x, gamma, beta, mean, rstd)
	case AVX2:
		normalizeAVX2(y, x, gamma, beta, mean, rstd)
	default:
		normalizeGeneric(y, x, gamma, beta, mean, rstd)
	}
}

func normalizeSums(dy, x, gamma []float32, mean, rstd float32) (s1, s2 float32) {
	switch Active() {
	case AVX512:
		return normalizeSumsAVX512(dy, x, gamma, mean, rstd)
	case AVX2:
		return normalizeSumsAVX2(dy, x, gamma, mean, rstd)
	default:
		return normalizeSumsGeneric(dy, x, gamma, mean, rstd)
	}
}

func normalizeGrad(dx, dy, x, gamma []float32, mean, rstd, a, b float32) {
	switch Active() {
	case AVX512:
		normalizeGradAVX512(dx, dy, x, gamma, mean, rstd, a, b)
	case AVX2:
		normalizeGradAVX2(dx, dy, x, gamma, mean, rstd, a, b)
	default:
		normalizeGradGeneric(dx, dy, x, gamma, mean, rstd, a, b)
	}
}

func normalizeParams(t, dy, x []float32, mean, rstd float32) {
	switch Active() {
	case AVX512:
		normalizeParamsAVX512(t, dy, x, mean, rstd)
	case AVX2:
		normalizeParamsAVX2(t, dy, x, mean, rstd)
	default:
		normalizeParamsGeneric(t, dy, x, mean, rstd)
	}
}

func add(dst, x, y []float32) {
	switch Active() {
	case AVX512:
		addAVX512(dst, x, y)
	case AVX2:
		addAVX2(dst, x, y)
	default:
		addGeneric(dst, x, y)
	}
}

func scale(dst, x []float32, s float32) {
	switch Active() {
	case AVX512:
		scaleAVX512(dst, x, s)
	case AVX2:
		scaleAVX2(dst, x, s)
	default:
		scaleGeneric(dst, x, s)
	}
}

func adamW(theta, m, v, g []float32, c *AdamW) {
	switch Active() {
	case AVX512:
		adamWAVX512(theta, m, v, g, c.Beta1, c.OneMinusBeta1, c.Beta2, c.OneMinusBeta2,
			c.C1, c.C2, c.Eps, c.LR, c.Decay, c.Clip)
	case AVX2:
		adamWAVX2(theta, m, v, g, c.Beta1, c.OneMinusBeta1, c.Beta2, c.OneMinusBeta2,
			c.C1, c.C2, c.Eps, c.LR, c.Decay, c.Clip)
	default:
		adamWGeneric(theta, m, v, g, c)
	}
}

func finiteBlocks(x []float32) int {
	switch Active() {
	case AVX512:
		return finiteBlocksAVX512(x)
	case AVX2:
		return finiteBlocksAVX2(x)
	default:
		return finiteBlocksGeneric(x)
	}
}

func addFloat64(acc []float64, x []float32) {
	switch Active() {
	case AVX512:
		addFloat64AVX512(acc, x)
	case AVX2:
		addFloat64AVX2(acc, x)
	default:
		addFloat64Generic(acc, x)
	}
}

func divideRound(out []float32, acc []float64, n float64) {
	switch Active() {
	case AVX512:
		divideRoundAVX512(out, acc, n)
	case AVX2:
		divideRoundAVX2(out, acc, n)
	default:
		divideRoundGeneric(out, acc, n)
	}
}
