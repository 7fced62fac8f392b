package f32

import "math"

// LayerNorm normalises one row (N10): mean = R16(x) * (1/d), c = x - mean,
// var = R16(c*c, fused) * (1/d), rstd = 1/sqrt(var + eps) and
// y = fma(c*rstd, gamma, beta). y may be x. It returns what the backward pass
// needs.
func LayerNorm(y, x, gamma, beta []float32, eps float32) (mean, rstd float32) {
	if len(y) != len(x) || len(gamma) != len(x) || len(beta) != len(x) {
		panic("f32: LayerNorm: lengths differ")
	}
	inverse := 1 / float32(len(x))
	mean = float32(sum(x) * inverse)
	variance := float32(squaresAbout(x, mean) * inverse)
	rstd = 1 / float32(math.Sqrt(float64(variance+eps)))
	normalize(y, x, gamma, beta, mean, rstd)
	return mean, rstd
}

// squaresAboutGeneric returns R16 of c*c, fused, with c = x[i] - mean.
func squaresAboutGeneric(x []float32, mean float32) float32 {
	var l [lanes]float32
	for i, v := range x {
		c := v - mean
		l[i%lanes] = FMA(c, c, l[i%lanes])
	}
	return fold(&l)
}

// normalizeGeneric sets y[i] = fma((x[i] - mean) * rstd, gamma[i], beta[i]).
func normalizeGeneric(y, x, gamma, beta []float32, mean, rstd float32) {
	for i, v := range x {
		y[i] = FMA(float32((v-mean)*rstd), gamma[i], beta[i])
	}
}

// LayerNormBackward adds one row's input gradient to dx. With
// xhat = (x - mean) * rstd and dxhat = dy * gamma, both recomputed:
// a = R16(dxhat) * (1/d), b = R16(dxhat*xhat, fused) * (1/d) and
// dx = dx + rstd * fma(-xhat, b, dxhat - a).
func LayerNormBackward(dx, dy, x, gamma []float32, mean, rstd float32) {
	if len(dx) != len(x) || len(dy) != len(x) || len(gamma) != len(x) {
		panic("f32: LayerNormBackward: lengths differ")
	}
	inverse := 1 / float32(len(x))
	s1, s2 := normalizeSums(dy, x, gamma, mean, rstd)
	normalizeGrad(dx, dy, x, gamma, mean, rstd, float32(s1*inverse), float32(s2*inverse))
}

// normalizeSumsGeneric returns R16(dxhat) and R16(dxhat*xhat, fused).
func normalizeSumsGeneric(dy, x, gamma []float32, mean, rstd float32) (s1, s2 float32) {
	var l1, l2 [lanes]float32
	for i, v := range x {
		xhat := float32((v - mean) * rstd)
		dxhat := float32(dy[i] * gamma[i])
		l1[i%lanes] += dxhat
		l2[i%lanes] = FMA(dxhat, xhat, l2[i%lanes])
	}
	return fold(&l1), fold(&l2)
}

// normalizeGradGeneric sets dx[i] = dx[i] + rstd * fma(-xhat, b, dxhat - a).
func normalizeGradGeneric(dx, dy, x, gamma []float32, mean, rstd, a, b float32) {
	for i, v := range x {
		xhat := float32((v - mean) * rstd)
		t := float32(dy[i]*gamma[i]) - a
		t = FMA(-xhat, b, t)
		dx[i] += float32(rstd * t)
	}
}

// LayerNormParams adds one sequence's parameter gradients to dgamma and dbeta
// (N8): per column, t = +0 and t = fma(dy, xhat, t), or t = t + dy, over the
// positions ascending, then out = out + t. dy and x are (rows, n) matrices
// whose rows start ld elements apart: some columns of the normalised rows, or
// all. mean and rstd have one element per row.
func LayerNormParams(dgamma, dbeta, dy, x, mean, rstd []float32, rows, n, ld int) {
	checkMatrix(len(dy), ld, rows, n)
	checkMatrix(len(x), ld, rows, n)
	if len(dgamma) != n || len(dbeta) != n || len(mean) < rows || len(rstd) < rows {
		panic("f32: LayerNormParams: lengths differ")
	}
	for lo := 0; lo < n; lo += tile {
		var gammas, betas [tile]float32
		width := min(tile, n-lo)
		tgamma, tbeta := gammas[:width], betas[:width]
		for i := range rows {
			row := dy[i*ld+lo:][:width]
			normalizeParams(tgamma, row, x[i*ld+lo:][:width], mean[i], rstd[i])
			add(tbeta, tbeta, row)
		}
		add(dgamma[lo:][:width], dgamma[lo:][:width], tgamma)
		add(dbeta[lo:][:width], dbeta[lo:][:width], tbeta)
	}
}

// normalizeParamsGeneric sets t[i] = fma(dy[i], xhat[i], t[i]).
func normalizeParamsGeneric(t, dy, x []float32, mean, rstd float32) {
	for i, v := range x {
		t[i] = FMA(dy[i], float32((v-mean)*rstd), t[i])
	}
}
