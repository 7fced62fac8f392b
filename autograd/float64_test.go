package autograd

import "math"

// The operations in float64, from their definitions, on flat vectors.

func float64s(x []float32) []float64 {
	out := make([]float64, len(x))
	for i, v := range x {
		out[i] = float64(v)
	}
	return out
}

func embedding64(tokens []int32, t, c int, wte, wpe []float64) []float64 {
	y := make([]float64, len(tokens)*c)
	for i, token := range tokens {
		for j := range c {
			y[i*c+j] = wte[int(token)*c+j] + wpe[i%t*c+j]
		}
	}
	return y
}

func linear64(x, w, b []float64, in, out int) []float64 {
	y := make([]float64, len(x)/in*out)
	for i := range y {
		row, j := i/out, i%out
		y[i] = b[j]
		for k := range in {
			y[i] += x[row*in+k] * w[k*out+j]
		}
	}
	return y
}

func head64(x, wte []float64, c int) []float64 {
	v := len(wte) / c
	y := make([]float64, len(x)/c*v)
	for i := range y {
		for k := range c {
			y[i] += x[i/v*c+k] * wte[i%v*c+k]
		}
	}
	return y
}

func layerNorm64(x, gamma, beta []float64, epsilon float64) []float64 {
	d := len(gamma)
	y := make([]float64, len(x))
	for r := 0; r < len(x); r += d {
		mean, variance := 0.0, 0.0
		for _, v := range x[r : r+d] {
			mean += v / float64(d)
		}
		for _, v := range x[r : r+d] {
			variance += (v - mean) * (v - mean) / float64(d)
		}
		for j := range d {
			y[r+j] = (x[r+j]-mean)/math.Sqrt(variance+epsilon)*gamma[j] + beta[j]
		}
	}
	return y
}

func gelu64(x []float64) []float64 {
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = 0.5 * v * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(v+0.044715*v*v*v)))
	}
	return y
}

func attention64(x []float64, b, t, c, heads int) []float64 {
	y := make([]float64, b*t*c)
	width := c / heads
	at := func(s, i, part, j int) float64 { return x[(s*t+i)*3*c+part*c+j] }
	for s := range b {
		for h := 0; h < c; h += width {
			for i := range t {
				p, z := make([]float64, i+1), 0.0
				for k := range p {
					score := 0.0
					for j := h; j < h+width; j++ {
						score += at(s, i, 0, j) * at(s, k, 1, j)
					}
					p[k] = math.Exp(score / math.Sqrt(float64(width)))
					z += p[k]
				}
				for k := range p {
					for j := h; j < h+width; j++ {
						y[(s*t+i)*c+j] += p[k] / z * at(s, k, 2, j)
					}
				}
			}
		}
	}
	return y
}

func add64(x, f []float64) []float64 {
	y := make([]float64, len(x))
	for i := range y {
		y[i] = x[i] + f[i]
	}
	return y
}

func crossEntropy64(x []float64, targets []int32, v int) []float64 {
	losses := make([]float64, len(targets))
	for i, target := range targets {
		if target < 0 {
			continue
		}
		z := 0.0
		for _, l := range x[i*v : (i+1)*v] {
			z += math.Exp(l)
		}
		losses[i] = math.Log(z) - x[i*v+int(target)]
	}
	return losses
}
