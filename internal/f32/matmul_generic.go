package f32

import "math"

// genericColumns is the width of the strip that the portable product works on:
// one block of B, widened to float64, then fits a core's own cache.
const genericColumns = 32

// genericPanel is one block of a strip of B; the values are float32's.
type genericPanel [blockK][genericColumns]float64

var genericPanels freeList[genericPanel]

func newGenericPanel() *genericPanel { return new(genericPanel) }

// genericStrip computes the columns of strip s, for all rows. It is the
// definition that every other kernel equals.
func (p *product) genericStrip(s int) {
	panel := genericPanels.take(newGenericPanel)
	j0 := s * genericColumns
	width := min(genericColumns, p.n-j0)
	for k0 := 0; k0 < p.k; k0 += blockK {
		kc := min(blockK, p.k-k0)
		p.widen(panel, k0, kc, j0, width)
		for i := range p.m {
			var sums [genericColumns]float64
			t := sums[:width] // +0
			for k := range kc {
				chain(t, float64(p.a[i*p.aRow+(k0+k)*p.aCol]), panel[k][:width])
			}
			out := p.out[i*p.ldc+j0:][:width]
			for j := range out {
				if k0 == 0 && !p.accumulate {
					out[j] = 0
				}
				out[j] += float32(t[j])
			}
		}
	}
	genericPanels.give(panel)
}

// widen copies B[k0:k0+kc, j0:j0+width] into the panel.
func (p *product) widen(panel *genericPanel, k0, kc, j0, width int) {
	for k := range kc {
		row := panel[k][:width]
		for j := range row {
			row[j] = float64(p.b[(k0+k)*p.bRow+(j0+j)*p.bCol])
		}
	}
}

// chain is one step of N6 for a row of outputs: t[j] = FMA(a, b[j], t[j]), with
// all values kept in float64, which spares most conversions. The float64 sum
// s, rounded to float32, is FMA's result unless s lies halfway between two
// float32 values. Such an s has at most 25 significant bits, so its lowest 28
// bits are zero; a product for which they are is left to FMA.
func chain(t []float64, a float64, b []float64) {
	t = t[:len(b)]
	for j, x := range b {
		s := float64(a*x) + t[j]
		if math.Float64bits(s)<<36 == 0 {
			s = float64(FMA(float32(a), float32(x), float32(t[j])))
		}
		t[j] = float64(float32(s))
	}
}
