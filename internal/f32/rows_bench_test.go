package f32

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// BenchmarkRows times every row kernel on every ISA of this machine: on rows of
// the model's width, and on one row of the vocabulary.
func BenchmarkRows(b *testing.B) {
	for _, n := range []int{768, 50257} {
		for _, kernel := range rowKernels {
			for _, isa := range Available() {
				b.Run(fmt.Sprintf("%s/%d/%s", kernel.name, n, isa), func(b *testing.B) {
					defer ForTest(isa)()
					o := newRowCall(rand.New(rand.NewPCG(1, 1)), n, 0, drawUnit)
					for b.Loop() {
						o.results = o.results[:0]
						kernel.run(o)
					}
					b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/element")
				})
			}
		}
	}
}

// drawUnit draws values in (0, 1): they stay finite however often a kernel works
// in place.
func drawUnit(r *rand.Rand) float32 { return r.Float32()*0.5 + 0.25 }
