package f32

import (
	"math"
	"math/big"
	"math/rand/v2"
	"testing"
)

// fmaExact is x*y + z by big.Float, rounded once, for finite operands; a zero
// may have the wrong sign.
func fmaExact(x, y, z float32) float32 {
	const prec = 2000 // the widest sum spans 2^256 down to 2^-298
	p := new(big.Float).SetPrec(prec).Mul(big.NewFloat(float64(x)), big.NewFloat(float64(y)))
	s := new(big.Float).SetPrec(prec).Add(new(big.Float).SetPrec(prec).Set(p), big.NewFloat(float64(z)))
	f, _ := s.Float32()
	return f
}

// hardTriple draws operands whose sum often lies next to a rounding boundary.
func hardTriple(r *rand.Rand) (x, y, z float32) {
	bits := func() float32 {
		switch r.IntN(4) {
		case 0: // any pattern at all
			return math.Float32frombits(r.Uint32())
		case 1: // few significant bits: exact ties are likely
			return math.Float32frombits(r.Uint32() & 0xFFFF_0000)
		case 2: // near one
			return math.Float32frombits(0x3F80_0000 + uint32(r.IntN(16)) - 8)
		default: // subnormal or barely normal
			return math.Float32frombits(r.Uint32() & 0x80FF_FFFF)
		}
	}
	x, y, z = bits(), bits(), bits()
	if r.IntN(2) == 0 { // put z near half an ulp of the product, or the reverse
		p := float64(x) * float64(y)
		z = float32(math.Ldexp(p, 24+r.IntN(3)-1))
	}
	return x, y, z
}

// naiveFMA rounds twice. It exists to show that the test can tell.
func naiveFMA(x, y, z float32) float32 { return float32(math.FMA(float64(x), float64(y), float64(z))) }

// checkFMA compares FMA with the exact sum rounded once.
func checkFMA(t *testing.T, x, y, z float32) {
	t.Helper()
	p := float64(x) * float64(y)    // exact
	want := float32(p + float64(z)) // NaNs, infinities and the sign of a zero, which big.Float lacks
	if isFinite(x) && isFinite(y) && isFinite(z) {
		if exact := fmaExact(x, y, z); exact != want {
			want = exact
		}
	}
	if got := FMA(x, y, z); !same32(got, want) {
		t.Fatalf("FMA(%x, %x, %x) = %x, want %x", x, y, z, got, want)
	}
}

func TestN3_FMARoundsOnce(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 0))
	naiveWrong := 0
	for range 300_000 {
		x, y, z := hardTriple(r)
		checkFMA(t, x, y, z)
		if !same32(naiveFMA(x, y, z), FMA(x, y, z)) {
			naiveWrong++
		}
	}
	if naiveWrong == 0 {
		t.Error("no triple caught the doubly rounded form: the test is too weak")
	}
}

// FuzzFMA compares the definition of fma, on which every kernel rests, with
// arithmetic of 2,000 bits.
func FuzzFMA(f *testing.F) {
	for _, h := range hardSteps {
		f.Add(math.Float32bits(h.x), math.Float32bits(h.y), math.Float32bits(h.t0))
	}
	f.Add(uint32(1), uint32(1), uint32(1<<31|1))                         // the least numbers
	f.Add(uint32(0x7F7F_FFFF), uint32(0x3F80_0000), uint32(0x7300_0000)) // the border of infinity
	f.Add(uint32(0x3F80_0000), uint32(0xBF80_0000), uint32(0x3F80_0000)) // exactly zero
	f.Add(uint32(0x8000_0000), uint32(0x3F80_0000), uint32(0x8000_0000)) // -0
	f.Fuzz(func(t *testing.T, x, y, z uint32) {
		checkFMA(t, math.Float32frombits(x), math.Float32frombits(y), math.Float32frombits(z))
	})
}

func TestN3_SignedZeros(t *testing.T) {
	negZero := float32(math.Copysign(0, -1))
	tests := []struct{ x, y, z, want float32 }{
		{1, 0, 0, 0}, {1, 0, negZero, 0}, {1, negZero, 0, 0},
		{1, negZero, negZero, negZero}, {1, -1, 1, 0}, {-1, 1, 1, 0},
	}
	for _, tt := range tests {
		if got := FMA(tt.x, tt.y, tt.z); math.Float32bits(got) != math.Float32bits(tt.want) {
			t.Errorf("FMA(%v, %v, %v) = %v, want %v", tt.x, tt.y, tt.z, got, tt.want)
		}
	}
}

func BenchmarkFMAPortable(b *testing.B) {
	x, acc := float32(1.0001), float32(0)
	for b.Loop() {
		acc = FMA(x, 0.9999, acc)
	}
	sink = acc
}

var sink float32
