package f32

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
)

// matrixCase is one call of MatMul, with operands inside larger slices so that
// rows may be apart and starts unaligned.
type matrixCase struct {
	layout              Layout
	m, n, k             int
	aGap, bGap, outGap  int // elements between rows
	aSkip, bSkip, oSkip int // elements before the first
	accumulate          bool
}

func (c matrixCase) String() string {
	return fmt.Sprintf("%s %dx%dx%d gaps %d,%d,%d starts %d,%d,%d accumulate %t", [...]string{"NN", "NT", "TN"}[c.layout],
		c.m, c.n, c.k, c.aGap, c.bGap, c.outGap, c.aSkip, c.bSkip, c.oSkip, c.accumulate)
}

// operands are the slices of a matrixCase. Each ends with its last element.
type operands struct {
	a, b, out     []float32
	lda, ldb, ldc int
}

func (c matrixCase) operands(value func() float32) operands {
	fill := func(skip, rows, cols, gap int) ([]float32, int) {
		ld := max(cols+gap, 1)
		x := make([]float32, skip+max(rows-1, 0)*ld+cols)
		for i := range x {
			x[i] = value()
		}
		return x[skip:], ld
	}
	var o operands
	ar, ac, br, bc := c.m, c.k, c.k, c.n
	if c.layout == NT {
		br, bc = bc, br
	}
	if c.layout == TN {
		ar, ac = ac, ar
	}
	o.a, o.lda = fill(c.aSkip, ar, ac, c.aGap)
	o.b, o.ldb = fill(c.bSkip, br, bc, c.bGap)
	o.out, o.ldc = fill(c.oSkip, c.m, c.n, c.outGap)
	return o
}

// multiply runs MatMul on a copy of out between guards and returns it. It
// fails the test if anything outside out's elements was written.
func (c matrixCase) multiply(t *testing.T, o operands) []float32 {
	t.Helper()
	const guards = 64
	guard := math.Float32frombits(0x7FA5_A5A5)
	whole := make([]float32, guards+c.oSkip+len(o.out)+guards)
	for i := range whole {
		whole[i] = guard
	}
	out := whole[guards+c.oSkip:][:len(o.out)]
	for i := range c.m {
		copy(out[i*o.ldc:][:c.n], o.out[i*o.ldc:])
	}
	MatMul(c.layout, out, o.ldc, o.a, o.lda, o.b, o.ldb, c.m, c.n, c.k, c.accumulate)
	got := make([]float32, 0, c.m*c.n)
	for i := range c.m {
		row := out[i*o.ldc:][:c.n]
		got = append(got, row...)
		for j := range row {
			row[j] = guard
		}
	}
	for i, x := range whole {
		if math.Float32bits(x) != math.Float32bits(guard) {
			t.Fatalf("%v: wrote element %d of out's surroundings", c, i-guards-c.oSkip)
		}
	}
	return got
}

// reference is N6 and N7 word for word.
func (c matrixCase) reference(o operands) []float32 {
	want := make([]float32, 0, c.m*c.n)
	for i := range c.m {
		for j := range c.n {
			out := float32(0)
			if c.accumulate {
				out = o.out[i*o.ldc+j]
			}
			for k0 := 0; k0 < c.k; k0 += 1024 {
				t := float32(0)
				for k := k0; k < min(k0+1024, c.k); k++ {
					t = FMA(*c.at(o, i, k), *c.bt(o, k, j), t)
				}
				out += t
			}
			want = append(want, out)
		}
	}
	return want
}

// at is A[i,k].
func (c matrixCase) at(o operands, i, k int) *float32 {
	if c.layout == TN {
		return &o.a[k*o.lda+i]
	}
	return &o.a[i*o.lda+k]
}

// bt is B[k,j].
func (c matrixCase) bt(o operands, k, j int) *float32 {
	if c.layout == NT {
		return &o.b[j*o.ldb+k]
	}
	return &o.b[k*o.ldb+j]
}

// canonicalBits maps every NaN to one pattern: N2's primitives do not fix
// which NaN comes out.
func canonicalBits(x float32) uint32 {
	if x != x {
		return 0x7FC0_0000
	}
	return math.Float32bits(x)
}

// firstDifference is the first index where the bits differ, or -1.
func firstDifference(got, want []float32) int {
	for i := range want {
		if canonicalBits(got[i]) != canonicalBits(want[i]) {
			return i
		}
	}
	return -1
}

func mustEqual(t *testing.T, what any, n int, got, want []float32) {
	t.Helper()
	if i := firstDifference(got, want); i >= 0 {
		t.Fatalf("%v: out[%d,%d] = %x (%g), want %x (%g)", what, i/n, i%n,
			math.Float32bits(got[i]), got[i], math.Float32bits(want[i]), want[i])
	}
}

// eachISA runs the test for every ISA of this machine.
func eachISA(t *testing.T, f func(t *testing.T)) {
	for _, isa := range Available() {
		t.Run(isa.String(), func(t *testing.T) {
			defer ForTest(isa)()
			f(t)
		})
	}
}

func normal(r *rand.Rand) func() float32 { return func() float32 { return float32(r.NormFloat64()) } }

// adversarial draws the values that random data never shows: subnormals, both
// zeros, huge and tiny magnitudes, few significant bits (exact ties) and, with
// special, infinities and NaNs.
func adversarial(r *rand.Rand, special bool) func() float32 {
	return func() float32 {
		switch r.IntN(9) {
		case 0:
			return math.Float32frombits(r.Uint32() & 0x807F_FFFF) // subnormal
		case 1:
			return math.Float32frombits(r.Uint32() & 0x8000_0000) // +0, -0
		case 2:
			return math.Float32frombits(r.Uint32()&0x80FF_FFFF | 0x7E00_0000) // huge
		case 3:
			return math.Float32frombits(r.Uint32()&0x80FF_FFFF | 0x0080_0000) // tiny
		case 4:
			if special && r.IntN(64) == 0 {
				return []float32{float32(math.Inf(1)), float32(math.Inf(-1)), float32(math.NaN())}[r.IntN(3)]
			}
			return math.Float32frombits(r.Uint32()&0x8003_FFFF | 0x3F00_0000)
		case 5, 6:
			return math.Float32frombits(r.Uint32()&0x87FF_0000 | 0x3800_0000) // few bits
		default:
			return float32(r.NormFloat64())
		}
	}
}

// rounds is a number of random cases, fewer where each is slow.
func rounds(n int) int {
	if testing.Short() {
		return n / 10
	}
	return n
}

func TestN6_MatMulSmallShapes(t *testing.T) {
	eachISA(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(6, 1))
		for range rounds(1500) {
			c := matrixCase{
				layout: Layout(r.IntN(3)), m: 1 + r.IntN(40), n: 1 + r.IntN(40), k: 1 + r.IntN(70),
				aGap: r.IntN(4), bGap: r.IntN(4), outGap: r.IntN(4),
				aSkip: r.IntN(17), bSkip: r.IntN(17), oSkip: r.IntN(17), accumulate: r.IntN(2) == 1,
			}
			value := normal(r)
			if kind := r.IntN(3); kind > 0 {
				value = adversarial(r, kind == 2)
			}
			o := c.operands(value)
			mustEqual(t, c, c.n, c.multiply(t, o), c.reference(o))
		}
	})
}

// Every number of rows and columns up to two tiles, so that each tail kernel
// and each edge is met.
func TestN6_MatMulEveryTail(t *testing.T) {
	eachISA(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(6, 2))
		for m := 1; m <= 25; m++ {
			for n := 1; n <= 65; n += 1 + 3*r.IntN(2) {
				c := matrixCase{layout: Layout((m + n) % 3), m: m, n: n, k: 1 + r.IntN(11), outGap: r.IntN(2), accumulate: n%2 == 0}
				o := c.operands(normal(r))
				mustEqual(t, c, c.n, c.multiply(t, o), c.reference(o))
			}
		}
	})
}

func TestN6_MatMulLongK(t *testing.T) {
	eachISA(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(6, 3))
		for _, k := range []int{1025, 1023, 1024, 2000, 2048, 3072} {
			if testing.Short() && k != 1025 {
				continue
			}
			for layout := range Layout(3) {
				for _, accumulate := range []bool{false, true} {
					c := matrixCase{layout: layout, m: 1 + r.IntN(14), n: 1 + r.IntN(34), k: k,
						aGap: r.IntN(2), bGap: r.IntN(2), outGap: r.IntN(2), accumulate: accumulate}
					o := c.operands(normal(r))
					mustEqual(t, c, c.n, c.multiply(t, o), c.reference(o))
				}
			}
		}
	})
}

// tune makes regions, strips and groups small, and every product parallel, for
// the length of a test.
func tune(t *testing.T, small tuning) {
	t.Helper()
	old := tuned
	tuned = small
	t.Cleanup(func() { tuned = old })
}

// Neither the number of threads nor the division into regions, strips, chunks
// and groups changes a bit.
func TestN6_MatMulThreadsAndTasks(t *testing.T) {
	cases := []matrixCase{
		{layout: TN, m: 150, n: 40, k: 13, aGap: 1},
		{layout: NT, m: 7, n: 210, k: 20, bGap: 3},
		{layout: NN, m: 260, n: 17, k: 9, outGap: 2},
		{layout: NN, m: 13, n: 67, k: 1040, accumulate: true},
	}
	eachISA(t, func(t *testing.T) {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
		r := rand.New(rand.NewPCG(6, 4))
		for i, c := range cases {
			if testing.Short() && i == len(cases)-1 {
				continue
			}
			o := c.operands(normal(r))
			want := c.reference(o)
			for _, n := range []int{1, 2, 3, 7} {
				tune(t, tuning{region: 24 + r.IntN(50), strip: 32 * 1024 >> r.IntN(6), group: 1 + r.IntN(4)})
				setThreads(t, n)
				mustEqual(t, fmt.Sprint(c, ", threads ", n), c.n, c.multiply(t, o), want)
				setThreads(t, 0)
				runtime.GOMAXPROCS(n)
				mustEqual(t, fmt.Sprint(c, ", GOMAXPROCS ", n), c.n, c.multiply(t, o), want)
			}
		}
	})
}

func TestMatMul_ConcurrentAndNested(t *testing.T) {
	c := matrixCase{layout: NT, m: 25, n: 70, k: 10}
	tune(t, tuning{region: 1536, strip: maxStrip, group: 1})
	o := c.operands(normal(rand.New(rand.NewPCG(6, 5))))
	want := c.reference(o)
	eachISA(t, func(t *testing.T) {
		setThreads(t, 3)
		var callers sync.WaitGroup
		for range 4 {
			callers.Go(func() {
				for range 5 {
					Parallel(4, func(int) {
						out := make([]float32, c.m*c.n)
						MatMul(c.layout, out, c.n, o.a, o.lda, o.b, o.ldb, c.m, c.n, c.k, false)
						if i := firstDifference(out, want); i >= 0 {
							t.Errorf("element %d differs", i)
						}
					})
				}
			})
		}
		callers.Wait()
	})
}

func TestMatMul_AllocatesNothing(t *testing.T) {
	eachISA(t, func(t *testing.T) {
		setThreads(t, 2)
		tune(t, tuning{region: 1536, strip: maxStrip, group: 1})
		for _, c := range []matrixCase{{layout: NN, m: 1, n: 40, k: 1100}, {layout: NT, m: 1, n: 40, k: 1102}, {layout: TN, m: 30, n: 70, k: 20}} {
			o := c.operands(normal(rand.New(rand.NewPCG(6, 6))))
			multiply := func() {
				MatMul(c.layout, o.out, o.ldc, o.a, o.lda, o.b, o.ldb, c.m, c.n, c.k, false)
			}
			for range 20 { // both threads must have found working memory
				multiply()
			}
			if n := testing.AllocsPerRun(20, multiply); n != 0 {
				t.Errorf("%v: %v allocations a call", c, n)
			}
		}
	})
}

func TestMatMul_EmptySums(t *testing.T) {
	eachISA(t, func(t *testing.T) {
		out := []float32{1, 2, 3, 4}
		MatMul(NN, out, 2, nil, 1, nil, 2, 2, 2, 0, true)
		mustEqual(t, "k = 0, accumulate", 2, out, []float32{1, 2, 3, 4})
		MatMul(NT, out, 3, nil, 1, nil, 1, 2, 1, 0, false)
		mustEqual(t, "k = 0", 2, out, []float32{0, 2, 3, 0})
		MatMul(TN, nil, 1, nil, 1, []float32{1}, 1, 0, 1, 1, false)
		MatMul(TN, nil, 1, []float32{1}, 1, nil, 1, 1, 0, 1, false)
	})
}

func TestMatMul_RefusesWhatDoesNotFit(t *testing.T) {
	x := make([]float32, 12) // (3, 4) or (4, 3)
	tests := []struct {
		name          string
		layout        Layout
		out           []float32
		ldc, lda, ldb int
		m, n, k       int
	}{
		{"negative size", NN, x, 4, 4, 4, -1, 3, 3},
		{"unknown layout", 3, x, 3, 4, 3, 3, 3, 4},
		{"A too long", NN, x, 3, 4, 3, 4, 3, 4},
		{"A's stride too short", NN, x, 3, 3, 3, 3, 3, 4},
		{"B too long", NT, x, 4, 4, 4, 3, 4, 4},
		{"B's stride too short", TN, x, 3, 3, 2, 3, 3, 4},
		{"out too long", NN, x[:8], 3, 4, 3, 3, 3, 4},
		{"out's stride too short", NN, x, 2, 4, 3, 3, 3, 4},
		{"stride that overflows", NN, x, 3, math.MaxInt / 2, 3, 3, 3, 4},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("MatMul did not panic")
				}
			}()
			MatMul(tt.layout, tt.out, tt.ldc, x, tt.lda, x, tt.ldb, tt.m, tt.n, tt.k, false)
		})
	}
}
