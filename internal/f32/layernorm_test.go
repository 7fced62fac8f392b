package f32

import (
	"math"
	"math/rand/v2"
	"testing"
)

const testEps = 1e-5

// normRow is one row of layer normalisation with everything that enters it.
type normRow struct{ x, gamma, beta, dy []float32 }

func newNormRow(r *rand.Rand, d int) normRow {
	row := normRow{make([]float32, d), make([]float32, d), make([]float32, d), make([]float32, d)}
	for i := range d {
		row.x[i] = float32(3*r.NormFloat64() + 1)
		row.gamma[i] = float32(1 + 0.1*r.NormFloat64())
		row.beta[i] = float32(0.1 * r.NormFloat64())
		row.dy[i] = float32(r.NormFloat64())
	}
	return row
}

// steps computes N10 and N27's LayerNorm backward a second time, primitive by
// primitive.
func (row normRow) steps(y, dx []float32) (mean, rstd float32) {
	x, n := row.x, len(row.x)
	inverse := 1 / float32(n)
	mean = float32(r16(n, func(l float32, i int) float32 { return l + x[i] }) * inverse)
	variance := float32(r16(n, func(l float32, i int) float32 { return FMA(x[i]-mean, x[i]-mean, l) }) * inverse)
	rstd = 1 / float32(math.Sqrt(float64(variance+testEps)))
	xhat, dxhat := make([]float32, n), make([]float32, n)
	for i := range x {
		xhat[i] = float32((x[i] - mean) * rstd)
		dxhat[i] = float32(row.dy[i] * row.gamma[i])
		y[i] = FMA(xhat[i], row.gamma[i], row.beta[i])
	}
	a := float32(r16(n, func(l float32, i int) float32 { return l + dxhat[i] }) * inverse)
	b := float32(r16(n, func(l float32, i int) float32 { return FMA(dxhat[i], xhat[i], l) }) * inverse)
	for i := range x {
		step := float32(rstd * FMA(-xhat[i], b, dxhat[i]-a))
		dx[i] = dx[i] + step
	}
	return mean, rstd
}

func TestN10_LayerNormSteps(t *testing.T) {
	r := rand.New(rand.NewPCG(10, 0))
	for d := 1; d < 100; d++ {
		row := newNormRow(r, d)
		y, dx, wantY, wantDX := make([]float32, d), make([]float32, d), make([]float32, d), make([]float32, d)
		for i := range dx {
			dx[i] = float32(r.NormFloat64())
			wantDX[i] = dx[i]
		}
		wantMean, wantRstd := row.steps(wantY, wantDX)
		mean, rstd := LayerNorm(y, row.x, row.gamma, row.beta, testEps)
		if !same32(mean, wantMean) || !same32(rstd, wantRstd) {
			t.Fatalf("width %d: mean, rstd = %x, %x, want %x, %x", d, mean, rstd, wantMean, wantRstd)
		}
		LayerNormBackward(dx, row.dy, row.x, row.gamma, mean, rstd)
		for i := range y {
			if !same32(y[i], wantY[i]) || !same32(dx[i], wantDX[i]) {
				t.Fatalf("width %d, element %d: y, dx = %x, %x, want %x, %x", d, i, y[i], dx[i], wantY[i], wantDX[i])
			}
		}
	}
}

// lossAt is the scalar sum(y*dy) of the row in float64, with x[i] moved by h.
func (row normRow) lossAt(i int, h float64) float64 {
	n := float64(len(row.x))
	at := func(k int) float64 {
		if k == i {
			return float64(row.x[k]) + h
		}
		return float64(row.x[k])
	}
	var mean, variance, loss float64
	for k := range row.x {
		mean += at(k) / n
	}
	for k := range row.x {
		variance += (at(k) - mean) * (at(k) - mean) / n
	}
	for k := range row.x {
		y := (at(k)-mean)/math.Sqrt(variance+testEps)*float64(row.gamma[k]) + float64(row.beta[k])
		loss += y * float64(row.dy[k])
	}
	return loss
}

// TestN10_LayerNormGradient checks dx against central differences in float64.
func TestN10_LayerNormGradient(t *testing.T) {
	r := rand.New(rand.NewPCG(10, 1))
	for _, d := range []int{2, 7, 64, 768} {
		row := newNormRow(r, d)
		y, dx := make([]float32, d), make([]float32, d)
		mean, rstd := LayerNorm(y, row.x, row.gamma, row.beta, testEps)
		LayerNormBackward(dx, row.dy, row.x, row.gamma, mean, rstd)
		const h = 1e-4
		for i := 0; i < d; i += 1 + d/20 {
			want := (row.lossAt(i, h) - row.lossAt(i, -h)) / (2 * h)
			if math.Abs(float64(dx[i])-want) > 2e-6 {
				t.Errorf("width %d: dx[%d] = %v, by differences %v", d, i, dx[i], want)
			}
		}
	}
}

func TestN8_LayerNormParamsOrder(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 0))
	const rows, d = 9, tile + 37
	row := newNormRow(r, rows*d)
	mean, rstd := make([]float32, rows), make([]float32, rows)
	for i := range rows {
		mean[i], rstd[i] = float32(r.NormFloat64()), 1+r.Float32()
	}
	for _, isa := range Available() {
		restore := ForTest(isa)
		dgamma, dbeta := make([]float32, d), make([]float32, d)
		for j := range d {
			dgamma[j], dbeta[j] = row.gamma[j], row.beta[j]
		}
		LayerNormParams(dgamma, dbeta, row.dy, row.x, mean, rstd, rows, d, d)
		for j := range d {
			var tgamma, tbeta float32
			for i := range rows {
				xhat := float32((row.x[i*d+j] - mean[i]) * rstd[i])
				tgamma = FMA(row.dy[i*d+j], xhat, tgamma)
				tbeta = tbeta + row.dy[i*d+j]
			}
			if want := row.gamma[j] + tgamma; !same32(dgamma[j], want) {
				t.Errorf("dgamma[%d] on %s = %x, want %x", j, isa, dgamma[j], want)
			}
			if want := row.beta[j] + tbeta; !same32(dbeta[j], want) {
				t.Errorf("dbeta[%d] on %s = %x, want %x", j, isa, dbeta[j], want)
			}
		}
		restore()
	}
}
