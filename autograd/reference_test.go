package autograd

import (
	"math"
	"testing"

	"lockstep/internal/f32"
)

// The operator table of N27 a second time, one element after the other, with
// nothing but fused multiply-adds and the scalar kernels. The tape must give
// these bits on every instruction set.

// chain is N6 for one element: blocks of 1024 terms, each a chain from +0.
func chain(k int, out float32, term func(k int) (a, b float32)) float32 {
	for lo := 0; lo < k; lo += 1024 {
		t := float32(0)
		for i := lo; i < min(lo+1024, k); i++ {
			a, b := term(i)
			t = f32.FMA(a, b, t)
		}
		out += t
	}
	return out
}

// product is out (m, n) = A B over k terms.
func product(m, n, k int, a, b func(i, j int) float32) []float32 {
	out := make([]float32, m*n)
	for i := range out {
		out[i] = chain(k, 0, func(l int) (float32, float32) { return a(i/n, l), b(l, i%n) })
	}
	return out
}

func matrix(x []float32, ld int) func(i, j int) float32 {
	return func(i, j int) float32 { return x[i*ld+j] }
}

func transposed(x []float32, ld int) func(i, j int) float32 {
	return func(i, j int) float32 { return x[j*ld+i] }
}

func TestN27_Linear(t *testing.T) {
	const b, positions, in, out = 2, 3, 1030, 5
	eachISA(t, func(t *testing.T) {
		x, w, bias := input(b, positions, in, 1), parameter(in, out, 2), parameter(1, out, 3)
		var tape Tape
		y := tape.Linear(x, w, bias)
		want := product(b*positions, out, in, matrix(x.Data, in), matrix(w.Value, out))
		for i := range want {
			want[i] += bias.Value[i%out] // after the last block (N15)
		}
		equalBits(t, "y", y.Data, want)

		dy := seedGradient(y, 4)
		tape.Backward(Mark{})
		equalBits(t, "dx", x.gradient, product(b*positions, in, out, matrix(dy, out), transposed(w.Value, out)))
		dw, db := make([]float32, in*out), make([]float32, out)
		for s := range b {
			xs, ds := x.Data[s*positions*in:], dy[s*positions*out:]
			addAll(dw, product(in, out, positions, transposed(xs, in), matrix(ds, out)))
			addAll(db, columnSums(ds, positions, out))
		}
		equalBits(t, "dW", w.Gradient, dw)
		equalBits(t, "db", bias.Gradient, db)
	})
}

func TestN27_Head(t *testing.T) {
	const b, positions, c, v = 2, 3, 5, 1030
	eachISA(t, func(t *testing.T) {
		x, wte := input(b, positions, c, 1), parameter(v, c, 2)
		var tape Tape
		y := tape.Head(x, wte)
		equalBits(t, "y", y.Data, product(b*positions, v, c, matrix(x.Data, c), transposed(wte.Value, c)))
		dy := seedGradient(y, 3)
		tape.Backward(Mark{})
		equalBits(t, "dx", x.gradient, product(b*positions, c, v, matrix(dy, v), matrix(wte.Value, c)))
		dwte := make([]float32, v*c)
		for s := range b {
			addAll(dwte, product(v, c, positions, transposed(dy[s*positions*v:], v), matrix(x.Data[s*positions*c:], c)))
		}
		equalBits(t, "dwte", wte.Gradient, dwte)
	})
}

// addAll is one step of the fold over sequences (N8).
func addAll(out, x []float32) {
	for i, v := range x {
		out[i] += v
	}
}

// columnSums adds rows from +0, ascending.
func columnSums(d []float32, rows, n int) []float32 {
	out := make([]float32, n)
	for i := range rows * n {
		out[i%n] += d[i]
	}
	return out
}

func TestN27_LayerNorm(t *testing.T) {
	const b, positions, c = 2, 3, 37
	eachISA(t, func(t *testing.T) {
		x, gamma, beta := input(b, positions, c, 1), parameter(1, c, 2), parameter(1, c, 3)
		var tape Tape
		y := tape.LayerNorm(x, gamma, beta, 1e-5)
		dy := seedGradient(y, 4)
		before := random(make([]float32, len(x.Data)), 5)
		x.gradient = append([]float32(nil), before...) // from a consumer that came later
		got := append([]float32(nil), y.Data...)
		tape.Backward(Mark{})

		want, dx := make([]float32, len(got)), before
		dgamma, dbeta := make([]float32, c), make([]float32, c)
		for s := range b {
			tgamma, tbeta := make([]float32, c), make([]float32, c)
			for i := s * positions * c; i < (s+1)*positions*c; i += c {
				row := layerNormRow{x: x.Data[i:][:c], dy: dy[i:][:c], gamma: gamma.Value, beta: beta.Value}
				row.forward(want[i:][:c], 1e-5)
				row.backward(dx[i:][:c], tgamma, tbeta)
			}
			addAll(dgamma, tgamma)
			addAll(dbeta, tbeta)
		}
		equalBits(t, "y", got, want)
		equalBits(t, "dx", x.gradient, dx)
		equalBits(t, "dγ", gamma.Gradient, dgamma)
		equalBits(t, "dβ", beta.Gradient, dbeta)
	})
}

// layerNormRow is N10 and its derivative for one row.
type layerNormRow struct {
	x, dy, gamma, beta []float32
	mean, r            float32
}

func (l *layerNormRow) forward(y []float32, epsilon float32) {
	d := len(l.x)
	inverse := 1 / float32(d)
	l.mean = float32(r16(d, func(i int, t float32) float32 { return t + l.x[i] }) * inverse)
	variance := float32(inverse * r16(d, func(i int, t float32) float32 {
		c := l.x[i] - l.mean
		return f32.FMA(c, c, t)
	}))
	l.r = 1 / float32(math.Sqrt(float64(variance+epsilon)))
	for i := range y {
		y[i] = f32.FMA(l.xhat(i), l.gamma[i], l.beta[i])
	}
}

func (l *layerNormRow) xhat(i int) float32  { return float32((l.x[i] - l.mean) * l.r) }
func (l *layerNormRow) dxhat(i int) float32 { return float32(l.dy[i] * l.gamma[i]) }

func (l *layerNormRow) backward(dx, tgamma, tbeta []float32) {
	d := len(l.x)
	inverse := 1 / float32(d)
	// Converted, as a compiler may fuse a product into the subtraction below (N4).
	a := float32(inverse * r16(d, func(i int, t float32) float32 { return t + l.dxhat(i) }))
	b := float32(inverse * r16(d, func(i int, t float32) float32 { return f32.FMA(l.dxhat(i), l.xhat(i), t) }))
	for i := range dx {
		t := f32.FMA(-l.xhat(i), b, l.dxhat(i)-a)
		dx[i] += float32(l.r * t)
		tgamma[i] = f32.FMA(l.dy[i], l.xhat(i), tgamma[i])
		tbeta[i] += l.dy[i]
	}
}

// r16 is the row reduction of N9: add puts element i into its lane.
func r16(n int, add func(i int, lane float32) float32) float32 {
	var lanes [16]float32
	for i := range n {
		lanes[i%16] = add(i, lanes[i%16])
	}
	for w := 8; w > 0; w /= 2 {
		for j := range w {
			lanes[j] += lanes[j+w]
		}
	}
	return lanes[0]
}

func TestN27_GELU(t *testing.T) {
	eachISA(t, func(t *testing.T) {
		x := input(1, 3, 41, 1)
		for i := range x.Data {
			x.Data[i] *= 6
		}
		var tape Tape
		y := tape.GELU(x)
		dy := seedGradient(y, 2)
		got := append([]float32(nil), y.Data...)
		tape.Backward(Mark{})
		want, dx := make([]float32, len(got)), make([]float32, len(got))
		for i, v := range x.Data {
			want[i], dx[i] = f32.GELU(v), dy[i]*f32.GELUGrad(v)
		}
		equalBits(t, "y", got, want)
		equalBits(t, "dx", x.gradient, dx)
	})
}

// TestN27_Attention crosses the border of the groups of rows that the tape
// computes together.
func TestN27_Attention(t *testing.T) {
	const b, heads, width = 2, 2, 3
	const c = heads * width
	for _, positions := range []int{1, 2, attentionRows, attentionRows + 1, 2*attentionRows + 3} {
		eachISA(t, func(t *testing.T) {
			x := input(b, positions, 3*c, 1)
			for i := range x.Data {
				x.Data[i] *= 3
			}
			var tape Tape
			y := tape.Attention(x, heads)
			dy := seedGradient(y, 2)
			got := append([]float32(nil), y.Data...)
			tape.Backward(Mark{})
			want, dx := make([]float32, len(got)), make([]float32, len(x.Data))
			for s := range b {
				for h := range heads {
					in, out := s*positions*3*c+h*width, s*positions*c+h*width
					attentionHead(x.Data[in:], dx[in:], want[out:], dy[out:], positions, c, width)
				}
			}
			equalBits(t, "y", got, want)
			equalBits(t, "dx", x.gradient, dx)
		})
	}
}

// attentionHead is one head. Rows of x and dx are 3c apart, those of y and dy
// c; sums over positions stop at the diagonal.
func attentionHead(x, dx, y, dy []float32, n, c, width int) {
	scale := float32(1 / math.Sqrt(float64(width)))
	q, k, v := matrix(x, 3*c), matrix(x[c:], 3*c), matrix(x[2*c:], 3*c)
	p, ds := make([]float32, n*n), make([]float32, n*n)
	for i := range n {
		row := p[i*n:][:i+1]
		for j := range row {
			row[j] = scale * chain(width, 0, func(l int) (float32, float32) { return q(i, l), k(j, l) })
		}
		softmaxRow(row)
		dp := make([]float32, i+1)
		for j := range dp {
			dp[j] = chain(width, 0, func(l int) (float32, float32) { return dy[i*c+l], v(j, l) })
		}
		d := r16(i+1, func(j int, t float32) float32 { return f32.FMA(dp[j], row[j], t) })
		for j := range row {
			ds[i*n+j] = float32(row[j]*(dp[j]-d)) * scale
		}
	}
	for i := range n {
		for l := range width {
			y[i*c+l] = chain(i+1, 0, func(j int) (float32, float32) { return p[i*n+j], v(j, l) })
			dx[i*3*c+l] = chain(i+1, 0, func(j int) (float32, float32) { return ds[i*n+j], k(j, l) })
			dx[i*3*c+c+l] = chain(n-i, 0, func(j int) (float32, float32) { return ds[(i+j)*n+i], q(i+j, l) })
			dx[i*3*c+2*c+l] = chain(n-i, 0, func(j int) (float32, float32) { return p[(i+j)*n+i], dy[(i+j)*c+l] })
		}
	}
}

// softmaxRow is N11.
func softmaxRow(s []float32) {
	m := s[0]
	for _, v := range s {
		if v > m {
			m = v
		}
	}
	for i, v := range s {
		s[i] = f32.Exp(v - (m + 0))
	}
	z := 1 / r16(len(s), func(i int, t float32) float32 { return t + s[i] })
	for i := range s {
		s[i] *= z
	}
}

func TestN27_CrossEntropy(t *testing.T) {
	const v = 67
	eachISA(t, func(t *testing.T) {
		x := input(2, 2, v, 1)
		logits := append([]float32(nil), x.Data...)
		targets := []int32{5, -1, 66, 0}
		var tape Tape
		losses := append([]float32(nil), tape.CrossEntropy(x, targets)...)
		tape.Backward(Mark{})
		want, dx := make([]float32, 4), make([]float32, 4*v)
		for i, target := range targets {
			if target < 0 {
				continue
			}
			row := logits[i*v:][:v]
			m := row[0]
			for _, l := range row {
				m = max(m, l)
			}
			z := r16(v, func(j int, t float32) float32 { return t + f32.Exp(row[j]-m) })
			want[i] = f32.Log(z) + m - row[target]
			copy(dx[i*v:], row)
			softmaxRow(dx[i*v:][:v])
			dx[i*v+int(target)]--
		}
		equalBits(t, "loss", losses, want)
		equalBits(t, "dx", x.gradient, dx)
	})
}

func TestN14_EmbeddingGradient(t *testing.T) {
	const b, positions, c, v = 3, 6, 5, 4
	tokens := []int32{3, 1, 3, 0, 3, 1, 2, 2, 2, 2, 2, 2, 0, 1, 2, 3, 3, 3}
	eachISA(t, func(t *testing.T) {
		wte, wpe := parameter(v, c, 1), parameter(positions+2, c, 2)
		random(wte.Gradient, 3)
		dwte := append([]float32(nil), wte.Gradient...)
		var tape Tape
		y := tape.Embedding(tokens, b, positions, wte, wpe)
		for i, got := range y.Data {
			row, j := i/c, i%c
			if want := wte.Value[int(tokens[row])*c+j] + wpe.Value[row%positions*c+j]; got != want {
				t.Fatalf("y[%d] = %v, want %v", i, got, want)
			}
		}
		dy := seedGradient(y, 4)
		tape.Backward(Mark{})
		dwpe := make([]float32, (positions+2)*c)
		for s := range b {
			sum := map[int]float32{} // token and column
			for i := range positions * c {
				at := (s*positions)*c + i
				sum[int(tokens[at/c])*c+i%c] += dy[at]
				dwpe[i] += dy[at]
			}
			for i := range dwte {
				dwte[i] += sum[i]
			}
		}
		equalBits(t, "dwte", wte.Gradient, dwte)
		equalBits(t, "dwpe", wpe.Gradient, dwpe)
	})
}
