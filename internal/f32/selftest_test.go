package f32

import (
	"math"
	"testing"
)

func TestN1_SelfTest(t *testing.T) {
	for _, isa := range Available() {
		restore := ForTest(isa)
		if err := SelfTest(); err != nil {
			t.Errorf("%s: %v", isa, err)
		}
		restore()
	}
}

// TestN1_SelfTestCatchesWrongArithmetic gives the check machines that flush
// subnormals, round to zero, or have no fused multiply-add.
func TestN1_SelfTestCatchesWrongArithmetic(t *testing.T) {
	flush := func(x []float32) {
		for i, v := range x {
			if math.Abs(float64(v)) < 0x1p-126 {
				x[i] = 0
			}
		}
	}
	right := arithmetic{addGeneric, scaleGeneric, normalizeParamsGeneric}
	machines := map[string]arithmetic{
		"flushes results":  {right.add, func(dst, x []float32, s float32) { right.scale(dst, x, s); flush(dst) }, right.fma},
		"flushes operands": {right.add, func(dst, x []float32, s float32) { flush(x); right.scale(dst, x, s) }, right.fma},
		"rounds ties up": {func(dst, x, y []float32) {
			for i := range dst {
				exact := float64(x[i]) + float64(y[i])
				dst[i] = float32(exact)
				if exact > float64(dst[i]) {
					dst[i] = math.Nextafter32(dst[i], 2)
				}
			}
		}, right.scale, right.fma},
		"rounds towards zero": {func(dst, x, y []float32) {
			for i := range dst {
				exact := float64(x[i]) + float64(y[i])
				dst[i] = float32(exact)
				if exact < float64(dst[i]) {
					dst[i] = math.Nextafter32(dst[i], 0)
				}
			}
		}, right.scale, right.fma},
		"has no fused multiply-add": {right.add, right.scale, func(t, dy, x []float32, mean, rstd float32) {
			for i := range t {
				t[i] += float32(dy[i] * float32((x[i]-mean)*rstd))
			}
		}},
	}
	if what := checkArithmetic(right); what != "" {
		t.Errorf("the definition itself: %s", what)
	}
	for name, machine := range machines {
		if checkArithmetic(machine) == "" {
			t.Errorf("a machine that %s passes", name)
		}
	}
}
