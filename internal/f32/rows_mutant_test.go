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
