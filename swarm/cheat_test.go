package swarm

import (
	"slices"
	"testing"

	"lockstep/internal/fault"
	"lockstep/internal/merkle"
	"lockstep/validate"
)

func TestCheatNames(t *testing.T) {
	for c := Honest; c <= Tokens; c++ {
		if got, err := ParseCheat(c.String()); err != nil || got != c {
			t.Errorf("%v is read as %v, %v", c, got, err)
		}
	}
	if c, err := ParseCheat(""); err != nil || c != Honest {
		t.Errorf("no name: %v, %v", c, err)
	}
	if _, err := ParseCheat("bribe"); fault.KindOf(err) != fault.Usage {
		t.Error(err)
	}
	var turn []Cheat
	for i := range 5 {
		turn = append(turn, CheatNumber(i))
	}
	if !slices.Equal(turn, []Cheat{Random, Switch, Recommit, Tokens, Random}) {
		t.Errorf("in turn: %v", turn)
	}
}

func TestFalsify(t *testing.T) {
	g := merkle.Grid{Kind: merkle.KindGradient, Codec: merkle.CodecF32, Elements: 100}
	fresh := func() *validate.Work {
		w := &validate.Work{Epoch: 2, UID: 1, Gradient: make([]float32, 100)}
		w.Leaves = g.Digests(w.Gradient)
		w.Facts.Gradient, w.Facts.Tokens = merkle.Root(w.Leaves), 128
		return w
	}
	honest := fresh()
	for c := Honest; c <= Tokens; c++ {
		w := fresh()
		c.falsify(w, g, 7)
		if merkle.Root(w.Leaves) != w.Facts.Gradient || merkle.Root(g.Digests(w.Gradient)) != w.Facts.Gradient {
			t.Errorf("%v: the claim does not fit its own gradient", c)
		}
		if (w.Facts.Gradient != honest.Facts.Gradient) != (c == Random) || (w.Facts.Tokens != 128) != (c == Tokens) {
			t.Errorf("%v: %+v", c, w.Facts)
		}
	}
}
