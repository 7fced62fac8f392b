package reduce

import (
	"slices"
	"testing"

	"lockstep/internal/merkle"
	"lockstep/reduce/commit"
)

func TestExclude(t *testing.T) {
	ok := func(root byte) *commit.Vote {
		return &commit.Vote{OK: true, Reduced: true, Result: merkle.Digest{root}}
	}
	fail := func(reduced bool, blames ...uint32) *commit.Vote {
		v := &commit.Vote{Reduced: reduced}
		for _, uid := range blames {
			v.Blames = append(v.Blames, commit.Blame{UID: uid, Kind: commit.Missing})
		}
		return v
	}
	missing := func(by, against int) accusation { return accusation{by, against, commit.Missing} }
	stalled := func(by, against int) accusation { return accusation{by, against, commit.Stalled} }
	const none, silent, miss, accuser = commit.Kind(0), commit.Silent, commit.Missing, commit.Accuser
	type kinds = []commit.Kind
	for _, tt := range []struct {
		name string
		in   testimony
		want kinds
	}{
		{"nobody", testimony{silent: make([]bool, 3)}, kinds{none, none, none}},
		{"proof outweighs silence", testimony{convicted: kinds{commit.Switch, 0, 0}, silent: []bool{true, false, false}}, kinds{commit.Switch, none, none}},
		{"silent", testimony{silent: []bool{false, true, false}}, kinds{none, silent, none}},
		{"accusing the silent is free", testimony{silent: []bool{false, true, false}, accusation: []accusation{missing(0, 1)}}, kinds{none, silent, none}},
		{"one against one: once more", testimony{silent: make([]bool, 4), accusation: []accusation{missing(2, 1)}}, kinds{none, none, none, none}},
		{"once more, though the vote was fail", testimony{silent: make([]bool, 4), voted: []*commit.Vote{nil, nil, fail(false, 1), nil}, accusation: []accusation{missing(2, 1)}}, kinds{none, none, none, none}},
		{"one against one again: both", testimony{silent: make([]bool, 4), accusation: []accusation{missing(2, 1)}, charges: []charge{{4, 12, 11}}}, kinds{none, miss, accuser, none}},
		{"each against the other: once more", testimony{silent: make([]bool, 4), accusation: []accusation{missing(1, 2), missing(2, 1)}}, kinds{none, none, none, none}},
		{"each against the other again: both", testimony{silent: make([]bool, 4), accusation: []accusation{missing(1, 2), missing(2, 1)}, charges: []charge{{4, 11, 12}, {4, 12, 11}}}, kinds{none, accuser, miss, none}},
		{"who accused another before: the accuser", testimony{silent: make([]bool, 4), accusation: []accusation{missing(2, 1)}, charges: []charge{{4, 12, 13}}}, kinds{none, none, accuser, none}},
		{"who accused somebody before who is not here: the accuser", testimony{silent: make([]bool, 4), accusation: []accusation{missing(2, 1)}, charges: []charge{{4, 12, 99}}}, kinds{none, none, accuser, none}},
		{"who was accused by another before: the accused", testimony{silent: make([]bool, 4), accusation: []accusation{missing(2, 1)}, charges: []charge{{4, 10, 11}}}, kinds{none, miss, none, none}},
		{"both with a record: both", testimony{silent: make([]bool, 4), accusation: []accusation{missing(2, 1)}, charges: []charge{{4, 10, 11}, {4, 12, 13}}}, kinds{none, miss, accuser, none}},
		{"two against one of four: the one", testimony{silent: make([]bool, 4), accusation: []accusation{missing(0, 3), missing(1, 3)}}, kinds{none, none, none, miss}},
		{"two against one of seven: the one", testimony{silent: make([]bool, 7), accusation: []accusation{missing(0, 3), missing(1, 3)}}, kinds{none, none, none, miss, none, none, none}},
		{"one against two of seven: the one", testimony{silent: make([]bool, 7), accusation: []accusation{missing(0, 3), missing(0, 4)}}, kinds{accuser, none, none, none, none, none, none}},
		{"one against all: the one", testimony{silent: make([]bool, 4), accusation: []accusation{missing(0, 1), missing(0, 2), missing(0, 3)}}, kinds{accuser, none, none, none}},
		{"a liar's accusations are void", testimony{convicted: kinds{commit.Fork, 0, 0}, silent: make([]bool, 3), accusation: []accusation{missing(0, 1)}}, kinds{commit.Fork, none, none}},
		{"the expelled may still have told the truth", testimony{convicted: kinds{commit.Expelled, 0, 0}, silent: make([]bool, 3), accusation: []accusation{missing(0, 1)}}, kinds{commit.Expelled, none, none}},
		{"a part that waits for others is excused", testimony{
			silent: make([]bool, 4), voted: []*commit.Vote{nil, fail(false, 3), nil, nil},
			accusation: []accusation{missing(1, 3), stalled(0, 1)}, charges: []charge{{4, 11, 13}},
		}, kinds{none, accuser, none, miss}},
		{"a gradient that does not come is not excused", testimony{
			silent: make([]bool, 4), voted: []*commit.Vote{nil, fail(false, 3), nil, nil},
			accusation: []accusation{missing(0, 1), missing(2, 1)},
		}, kinds{none, miss, none, none}},
		{"a fail vote that names nobody", testimony{silent: make([]bool, 3), voted: []*commit.Vote{nil, fail(false), nil}}, kinds{none, accuser, none}},
		{"minority", testimony{silent: make([]bool, 3), voted: []*commit.Vote{ok(1), ok(2), ok(1)}}, kinds{none, commit.Minority, none}},
		{"two results in the world", testimony{convicted: kinds{commit.Equivocation, 0, 0}, silent: make([]bool, 3), voted: []*commit.Vote{ok(1), ok(2), ok(1)}, witness: merkle.Digest{1}}, kinds{commit.Equivocation, none, none}},
		{"no majority", testimony{silent: make([]bool, 2), voted: []*commit.Vote{ok(1), ok(2)}}, kinds{none, none}},
		{"the witness knows", testimony{silent: make([]bool, 3), voted: []*commit.Vote{ok(1), ok(2), ok(2)}, witness: merkle.Digest{1}}, kinds{none, commit.Minority, commit.Minority}},
	} {
		n := len(tt.in.silent)
		if tt.in.convicted == nil {
			tt.in.convicted = make(kinds, n)
		}
		if tt.in.voted == nil {
			tt.in.voted = make([]*commit.Vote, n)
		}
		for i := range n {
			tt.in.uids = append(tt.in.uids, uint32(10+i))
		}
		if got, _ := exclude(tt.in); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestInflow(t *testing.T) {
	f := inflow{count: 10}
	if f.admit(0) != stale {
		t.Error("chunks come before credit")
	}
	f.active = true
	if !f.grant(0, 4) || f.limit != 4 || f.grant(1, 4) || !f.grant(2, 4) || f.limit != 6 {
		t.Errorf("grants: limit %d", f.limit)
	}
	for _, tt := range []struct {
		ord  uint32
		want admission
	}{{0, due}, {1, stale}, {5, stale}, {6, beyond}, {1 << 31, beyond}} {
		if got := f.admit(tt.ord); got != tt.want {
			t.Errorf("chunk %d of a new stream: %v, want %v", tt.ord, got, tt.want)
		}
	}
	f.next = 3
	if f.admit(2) != stale || f.admit(3) != due || !f.waiting() {
		t.Error("after three chunks")
	}
	if !f.grant(9, 4) || f.limit != 10 || f.grant(10, 4) {
		t.Errorf("the last grant: limit %d", f.limit)
	}
	f.next = 10
	if f.waiting() || f.admit(9) != stale || f.admit(10) != stale {
		t.Error("a whole stream still waits")
	}
	f.next, f.closed = 3, true
	if f.waiting() || f.admit(3) != stale {
		t.Error("a closed stream takes chunks")
	}
}

func TestOutflow(t *testing.T) {
	f := outflow{count: 10}
	if f.ready(10) {
		t.Error("ready without credit")
	}
	f.credit(0, 4)
	for f.ready(3) {
		f.next++
	}
	if f.next != 3 {
		t.Errorf("sent %d of 3 that exist", f.next)
	}
	f.credit(2, 6)
	if f.next != 3 || f.limit != 6 {
		t.Errorf("a later credit: next %d, limit %d", f.next, f.limit)
	}
	f.credit(2, 5)
	if f.limit != 6 {
		t.Error("a credit took back what was granted")
	}
	f.reset()
	if f.ready(10) {
		t.Error("ready over a new connection")
	}
	f.credit(2, 6)
	if f.next != 2 {
		t.Errorf("after a new connection: next %d", f.next)
	}
	f.next = 6
	f.credit(0, 4) // the receiver lost its memory
	if f.next != 0 || f.limit != 4 {
		t.Errorf("after the receiver's restart: next %d, limit %d", f.next, f.limit)
	}
	f.credit(99, 99)
	if f.limit != 10 {
		t.Errorf("limit %d of 10 chunks", f.limit)
	}
	if g := (outflow{count: 1000}); true {
		if g.credit(3, 1<<31); g.limit != 3+MaxWindow {
			t.Errorf("a boundless credit grants %d chunks", g.limit)
		}
	}
	for range 2 * maxRewinds {
		f.next = 9
		f.credit(5, 9)
		f.credit(1, 9)
	}
	if f.next == 1 {
		t.Error("a peer can have chunks sent again for ever")
	}
}
