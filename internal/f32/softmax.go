package f32

// Softmax sets p[i] = e[i] * (1/z) and returns m and z, with m = max(s) + 0,
// e[i] = Exp(s[i] - m) and z = R16(e) (N11). The maximum is taken by ">", so a
// NaN never becomes it; adding +0 makes the sign of a zero maximum independent
// of the order. p may be s.
func Softmax(p, s []float32) (m, z float32) {
	if len(p) != len(s) {
		panic("f32: Softmax: lengths differ")
	}
	m = maximum(s)
	z = expStore(p, s, m)
	scale(p, p, 1/z)
	return m, z
}

// maximumGeneric returns the largest element by ">", -Inf if there is none,
// plus +0.
func maximumGeneric(x []float32) float32 {
	m := -infinity
	for _, v := range x {
		if v > m {
			m = v
		}
	}
	return m + 0
}

// expStoreGeneric sets e[i] = Exp(s[i] - m) and returns R16(e).
func expStoreGeneric(e, s []float32, m float32) float32 {
	var l [lanes]float32
	for i, v := range s {
		e[i] = Exp(v - m)
		l[i%lanes] += e[i]
	}
	return fold(&l)
}

// expTotalGeneric returns the sum that expStoreGeneric returns and stores
// nothing.
func expTotalGeneric(s []float32, m float32) float32 {
	var l [lanes]float32
	for i, v := range s {
		l[i%lanes] += Exp(v - m)
	}
	return fold(&l)
}

// SoftmaxBackward sets ds[i] = (p[i] * (dp[i] - D)) * scale with D = R16(dp*p, fused):
// the gradient of the scores before they were scaled. ds may be p or dp.
func SoftmaxBackward(ds, p, dp []float32, scale float32) {
	if len(ds) != len(p) || len(dp) != len(p) {
		panic("f32: SoftmaxBackward: lengths differ")
	}
	softmaxGrad(ds, p, dp, dot(dp, p), scale)
}

// softmaxGradGeneric sets ds[i] = (p[i] * (dp[i] - d)) * scale.
func softmaxGradGeneric(ds, p, dp []float32, d, scale float32) {
	for i, v := range p {
		ds[i] = v * (dp[i] - d) * scale
	}
}

// CrossEntropy returns the loss of one token, (Log(z) + m) - logits[target]
// (N13), and sets dlogits to its gradient: p, less 1 at the target. A negative
// target is ignored: loss and gradient are +0. dlogits may be logits, or nil
// where only the loss is wanted.
func CrossEntropy(dlogits, logits []float32, target int) (loss float32) {
	if dlogits != nil && len(dlogits) != len(logits) {
		panic("f32: CrossEntropy: lengths differ")
	}
	if target >= len(logits) {
		panic("f32: CrossEntropy: target outside the vocabulary")
	}
	if target < 0 {
		clear(dlogits)
		return 0
	}
	m, logit := maximum(logits), logits[target]
	if dlogits == nil {
		return Log(expTotal(logits, m)) + m - logit
	}
	z := expStore(dlogits, logits, m)
	scale(dlogits, dlogits, 1/z)
	dlogits[target]--
	return Log(z) + m - logit
}
