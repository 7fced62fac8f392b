package model

import (
	"math"
	"testing"

	"lockstep/internal/fault"
)

func TestFreeze(t *testing.T) {
	c := small()
	m, p, batch := newModel(t, c), hashedParameters(c), syntheticBatch(small(), 2, 6, 0)
	acc := NewAccumulator(m.Layout)
	if err := m.Gradient(p, batch, acc); err != nil {
		t.Fatal(err)
	}
	g, err := acc.Freeze()
	if err != nil {
		t.Fatal(err)
	}
	first := append([]float32(nil), g...)
	if g, err = acc.Freeze(); err != nil {
		t.Fatal(err)
	}
	equalBits(t, m.Layout, g, first)
	func() {
		defer func() {
			if recover() == nil {
				t.Error("a frozen accumulator grows")
			}
		}()
		m.Gradient(p, batch, acc)
	}()
	acc.Reset()
	if err := m.Gradient(p, batch, acc); err != nil {
		t.Fatal(err)
	}
	if g, err = acc.Freeze(); err != nil {
		t.Fatal(err)
	}
	equalBits(t, m.Layout, g, first)
}

// TestN16_GroupOfOne: the average of one peer has the roundings of N16.
func TestN16_GroupOfOne(t *testing.T) {
	g := make([]float32, 40000)
	for i := range g {
		g[i] = float32(int32(hash32(uint32(i)))) / 1e6
	}
	g[7] = float32(math.Copysign(0, -1))
	want := make([]float32, len(g))
	for i, v := range g {
		want[i] = float32((0 + float64(v)) / 37)
	}
	if err := Average(g, 37); err != nil {
		t.Fatal(err)
	}
	for i := range g {
		if math.Float32bits(g[i]) != math.Float32bits(want[i]) {
			t.Fatalf("element %d: %v, want %v", i, g[i], want[i])
		}
	}
	if err := Average(g, 0); fault.KindOf(err) != fault.Damaged {
		t.Errorf("no tokens: %v", err)
	}
}
