package f32

import (
	"math"
	"testing"
)

// TestN12_SpecialValues: arguments at which the functions are exact, or change
// their formula.
func TestN12_SpecialValues(t *testing.T) {
	inf, nan := infinity, float32(math.NaN())
	below := func(x float32) float32 { return math.Nextafter32(x, -inf) }
	above := func(x float32) float32 { return math.Nextafter32(x, inf) }
	tests := []struct {
		name    string
		f       func(float32) float32
		x, want float32
	}{
		{"Exp", Exp, 0, 1}, {"Exp", Exp, negativeZero, 1}, {"Exp", Exp, inf, inf}, {"Exp", Exp, -inf, 0}, {"Exp", Exp, nan, nan},
		{"Exp", Exp, above(expMax), inf}, {"Exp", Exp, below(expMin), 0}, {"Exp", Exp, 0x1p-149, 1},
		{"Log", Log, 1, 0}, {"Log", Log, 0, -inf}, {"Log", Log, negativeZero, -inf}, {"Log", Log, inf, inf},
		{"Log", Log, -1, nan}, {"Log", Log, -inf, nan}, {"Log", Log, nan, nan},
		{"Tanh", Tanh, 0, 0}, {"Tanh", Tanh, negativeZero, negativeZero}, {"Tanh", Tanh, inf, 1}, {"Tanh", Tanh, -inf, -1},
		{"Tanh", Tanh, nan, nan}, {"Tanh", Tanh, 0x1p-149, 0x1p-149}, {"Tanh", Tanh, -20, -1},
		{"GELU", GELU, 0, 0}, {"GELU", GELU, negativeZero, negativeZero}, {"GELU", GELU, inf, inf}, {"GELU", GELU, -inf, negativeZero},
		{"GELU", GELU, nan, nan}, {"GELU", GELU, 1e30, 1e30}, {"GELU", GELU, below(-10), negativeZero},
		{"GELUGrad", GELUGrad, 0, 0.5}, {"GELUGrad", GELUGrad, negativeZero, 0.5}, {"GELUGrad", GELUGrad, inf, 1},
		{"GELUGrad", GELUGrad, -inf, negativeZero}, {"GELUGrad", GELUGrad, nan, nan}, {"GELUGrad", GELUGrad, below(-10), negativeZero},
	}
	for _, tt := range tests {
		if got := tt.f(tt.x); !same32(got, tt.want) {
			t.Errorf("%s(%v) = %v (%08x), want %v", tt.name, tt.x, got, math.Float32bits(got), tt.want)
		}
	}
	for _, inside := range []struct {
		name string
		y    float32
	}{{"Exp(expMax)", Exp(expMax)}, {"Exp(expMin)", Exp(expMin)}, {"GELU(-10)", -GELU(-10)}, {"-GELUGrad(-10)", -GELUGrad(-10)}} {
		if !(inside.y >= 0x1p-126) || !isFinite(inside.y) {
			t.Errorf("%s = %v is not a normal number", inside.name, inside.y)
		}
	}
}
