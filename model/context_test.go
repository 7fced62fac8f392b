package model

import (
	"errors"
	"math"
	"testing"

	"lockstep/internal/fault"
	"lockstep/optim"
)

// TestContextEqualsLogits continues texts in steps of many sizes, across groups
// of rows and across the first block of N6, and compares every step's logits
// with those of the whole text, bit for bit.
func TestContextEqualsLogits(t *testing.T) {
	long := Config{Layers: 2, Heads: 3, Embd: 12, Inner: 16, Positions: 1100, Vocab: 33, LayerNormEpsilon: 1e-5, EndOfText: 32}
	for _, tt := range []struct {
		c     Config
		steps []int
	}{
		{small(), []int{1, 1, 1, 5, 2, 1, 1}},
		{small(), []int{12}},
		{long, []int{3, 1, 60, 1, 64, 1, 130, 63}},
		{long, []int{1020, 1, 1, 1, 1, 1, 40, 1}},
	} {
		eachISA(t, func(t *testing.T) {
			m, p := newModel(t, tt.c), hashedParameters(tt.c)
			text := syntheticBatch(tt.c, 1, tt.c.Positions, 0).Inputs
			context := newModel(t, tt.c).NewContext(p, tt.c.Positions)
			for _, n := range tt.steps {
				from := context.Len()
				got, err := context.Extend(text[from : from+n])
				if err != nil {
					t.Fatal(err)
				}
				want, err := m.Logits(p, text[:from+n], from+n-1)
				if err != nil {
					t.Fatal(err)
				}
				for i := range want {
					if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
						t.Fatalf("after %d tokens and %d more, logit %d is %v, want %v", from, n, i, got[i], want[i])
					}
				}
			}
		})
	}
}

// TestContextForgets: after Reset, and after a refused step, the logits are
// those of a new Context.
func TestContextForgets(t *testing.T) {
	c := small()
	p := hashedParameters(c)
	context := newModel(t, c).NewContext(p, c.Positions)
	want, err := context.Extend([]int32{3, 1, 4})
	if err != nil {
		t.Fatal(err)
	}
	bits := math.Float32bits(want[0])
	context.Reset()
	if _, err := context.Extend([]int32{3, 1, 40}); fault.KindOf(err) != fault.Damaged || context.Len() != 0 {
		t.Fatalf("token outside the vocabulary: %v, length %d", err, context.Len())
	}
	p.Data[5*c.Embd] = float32(math.NaN()) // of token 5
	var nonFinite *optim.NonFiniteError
	if _, err := context.Extend([]int32{5}); !errors.As(err, &nonFinite) || context.Len() != 0 {
		t.Fatalf("NaN: %v, length %d", err, context.Len())
	}
	p.Data[5*c.Embd] = hashedParameters(c).Data[5*c.Embd]
	got, err := context.Extend([]int32{3, 1, 4})
	if err != nil || math.Float32bits(got[0]) != bits {
		t.Errorf("%v, %v; want %08x", got[0], err, bits)
	}
}

// TestDecodingAllocatesNothing, once the buffers exist.
func TestDecodingAllocatesNothing(t *testing.T) {
	c, _ := Builtin("nano")
	c.Vocab = 2000 // enough columns for two threads
	context := newModel(t, c).NewContext(hashedParameters(c), 8)
	text := syntheticBatch(c, 1, 8, 0).Inputs
	run := func() {
		context.Reset()
		for i := range text {
			if _, err := context.Extend(text[i : i+1]); err != nil {
				t.Fatal(err)
			}
		}
	}
	allocatesNothing(t, run)
}

// TestAllocationsAreCaught feeds allocatesNothing's count a function that
// allocates one object in seven calls.
func TestAllocationsAreCaught(t *testing.T) {
	var sink *[40]byte
	calls := 0
	if n := quietestRound(func() {
		if calls++; calls%7 == 0 {
			sink = new([40]byte)
		}
	}); n <= runtimeObjects {
		t.Errorf("%d objects in %d calls (%p)", n, countedCalls, sink)
	}
}
