package f32

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// Products with one row have kernels of their own: every number of columns up
// to three groups, every number of steps up to two turns and about a block,
// every start inside a vector.
func TestN6_OneRowEveryTail(t *testing.T) {
	steps := []int{blockK - 1, blockK, blockK + 1, 2*blockK + 6}
	for k := 1; k <= 9; k++ {
		steps = append(steps, k)
	}
	eachISA(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(6, 20))
		for layout := range Layout(3) {
			for n := 1; n <= 3*lanes+1; n++ {
				k := steps[r.IntN(len(steps))]
				c := matrixCase{layout: layout, m: 1, n: n, k: k, bGap: r.IntN(3), bSkip: r.IntN(17), aSkip: r.IntN(17), oSkip: r.IntN(17), accumulate: n%2 == 0}
				value := normal(r)
				if n%3 == 0 {
					value = adversarial(r, n%6 == 0)
				}
				o := c.operands(value)
				mustEqual(t, c, n, c.multiply(t, o), c.reference(o))
			}
		}
	})
}

// One row of several tasks, for any number of threads.
func TestN6_OneRowTasks(t *testing.T) {
	eachISA(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(6, 21))
		tune(t, tuning{region: 1536, strip: maxStrip, group: 1})
		for _, c := range []matrixCase{
			{layout: NN, m: 1, n: 2*vectorColumns + 5, k: 9},
			{layout: NT, m: 1, n: 2*vectorGroups*lanes + 1, k: 9, accumulate: true},
		} {
			o := c.operands(normal(r))
			want := c.reference(o)
			for _, n := range []int{1, 2, 3, 7} {
				setThreads(t, n)
				mustEqual(t, fmt.Sprint(c, ", threads ", n), c.n, c.multiply(t, o), want)
			}
		}
	})
}

// TestN6_OneRowOrder shows with +M, -M and ones that a chain of one row ascends
// and that blocks begin anew, as TestN6_OrderRevealed does for tiles.
func TestN6_OneRowOrder(t *testing.T) {
	const k, huge = 2500, 1 << 60
	minus := []int{1, 2, 8, 510, 1023, 1024, 1026, 1535, 1536, 2000, 2047, 2048, 2049, 2490, 2498, 2499}
	eachISA(t, func(t *testing.T) {
		for layout := range Layout(2) {
			for _, p := range []int{0, 7, 1022, 1025, 2046} {
				c := matrixCase{layout: layout, m: 1, n: len(minus), k: k}
				o := c.operands(func() float32 { return 1 })
				*c.at(o, 0, p) = huge
				for j, at := range minus {
					*c.bt(o, at, j) = -huge
				}
				for j, got := range c.multiply(t, o) {
					if want := float32(survivors(p, minus[j], k)); got != want {
						t.Errorf("%v: with +M at %d and -M at %d, %g terms survive, want %g", c, p, minus[j], got, want)
					}
				}
			}
		}
	})
}
