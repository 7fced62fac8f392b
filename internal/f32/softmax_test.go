package f32

import (
	"math"
	"math/rand/v2"
	"testing"
)

// scores draws n attention scores or logits.
func scores(r *rand.Rand, n int) []float32 {
	s := make([]float32, n)
	for i := range s {
		s[i] = float32(4 * r.NormFloat64())
	}
	return s
}

func TestN11_SoftmaxSteps(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 0))
	for n := 1; n < 100; n++ {
		s, p := scores(r, n), make([]float32, n)
		m, z := Softmax(p, s)
		wantM := s[0]
		for _, v := range s {
			if v > wantM {
				wantM = v
			}
		}
		wantZ := r16(n, func(l float32, i int) float32 { return l + Exp(s[i]-wantM) })
		if !same32(m, wantM) || !same32(z, wantZ) {
			t.Fatalf("length %d: m, z = %x, %x, want %x, %x", n, m, z, wantM, wantZ)
		}
		inverse := 1 / wantZ
		for i := range p {
			if want := Exp(s[i]-wantM) * inverse; !same32(p[i], want) {
				t.Fatalf("length %d: p[%d] = %x, want %x", n, i, p[i], want)
			}
		}
	}
}

func TestN11_MaximumIgnoresOrder(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 1))
	nan := float32(math.NaN())
	for _, isa := range Available() {
		restore := ForTest(isa)
		for range 200 {
			x := make([]float32, 1+r.IntN(40))
			for i := range x { // zeros of both signs, and what never is the maximum
				x[i] = []float32{0, negativeZero, -1, nan, -infinity}[r.IntN(5)]
			}
			x[r.IntN(len(x))] = negativeZero
			if got := maximum(x); math.Float32bits(got) != 0 {
				t.Fatalf("maximum(%v) on %s = %08x, want +0", x, isa, math.Float32bits(got))
			}
		}
		if got := maximum(nil); got != -infinity {
			t.Errorf("maximum of nothing on %s = %v", isa, got)
		}
		restore()
	}
}

// TestN11_SoftmaxAccuracy measures softmax against float64 on rows of the
// attention's and the vocabulary's length. The rounding of s - m makes the error
// of a short row; that of z, whose lanes add 3,142 terms each, of the longest.
func TestN11_SoftmaxAccuracy(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 2))
	for n, bound := range map[int]float64{1: 0, 64: 2e-6, 1024: 2e-6, 50257: 8e-6} {
		s, p := scores(r, n), make([]float32, n)
		Softmax(p, s)
		var z, total float64
		for _, v := range s {
			z += math.Exp(float64(v))
		}
		worst := 0.0
		for i, v := range s {
			exact := math.Exp(float64(v)) / z
			worst = max(worst, math.Abs(float64(p[i])-exact)/exact)
			total += float64(p[i])
		}
		t.Logf("length %d: relative error %.2g, sum %v", n, worst, total)
		if worst > bound {
			t.Errorf("length %d: relative error %.2g above %.2g", n, worst, bound)
		}
	}
}

func TestN13_TokenLoss(t *testing.T) {
	r := rand.New(rand.NewPCG(13, 1))
	for _, n := range []int{1, 17, 512, 50257} {
		logits, gradient, p := scores(r, n), make([]float32, n), make([]float32, n)
		target := r.IntN(n)
		m, z := Softmax(p, logits)
		want := Log(z) + m - logits[target]
		p[target] -= 1
		for _, isa := range Available() {
			restore := ForTest(isa)
			loss, only := CrossEntropy(gradient, logits, target), CrossEntropy(nil, logits, target)
			if !same32(loss, want) || !same32(only, want) {
				t.Errorf("length %d on %s: loss %x, without gradient %x, want %x", n, isa, loss, only, want)
			}
			for i := range p {
				if !same32(gradient[i], p[i]) {
					t.Fatalf("length %d on %s: gradient[%d] = %x, want %x", n, isa, i, gradient[i], p[i])
				}
			}
			restore()
		}
		exact := 0.0
		for _, v := range logits {
			exact += math.Exp(float64(v))
		}
		exact = math.Log(exact) - float64(logits[target])
		if math.Abs(float64(want)-exact) > 4e-6 {
			t.Errorf("length %d: loss %v, exact %v", n, want, exact)
		}
	}
}

func TestN27_IgnoredTarget(t *testing.T) {
	logits, gradient := []float32{1, 2, 3}, []float32{7, 7, 7}
	if loss := CrossEntropy(gradient, logits, -1); math.Float32bits(loss) != 0 {
		t.Errorf("loss %v, want +0", loss)
	}
	for i, g := range gradient {
		if math.Float32bits(g) != 0 {
			t.Errorf("gradient[%d] = %v, want +0", i, g)
		}
	}
	if loss := CrossEntropy(nil, logits, -1); loss != 0 {
		t.Errorf("loss without gradient %v, want 0", loss)
	}
}

func TestN27_SoftmaxBackward(t *testing.T) {
	r := rand.New(rand.NewPCG(27, 0))
	const scaling = 0.125
	for n := 1; n < 60; n++ {
		s, p, dp, ds := scores(r, n), make([]float32, n), scores(r, n), make([]float32, n)
		Softmax(p, s)
		SoftmaxBackward(ds, p, dp, scaling)
		d := r16(n, func(l float32, i int) float32 { return FMA(dp[i], p[i], l) })
		var exactD float64
		for i := range p {
			exactD += float64(p[i]) * float64(dp[i])
		}
		for i := range p {
			want := float32(p[i]*(dp[i]-d)) * scaling
			if !same32(ds[i], want) {
				t.Fatalf("length %d: ds[%d] = %x, want %x", n, i, ds[i], want)
			}
			exact := float64(p[i]) * (float64(dp[i]) - exactD) * scaling
			if math.Abs(float64(want)-exact) > 1e-6 {
				t.Fatalf("length %d: ds[%d] = %v, exact %v", n, i, want, exact)
			}
		}
	}
}
