package optim

import (
	"errors"
	"math"
	"math/big"
	"strings"
	"testing"

	"lockstep/internal/f32"
	"lockstep/internal/fault"
	"lockstep/internal/merkle"
	"lockstep/internal/spec"
)

// The run spec's optimizer converts to ours without a translation table.
var _ = Config(spec.Optimizer{})

func TestValidate(t *testing.T) {
	if err := Default().Validate(); err != nil {
		t.Fatal(err)
	}
	nan := math.NaN()
	bad := map[string]func(c *Config){
		"learning_rate": func(c *Config) { c.LearningRate = 0 },
		"min_rate":      func(c *Config) { c.MinRate, c.DecaySteps = 1, 10 },
		"min_rate is":   func(c *Config) { c.MinRate = 1e-4 }, // no effect without decay
		"warmup_steps":  func(c *Config) { c.WarmupSteps = 1 << 54 },
		"decay_steps":   func(c *Config) { c.DecaySteps, c.WarmupSteps = 5, 5 },
		"decay_steps i": func(c *Config) { c.DecaySteps = 1 << 54 },
		"beta1":         func(c *Config) { c.Beta1 = 0.999999999 }, // 1 in float32
		"beta2":         func(c *Config) { c.Beta2 = -0.1 },
		"epsilon":       func(c *Config) { c.Epsilon = 1e-60 }, // 0 in float32
		"weight_decay":  func(c *Config) { c.WeightDecay = -1 },
		"clip_norm":     func(c *Config) { c.ClipNorm = 0 },
		"clip_norm is":  func(c *Config) { c.ClipNorm = math.Inf(1) },
		"epsilon is":    func(c *Config) { c.Epsilon = nan },
		"learning_ra":   func(c *Config) { c.LearningRate = nan },
		"beta1 is NaN":  func(c *Config) { c.Beta1 = nan },
	}
	for name, change := range bad {
		c := Default()
		change(&c)
		err := c.Validate()
		if fault.KindOf(err) != fault.Config || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRate(t *testing.T) {
	constant := Config{LearningRate: 2, WarmupSteps: 4}
	decay := Config{LearningRate: 2, WarmupSteps: 4, DecaySteps: 8, MinRate: 1}
	tests := []struct {
		c    Config
		step uint64
		want float64
	}{
		{constant, 1, 0.5}, {constant, 2, 1}, {constant, 4, 2}, {constant, 5, 2}, {constant, 1 << 50, 2},
		{decay, 1, 0.5}, {decay, 4, 2}, {decay, 5, 1.75}, {decay, 6, 1.5}, {decay, 7, 1.25}, {decay, 8, 1}, {decay, 9, 1},
		{Config{LearningRate: 3}, 1, 3},
		{Config{LearningRate: 3, DecaySteps: 3}, 1, 2}, {Config{LearningRate: 3, DecaySteps: 3}, 3, 0},
	}
	for _, tt := range tests {
		if got := tt.c.Rate(tt.step); got != tt.want {
			t.Errorf("%+v: rate of step %d is %v, want %v", tt.c, tt.step, got, tt.want)
		}
	}
}

func TestClip(t *testing.T) {
	c := Config{ClipNorm: 1}
	for _, norm := range []float64{0, 0.5, 0.9999, 1, 2, 1e30} {
		want := 1.0
		if norm+1e-6 > 1 {
			want = 1 / (norm + 1e-6)
		}
		if got := c.Clip(norm); got != want {
			t.Errorf("clip of %v is %v, want %v", norm, got, want)
		}
	}
}

// TestN18_BiasCorrection compares the powers with exact ones.
func TestN18_BiasCorrection(t *testing.T) {
	for _, b := range []float64{0, 0.5, 0.9, 0.95, 0.999} {
		for _, n := range []uint64{0, 1, 2, 3, 7, 10, 100, 1000, 54321} {
			exact := big.NewFloat(1).SetPrec(200)
			for range n {
				exact.Mul(exact, big.NewFloat(b))
			}
			want, _ := exact.Float64()
			if got := power(b, n); math.Abs(got-want) > 1e-12*want {
				t.Errorf("%v^%d = %v, want %v", b, n, got, want)
			}
		}
	}
	k := Default().Coefficients(1, 0.5)
	if k.C1 != float32(1/(1-0.9)) || k.OneMinusBeta1 != float32(1-0.9) || k.Clip != 1 || k.LR != 1e-3 {
		t.Errorf("coefficients of step 1: %+v", k)
	}
}

// numbers returns n float32 values around 0 of very different sizes.
func numbers(n int, key uint32) []float32 {
	x := make([]float32, n)
	for i := range x {
		h := (uint32(i)+key)*0x9E3779B9 ^ key<<7
		h ^= h >> 15
		h *= 0x2C1B3C6D
		h ^= h >> 12
		x[i] = float32(int32(h)) / float32(uint64(1)<<(31+h%20))
	}
	return x
}

func testSpans(n int) []Span {
	return []Span{
		{Name: "matrix", Offset: 0, Size: 20000, Decay: true},
		{Name: "bias", Offset: 20000, Size: 77},
		{Name: "rest", Offset: 20077, Size: n - 20077, Decay: true},
	}
}

// TestN18_AdamW compares two steps with the formula, element by element.
func TestN18_AdamW(t *testing.T) {
	const n = 3*merkle.LeafElements + 5
	c := Config{
		LearningRate: 0.01, WarmupSteps: 3, Beta1: 0.9, Beta2: 0.99, Epsilon: 1e-6, WeightDecay: 0.1, ClipNorm: 0.25,
	}
	for _, isa := range f32.Available() {
		t.Run(isa.String(), func(t *testing.T) {
			defer f32.ForTest(isa)()
			theta, m, v := numbers(n, 1), numbers(n, 2), numbers(n, 3)
			for i := range v {
				v[i] *= v[i]
			}
			wantTheta, wantM, wantV := clone(theta), clone(m), clone(v)
			for step := uint64(5); step < 7; step++ {
				g := numbers(n, uint32(step))
				norm, err := new(Norms).Norm("average", testSpans(n), g)
				if err != nil {
					t.Fatal(err)
				}
				info, err := new(AdamW).Step(c, step, norm, testSpans(n), theta, m, v, g)
				if err != nil {
					t.Fatal(err)
				}
				k := c.Coefficients(step, norm)
				if info.Step != step || info.Norm != norm || info.Clip != float64(k.Clip) || info.Rate != float64(k.LR) {
					t.Errorf("step %d: %+v", step, info)
				}
				if k.Clip >= 1 {
					t.Fatal("the gradient is not clipped")
				}
				for i := range wantTheta {
					k.Decay = 0.1
					if i >= 20000 && i < 20077 {
						k.Decay = 0
					}
					reference(&wantTheta[i], &wantM[i], &wantV[i], g[i], k)
				}
			}
			equalBits(t, "theta", theta, wantTheta)
			equalBits(t, "m", m, wantM)
			equalBits(t, "v", v, wantV)
		})
	}
}

// reference is N18, written out.
func reference(theta, m, v *float32, g float32, k f32.AdamW) {
	clipped := float32(g * k.Clip)
	*m = f32.FMA(k.Beta1, *m, float32(k.OneMinusBeta1*clipped))
	*v = f32.FMA(k.Beta2, *v, float32(float32(k.OneMinusBeta2*clipped)*clipped))
	root := float32(math.Sqrt(float64(float32(*v * k.C2))))
	u := float32(*m*k.C1) / (root + k.Eps)
	*theta = f32.FMA(-k.LR, u+float32(k.Decay**theta), *theta)
}

// TestN13_Norm adds squares in the order of N13 and compares bits.
func TestN13_Norm(t *testing.T) {
	const n = 2*merkle.LeafElements + 100
	x := numbers(n, 9)
	total := 0.0
	for lo := 0; lo < n; lo += merkle.LeafElements {
		var lanes [16]float64
		for i, v := range x[lo:min(lo+merkle.LeafElements, n)] {
			lanes[i%16] += float64(float64(v) * float64(v))
		}
		for w := 8; w > 0; w /= 2 {
			for j := range w {
				lanes[j] += lanes[j+w]
			}
		}
		total += lanes[0]
	}
	for _, isa := range f32.Available() {
		restore := f32.ForTest(isa)
		got, err := new(Norms).Norm("average", testSpans(n), x)
		restore()
		if err != nil || got != math.Sqrt(total) {
			t.Errorf("%v: norm %v, %v; want %v", isa, got, err, math.Sqrt(total))
		}
	}
}

func TestN21_NonFinite(t *testing.T) {
	const n = 3 * merkle.LeafElements
	for _, value := range []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1))} {
		x := numbers(n, 1)
		x[20080] = value
		x[n-1] = value // the first one is reported
		_, err := new(Norms).Norm("average", testSpans(n), x)
		var where *NonFiniteError
		if !errors.As(err, &where) || where.What != "average" || where.Tensor != "rest" || where.Index != 3 {
			t.Errorf("%v: %v", value, err)
		}
		if fault.KindOf(err) != fault.Unexpected {
			t.Errorf("kind %v", fault.KindOf(err))
		}
	}
	if err := new(Norms).Check("average", testSpans(n), numbers(n, 1)); err != nil {
		t.Errorf("finite numbers: %v", err)
	}
}

// TestN21_SpoiltStep: a step whose result overflows says where.
func TestN21_SpoiltStep(t *testing.T) {
	const n = 3 * merkle.LeafElements
	c := Default()
	c.LearningRate, c.WeightDecay = 1e38, 0
	theta, m, v, g := make([]float32, n), make([]float32, n), make([]float32, n), make([]float32, n)
	theta[20001] = -math.MaxFloat32
	g[20001] = 1
	norm, _ := new(Norms).Norm("average", testSpans(n), g)
	_, err := new(AdamW).Step(c, 1, norm, testSpans(n), theta, m, v, g)
	var where *NonFiniteError
	if !errors.As(err, &where) || where.What != "parameters" || where.Tensor != "bias" || where.Index != 1 {
		t.Errorf("%v", err)
	}
}

func TestStepPanicsOnLengths(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	x := make([]float32, 4)
	new(AdamW).Step(Default(), 1, 1, nil, x, x, x, x[:3])
}

func TestPlace(t *testing.T) {
	spans := testSpans(30000)
	for _, tt := range []struct {
		i, inside int
		name      string
	}{{0, 0, "matrix"}, {19999, 19999, "matrix"}, {20000, 0, "bias"}, {20076, 76, "bias"}, {20077, 0, "rest"}, {29999, 9922, "rest"}} {
		if s, inside := Place(spans, tt.i); s.Name != tt.name || inside != tt.inside {
			t.Errorf("element %d is %s[%d], want %s[%d]", tt.i, s.Name, inside, tt.name, tt.inside)
		}
	}
}

func clone(x []float32) []float32 { return append([]float32(nil), x...) }

func equalBits(t *testing.T, what string, got, want []float32) {
	t.Helper()
	for i := range want {
		if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
			t.Fatalf("%s[%d] = %v, want %v", what, i, got[i], want[i])
		}
	}
}
