package main

import (
	"context"
	"fmt"
	"math"
	"time"

	"lockstep/internal/f32"
)

// gemmShape is one matrix product and its speed.
type gemmShape struct {
	Layout string  `json:"layout"`
	M      int     `json:"m"`
	N      int     `json:"n"`
	K      int     `json:"k"`
	GFLOPS float64 `json:"gflops"`
}

// flops counts a multiplication and an addition for each term.
func (s gemmShape) flops() float64 { return 2 * float64(s.M) * float64(s.N) * float64(s.K) }

var layouts = map[string]f32.Layout{"NN": f32.NN, "NT": f32.NT, "TN": f32.TN}

// gemmSizes are m, n and k of the products whose mean counts, each measured in
// every layout: those of GPT-2's width with 1,024 tokens, forward and of the
// weights' gradients, the output head's among them.
var gemmSizes = [][3]int{
	{1024, 2304, 768}, {1024, 3072, 768}, {1024, 768, 3072}, {1024, 50257, 768},
	{768, 3072, 1024}, {50257, 768, 1024},
}

// otherShapes are the rest of a step's products, measured apart from the mean.
var otherShapes = []gemmShape{
	{Layout: "NN", M: 1024, N: 768, K: 768}, {Layout: "NT", M: 1024, N: 768, K: 768}, {Layout: "TN", M: 768, N: 768, K: 1024},
	{Layout: "NT", M: 1024, N: 768, K: 2304}, {Layout: "TN", M: 768, N: 2304, K: 1024},
	{Layout: "TN", M: 3072, N: 768, K: 1024}, {Layout: "NN", M: 1024, N: 768, K: 50257},
}

// gemmResult is the result of `lockstep bench gemm`.
type gemmResult struct {
	machineInfo
	Shapes        []gemmShape `json:"shapes"`
	GeometricMean float64     `json:"geomean_gflops"` // of Shapes
	Others        []gemmShape `json:"other_shapes"`
}

func benchGEMM(ctx context.Context, s benchSettings) (measurement, error) {
	r := gemmResult{machineInfo: s.machine}
	var o gemmOperands
	logs := 0.0
	for _, size := range gemmSizes {
		for _, layout := range []string{"NN", "NT", "TN"} {
			shape, err := o.measure(ctx, s, gemmShape{Layout: layout, M: size[0], N: size[1], K: size[2]})
			if err != nil {
				return nil, err
			}
			logs += math.Log(shape.GFLOPS)
			r.Shapes = append(r.Shapes, shape)
		}
	}
	r.GeometricMean = math.Exp(logs / float64(len(r.Shapes)))
	for _, shape := range otherShapes {
		shape, err := o.measure(ctx, s, shape)
		if err != nil {
			return nil, err
		}
		r.Others = append(r.Others, shape)
	}
	return r, nil
}

// gemmOperands is memory for products, which grows with them.
type gemmOperands struct{ a, b, out []float32 }

// measure returns shape with its speed.
func (o *gemmOperands) measure(ctx context.Context, s benchSettings, shape gemmShape) (gemmShape, error) {
	s.status("%s %d x %d x %d", shape.Layout, shape.M, shape.N, shape.K)
	var times []time.Duration
	for run := range s.runs + 1 {
		if err := ctx.Err(); err != nil {
			return shape, err
		}
		if d := o.multiply(shape); run > 0 {
			times = append(times, d)
		}
	}
	shape.GFLOPS = shape.flops() / median(times) / 1e9
	return shape, nil
}

// multiply computes one product and returns how long it took.
func (o *gemmOperands) multiply(s gemmShape) time.Duration {
	o.a, o.b = filled(o.a, s.M*s.K), filled(o.b, s.K*s.N)
	if len(o.out) < s.M*s.N {
		o.out = make([]float32, s.M*s.N)
	}
	lda, ldb := s.K, s.N
	if s.Layout == "NT" {
		ldb = s.K
	}
	if s.Layout == "TN" {
		lda = s.M
	}
	return timed(func() {
		f32.MatMul(layouts[s.Layout], o.out, s.N, o.a, lda, o.b, ldb, s.M, s.N, s.K, s.Layout == "TN")
	})
}

// filled returns x with at least n elements, none of them zero: products of
// zeros would be quicker on processors that save power.
func filled(x []float32, n int) []float32 {
	if len(x) >= n {
		return x
	}
	x = make([]float32, n)
	for i := range x {
		x[i] = float32(i%255-127) / 128
		if x[i] == 0 {
			x[i] = 1
		}
	}
	return x
}

func (r gemmResult) table() [][]string {
	rows := [][]string{{"layout", "m", "n", "k", "GFLOPS"}}
	add := func(shapes []gemmShape) {
		for _, s := range shapes {
			rows = append(rows, []string{s.Layout, fmt.Sprint(s.M), fmt.Sprint(s.N), fmt.Sprint(s.K), fmt.Sprintf("%.1f", s.GFLOPS)})
		}
	}
	add(r.Shapes)
	rows = append(rows, []string{"geometric mean", "", "", "", fmt.Sprintf("%.1f", r.GeometricMean)})
	add(r.Others)
	return rows
}
