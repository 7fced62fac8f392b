package f32

import (
	"math"
	"math/rand/v2"
	"testing"
)

var testAdamW = AdamW{
	Beta1: 0.9, OneMinusBeta1: 0.1, Beta2: 0.95, OneMinusBeta2: 0.05,
	C1: 1.9, C2: 6.4, Eps: 1e-8, LR: 6e-4, Decay: 0.1, Clip: 0.75,
}

// TestN18_AdamWStep compares with the same step in float64, and with N18's
// primitives one by one.
func TestN18_AdamWStep(t *testing.T) {
	r := rand.New(rand.NewPCG(18, 0))
	const n = 500
	c := testAdamW
	o := newRowCall(r, n, 0, func(r *rand.Rand) float32 { return float32(r.NormFloat64()) })
	theta, m, v, g := o.a, o.b, o.c, o.d
	for i := range v {
		v[i] = float32(v[i] * v[i])
	}
	was := o.clone()
	AdamWStep(theta, m, v, g, c)
	for i := range theta {
		clipped := float32(g[i] * c.Clip)
		wantM := FMA(c.Beta1, was.b[i], float32(c.OneMinusBeta1*clipped))
		half := float32(c.OneMinusBeta2 * clipped)
		wantV := FMA(c.Beta2, was.c[i], float32(half*clipped))
		root := float32(math.Sqrt(float64(float32(wantV * c.C2))))
		u := float32(wantM*c.C1) / (root + c.Eps)
		decay := float32(c.Decay * was.a[i])
		want := FMA(-c.LR, u+decay, was.a[i])
		if !same32(m[i], wantM) || !same32(v[i], wantV) || !same32(theta[i], want) {
			t.Fatalf("element %d: theta, m, v = %x, %x, %x, want %x, %x, %x", i, theta[i], m[i], v[i], want, wantM, wantV)
		}
		if exact := adamWExact(was, i, c); math.Abs(float64(theta[i])-exact) > 2e-7*(1+math.Abs(exact)) {
			t.Errorf("element %d: theta %v, in float64 %v", i, theta[i], exact)
		}
	}
}

func adamWExact(was *rowCall, i int, c AdamW) float64 {
	g := float64(was.d[i]) * float64(c.Clip)
	m := float64(c.Beta1)*float64(was.b[i]) + float64(c.OneMinusBeta1)*g
	v := float64(c.Beta2)*float64(was.c[i]) + float64(c.OneMinusBeta2)*g*g
	u := m * float64(c.C1) / (math.Sqrt(v*float64(c.C2)) + float64(c.Eps))
	theta := float64(was.a[i])
	return theta - float64(c.LR)*(u+float64(c.Decay)*theta)
}
