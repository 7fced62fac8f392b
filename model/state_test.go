package model

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"math"
	"testing"

	"lockstep/internal/fault"
	"lockstep/internal/merkle"
	"lockstep/optim"
)

// TestN22_StateRoot builds the root's preimage by hand.
func TestN22_StateRoot(t *testing.T) {
	s := NewState(Initialise(small(), 1))
	s.Epoch, s.Step = 3, 0x0102
	s.M[5], s.V[6] = 1, 2
	b := []byte("lockstep/state/1\x0elockstep-num-1")
	b = append(b, 3, 0, 0, 0, 0, 0, 0, 0, 2, 1, 0, 0, 0, 0, 0, 0)
	for _, v := range []struct {
		kind merkle.Kind
		x    []float32
	}{{merkle.KindParameters, s.Theta}, {merkle.KindMomentM, s.M}, {merkle.KindMomentV, s.V}} {
		root := merkle.Root(merkle.Grid{Kind: v.kind, Codec: merkle.CodecF32, Elements: len(v.x)}.Digests(v.x))
		b = append(b, root[:]...)
	}
	want := sha256.Sum256(b)
	if got := s.Root(); got != want {
		t.Errorf("root %v, want %s", got, hex.EncodeToString(want[:]))
	}
	if s.Header().Root() != s.Root() {
		t.Error("header and state have different roots")
	}
}

// TestStateRootCoversEverything changes one thing after the other, the sign of
// a zero included.
func TestStateRootCoversEverything(t *testing.T) {
	seen := map[merkle.Digest]string{}
	zero := float32(math.Copysign(0, -1))
	changes := []struct {
		name   string
		change func(s *State)
	}{
		{"nothing", func(*State) {}},
		{"epoch", func(s *State) { s.Epoch++ }},
		{"step", func(s *State) { s.Step++ }},
		{"theta", func(s *State) { s.Theta[len(s.Theta)-1] = 1e-30 }},
		{"m", func(s *State) { s.M[0] = 1e-30 }},
		{"v", func(s *State) { s.V[0] = 1e-30 }},
		{"-0", func(s *State) { s.M[0] = zero }},
	}
	for _, c := range changes {
		s := NewState(Initialise(small(), 1))
		c.change(s)
		root := s.Root()
		if other, ok := seen[root]; ok {
			t.Errorf("%s and %s have the same root", c.name, other)
		}
		seen[root] = c.name
	}
}

func TestApplyAverage(t *testing.T) {
	s := NewState(Initialise(small(), 1))
	g := make([]float32, s.Layout.Elements)
	for i := range g {
		g[i] = float32(i%5) - 2
	}
	before := s.Root()
	if _, err := s.ApplyAverage(g, optim.Config{}); fault.KindOf(err) != fault.Config || s.Root() != before {
		t.Errorf("empty config: %v", err)
	}
	info, err := s.ApplyAverage(g, testOptimizer())
	if err != nil {
		t.Fatal(err)
	}
	norm := 0.0
	for _, v := range g {
		norm += float64(v * v)
	}
	if info.Step != 1 || s.Step != 1 || s.Epoch != 1 || info.Norm != math.Sqrt(norm) || info.Rate != float64(float32(0.005)) {
		t.Errorf("%+v, epoch %d, step %d; want norm %v", info, s.Epoch, s.Step, math.Sqrt(norm))
	}
	bias, _ := s.Layout.Find("transformer.h.0.attn.c_attn.bias")
	if s.Theta[bias.Offset] == 0 || s.M[bias.Offset] == 0 || s.V[bias.Offset] == 0 {
		t.Error("the step changed nothing")
	}
}

// TestN21_NonFiniteAverage: a bad average leaves the state as it was; a step
// that overflows makes it unusable.
func TestN21_NonFiniteAverage(t *testing.T) {
	s := NewState(Initialise(small(), 1))
	before := s.Root()
	g := make([]float32, s.Layout.Elements)
	g[3] = float32(math.Inf(1))
	var where *optim.NonFiniteError
	if _, err := s.ApplyAverage(g, testOptimizer()); !errors.As(err, &where) || where.Tensor != "transformer.wte.weight" || where.Index != 3 {
		t.Errorf("%v", err)
	}
	if s.Root() != before || s.Epoch != 0 || s.Step != 0 {
		t.Error("a refused average changed the state")
	}
	g[3] = 1
	s.Theta[3] = -math.MaxFloat32
	c := testOptimizer()
	c.LearningRate, c.WarmupSteps, c.WeightDecay = 3e38, 0, 0
	if !s.Sound() {
		t.Error("a state is called spoilt before its step")
	}
	if _, err := s.ApplyAverage(g, c); !errors.As(err, &where) || where.What != "parameters" || s.Sound() {
		t.Errorf("%v", err)
	}
	defer func() {
		if recover() == nil {
			t.Error("a spoilt state is hashed")
		}
	}()
	s.Root()
}
