package f32

import (
	"math"
	"math/rand/v2"
	"testing"
)

// rowMutants are kernels that are wrong in one small way, each beside the
// definition that it strays from.
var rowMutants = []struct {
	name          string
	right, mutant func(c *rowCall)
}{
	{"a sum of eight lanes",
		func(c *rowCall) { c.give(sumGeneric(c.a)) },
		func(c *rowCall) { c.give(sumOfLanes(c.a, 8)) }},
	{"a sum folded from the other end",
		func(c *rowCall) { c.give(sumGeneric(c.a)) },
		func(c *rowCall) { c.give(sumFoldedUpwards(c.a)) }},
	{"a product rounded before it is added",
		func(c *rowCall) { c.give(dotGeneric(c.a, c.b)) },
		func(c *rowCall) {
			c.give(r16(len(c.a), func(l float32, i int) float32 { return l + float32(c.a[i]*c.b[i]) }))
		}},
	{"an exponential one ulp off in one element",
		func(c *rowCall) { expSliceGeneric(c.a, c.b) },
		func(c *rowCall) {
			expSliceGeneric(c.a, c.b)
			c.a[len(c.a)/2] = math.Nextafter32(c.a[len(c.a)/2], 2)
		}},
	{"a normalised row without the fused step",
		func(c *rowCall) { normalizeGeneric(c.a, c.b, c.c, c.d, 0.5, 1.25) },
		func(c *rowCall) {
			for i := range c.a {
				c.a[i] = float32(float32((c.b[i]-0.5)*1.25)*c.c[i]) + c.d[i]
			}
		}},
	{"weight decay taken after the step",
		func(c *rowCall) { adamWGeneric(c.a, c.b, c.c, c.d, &testAdamW) },
		func(c *rowCall) {
			late := testAdamW
			late.Decay = 0
			adamWGeneric(c.a, c.b, c.c, c.d, &late)
			for i := range c.a {
				c.a[i] = FMA(-testAdamW.LR, float32(testAdamW.Decay*c.a[i]), c.a[i])
			}
		}},
	{"an exponential with one step of Horner's rule not fused",
		func(c *rowCall) { expSliceGeneric(c.a, c.b) },
		func(c *rowCall) {
			for i, x := range c.b {
				t := FMA(x, log2E, roundMagic)
				n := t - roundMagic
				r := FMA(-n, ln2Low, FMA(-n, ln2High, x))
				p := FMA(FMA(FMA(FMA(expC6, r, expC5), r, expC4), r, expC3), r, expC2)
				p = float32(FMA(p, r, 1)*r) + 1
				c.a[i] = math.Float32frombits(math.Float32bits(p) + math.Float32bits(t)<<23)
			}
		}},
	{"a GELU whose exponent is a single float",
		func(c *rowCall) { geluForwardGeneric(c.a, c.b) },
		func(c *rowCall) {
			for i, x := range c.b {
				c.a[i] = x / (1 + Exp(float32(x*FMA(float32(x*x), geluB, geluA))))
			}
		}},
	{"squares about the mean, rounded before they are added",
		func(c *rowCall) { c.give(squaresAboutGeneric(c.a, 0.5)) },
		func(c *rowCall) {
			c.give(r16(len(c.a), func(l float32, i int) float32 { return l + float32((c.a[i]-0.5)*(c.a[i]-0.5)) }))
		}},
	{"LayerNorm's second sum, rounded before it is added",
		func(c *rowCall) { c.give(normalizeSumsGeneric(c.a, c.b, c.c, 0.5, 1.25)) },
		func(c *rowCall) {
			s1, _ := normalizeSumsGeneric(c.a, c.b, c.c, 0.5, 1.25)
			c.give(s1, r16(len(c.a), func(l float32, i int) float32 {
				return l + float32(float32(c.a[i]*c.c[i])*float32((c.b[i]-0.5)*1.25))
			}))
		}},
	{"LayerNorm's gradient without the fused step",
		func(c *rowCall) { normalizeGradGeneric(c.a, c.b, c.c, c.d, 0.5, 1.25, 0.1, 0.2) },
		func(c *rowCall) {
			for i, x := range c.c {
				t := float32(c.b[i]*c.d[i]) - 0.1 - float32(float32((x-0.5)*1.25)*0.2)
				c.a[i] += float32(1.25 * t)
			}
		}},
	{"a parameter's gradient, rounded before it is added",
		func(c *rowCall) { normalizeParamsGeneric(c.a, c.b, c.c, 0.5, 1.25) },
		func(c *rowCall) {
			for i, x := range c.c {
				c.a[i] += float32(c.b[i] * float32((x-0.5)*1.25))
			}
		}},
	{"moments without the fused step",
		func(c *rowCall) { adamWGeneric(c.a, c.b, c.c, c.d, &testAdamW) },
		func(c *rowCall) {
			old := c.clone()
			adamWGeneric(c.a, c.b, c.c, c.d, &testAdamW)
			for i, g := range c.d {
				c.b[i] = float32(testAdamW.Beta1*old.b[i]) + float32(testAdamW.OneMinusBeta1*float32(g*testAdamW.Clip))
			}
		}},
	{"numerators added in the order of the row",
		func(c *rowCall) { c.give(expTotalGeneric(c.a, 2)) },
		func(c *rowCall) { c.give(sumOfLanes(exponentials(c.a, 2), 1)) }},
	{"squares in eight lanes of float64",
		func(c *rowCall) { c.results = append(c.results, sumSquaresGeneric(c.a)) },
		func(c *rowCall) {
			var l [8]float64
			for i, v := range c.a {
				l[i%8] += float64(v) * float64(v)
			}
			c.results = append(c.results, ((l[0]+l[4])+(l[2]+l[6]))+((l[1]+l[5])+(l[3]+l[7])))
		}},
	{"an average multiplied by the reciprocal",
		func(c *rowCall) { averageTies(c.p); divideRoundGeneric(c.a, c.p, tieCount) },
		func(c *rowCall) {
			averageTies(c.p)
			for i, v := range c.p {
				c.a[i] = float32(v * (1 / float64(tieCount)))
			}
		}},
	{"an average rounded twice",
		func(c *rowCall) { averageTies(c.p); divideRoundGeneric(c.a, c.p, tieCount) },
		func(c *rowCall) {
			averageTies(c.p)
			for i, v := range c.p {
				c.a[i] = float32(v) / tieCount
			}
		}},
	{"a write behind the output",
		func(c *rowCall) { addGeneric(c.a, c.b, c.c) },
		func(c *rowCall) {
			addGeneric(c.a, c.b, c.c)
			c.memory[0][guard+len(c.a)] = 0
		}},
	{"a lost sign of zero",
		func(c *rowCall) { scaleGeneric(c.a, c.b, 0) },
		func(c *rowCall) {
			scaleGeneric(c.a, c.b, 0)
			for i := range c.a {
				c.a[i] += 0
			}
		}},
}

// tieCount is a count whose reciprocal in float64 gives wrong quotients.
const tieCount = 49

// averageTies sets sum[i] so that sum[i] / tieCount is the midpoint of two
// float32 values.
func averageTies(sum []float64) {
	for i := range sum {
		sum[i] = tieCount * (2 - float64(2*i+1)*0x1p-24)
	}
}

// exponentials returns Exp(x[i] - m).
func exponentials(x []float32, m float32) []float32 {
	e := make([]float32, len(x))
	expStoreGeneric(e, x, m)
	return e
}

// sumOfLanes is the sum of x in any number of lanes, a power of two.
func sumOfLanes(x []float32, n int) float32 {
	l := make([]float32, n)
	for i, v := range x {
		l[i%n] += v
	}
	for w := n / 2; w > 0; w /= 2 {
		for j := range w {
			l[j] += l[j+w]
		}
	}
	return l[0]
}

// sumFoldedUpwards has sixteen lanes, but adds neighbours first.
func sumFoldedUpwards(x []float32) float32 {
	var l [lanes]float32
	for i, v := range x {
		l[i%lanes] += v
	}
	for w := 1; w < lanes; w *= 2 {
		for j := 0; j < lanes; j += 2 * w {
			l[j] += l[j+w]
		}
	}
	return l[0]
}

// TestRowComparisonCatchesMutants runs the comparison of the kernel tests on
// wrong kernels: each must be told from its definition within twenty draws.
func TestRowComparisonCatchesMutants(t *testing.T) {
	for _, m := range rowMutants {
		r := rand.New(rand.NewPCG(1, 2))
		caught := 0
		for range 20 {
			c := newRowCall(r, 100, 0, drawOrdinary)
			for i := range c.c {
				c.c[i] = float32(math.Abs(float64(c.c[i]))) // a second moment
			}
			right, wrong, again := c.clone(), c.clone(), c.clone()
			m.right(right)
			m.right(again)
			m.mutant(wrong)
			if wrong.difference(right) != "" {
				caught++
			}
			if diff := again.difference(right); diff != "" {
				t.Fatalf("%s: the definition differs from itself: %s", m.name, diff)
			}
		}
		if caught == 0 {
			t.Errorf("%s is not caught", m.name)
		}
	}
}

// TestRowComparisonCatchesAnUlp changes the least bit of one output, or result,
// of every kernel.
func TestRowComparisonCatchesAnUlp(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 3))
	for _, kernel := range rowKernels {
		before := newRowCall(r, 40, 0, drawOrdinary)
		want := before.clone()
		onISA(Portable, kernel.run, want)
		got := want.clone()
		got.results = append([]float64(nil), want.results...)
		switch changed := changedElements(before, want); {
		case len(got.results) > 0:
			i := r.IntN(len(got.results))
			got.results[i] = float64(math.Nextafter32(float32(got.results[i]), infinity))
		case len(changed) > 0:
			x := changed[r.IntN(len(changed))]
			view := got.memory[x[0]]
			view[x[1]] = math.Float32frombits(math.Float32bits(view[x[1]]) ^ 1)
		default: // addFloat64 writes float64
			got.p[7] = math.Nextafter(got.p[7], math.Inf(1))
		}
		if got.difference(want) == "" {
			t.Errorf("%s: an ulp is not seen", kernel.name)
		}
	}
}

// changedElements lists what a kernel wrote: vector and index.
func changedElements(before, after *rowCall) (changed [][2]int) {
	for v := range before.memory {
		for i, x := range before.memory[v] {
			if !same32(x, after.memory[v][i]) {
				changed = append(changed, [2]int{v, i})
			}
		}
	}
	return changed
}

// TestSweepCatchesAnUlp: a function one ulp off on one input has another hash,
// and a stated bound that is too small is noticed.
func TestSweepCatchesAnUlp(t *testing.T) {
	const stride = 1_000_003
	right := functions[0]
	wrong := right
	wrong.slice = func(y, x []float32) {
		right.slice(y, x)
		y[len(y)/4] = math.Nextafter32(y[len(y)/4], 2)
	}
	a, b := right.sweep(stride, true), wrong.sweep(stride, true)
	if a.sum == b.sum {
		t.Error("the hash does not see one ulp")
	}
	shifted := right
	shifted.slice = func(y, x []float32) {
		right.slice(y, x)
		for i := range y {
			y[i] = math.Nextafter32(y[i], 0)
		}
	}
	if s := shifted.sweep(stride, true); s.worst <= right.maxULP {
		t.Errorf("an error of an ulp everywhere measures %.2f ulp", s.worst)
	}
}
