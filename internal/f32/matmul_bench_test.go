package f32

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// benchmarkShapes are the products of distilgpt2 with 1024 positions, of one
// attention head, of a small model and of decoding one token, and some that fit
// no tile.
var benchmarkShapes = []matrixCase{
	{layout: NN, m: 1024, n: 2304, k: 768},
	{layout: NN, m: 1024, n: 768, k: 768},
	{layout: NN, m: 1024, n: 3072, k: 768},
	{layout: NN, m: 1024, n: 768, k: 3072},
	{layout: NT, m: 1024, n: 768, k: 3072},
	{layout: NT, m: 1024, n: 3072, k: 768},
	{layout: TN, m: 768, n: 3072, k: 1024},
	{layout: TN, m: 3072, n: 768, k: 1024},
	{layout: NT, m: 1024, n: 50257, k: 768},
	{layout: NN, m: 1024, n: 768, k: 50257},
	{layout: TN, m: 50257, n: 768, k: 1024},
	{layout: NT, m: 256, n: 256, k: 64},
	{layout: NN, m: 256, n: 64, k: 256},
	{layout: NT, m: 1024, n: 1024, k: 64},
	{layout: NN, m: 1024, n: 64, k: 1024},
	{layout: NN, m: 32, n: 96, k: 32},
	{layout: NT, m: 32, n: 32, k: 16},
	{layout: NN, m: 1, n: 3072, k: 768},
	{layout: NT, m: 1, n: 50257, k: 768},
	// Rows, columns and steps that fill no tile.
	{layout: NN, m: 255, n: 33, k: 777},
	{layout: NT, m: 255, n: 33, k: 777},
	{layout: TN, m: 255, n: 33, k: 777},
	{layout: NN, m: 251, n: 63, k: 777},
	{layout: NT, m: 251, n: 63, k: 777},
	{layout: TN, m: 251, n: 63, k: 777},
	{layout: NT, m: 1, n: 512, k: 771},
}

func BenchmarkMatMul(b *testing.B) {
	for _, c := range benchmarkShapes {
		b.Run(fmt.Sprintf("%s/%dx%dx%d", [...]string{"NN", "NT", "TN"}[c.layout], c.m, c.n, c.k), c.benchmark)
	}
}

func (c matrixCase) benchmark(b *testing.B) {
	flops := 2 * float64(c.m) * float64(c.n) * float64(c.k)
	o := c.operands(rand.New(rand.NewPCG(6, 10)).Float32)
	for _, isa := range Available() {
		if isa == Portable && flops > 1e9 {
			continue
		}
		for _, threads := range []int{1, 2} {
			b.Run(fmt.Sprintf("%v/threads=%d", isa, threads), func(b *testing.B) {
				defer ForTest(isa)()
				setThreads(b, threads)
				for b.Loop() {
					MatMul(c.layout, o.out, o.ldc, o.a, o.lda, o.b, o.ldb, c.m, c.n, c.k, false)
				}
				b.ReportMetric(flops*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOPS")
			})
		}
	}
}
