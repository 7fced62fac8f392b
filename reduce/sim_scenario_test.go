package reduce

import (
	"slices"
	"testing"
	"time"

	"lockstep/internal/merkle"
	"lockstep/reduce/commit"
)

// calm is a network without faults: n honest members, one epoch.
func calm(n int, roles ...role) plan {
	p := plan{
		members: n, roles: make([]role, n), window: 2, epochs: 1, minGroup: 1,
		deadline: 10 * time.Second, slow: 5 * time.Millisecond,
	}
	copy(p.roles, roles)
	p.shape = commit.Shape{Codec: merkle.CodecF32, Elements: 100, LeafElements: 4, ChunkLeaves: 2}
	return p
}

// play runs a plan with a script and returns the decisions in order.
func play(t *testing.T, p plan, script func(*node, Action, when) bool) (*world, []commit.Decision) {
	t.Helper()
	w := newWorld(1, p, mutation{}, nil)
	w.script = script
	done := func() bool {
		for _, n := range w.nodes {
			if n.role == honest && n.disk.epoch < p.epochs && !n.dead {
				return false
			}
		}
		return true
	}
	if !w.run(time.Minute, done) && w.checker.err == nil {
		t.Fatalf("the epoch does not end:%s", w.standing())
	}
	if w.checker.err != nil {
		t.Fatal(w.checker.err)
	}
	return w, w.checker.decisions
}

func members(d commit.Decision) []int {
	var uids []int
	for _, uid := range d.Members {
		uids = append(uids, int(uid))
	}
	return uids
}

func TestCalmRoundTakesNoTime(t *testing.T) {
	for n := 1; n <= 5; n++ {
		w, d := play(t, calm(n), nil)
		if len(d) != 1 || len(d[0].Members) != n {
			t.Errorf("%d members: decisions %+v", n, d)
		}
		if w.now > 2*time.Second { // of which training takes up to half a second, stragglers included
			t.Errorf("%d members: the epoch took %v", n, w.now)
		}
	}
}

// TestKilledMemberComesBack kills a member around its vote; it is back after
// 100 ms with the same gradient, and nobody is the worse for it.
func TestKilledMemberComesBack(t *testing.T) {
	for _, at := range []when{before, after} {
		killed := false
		_, d := play(t, calm(3), func(n *node, a Action, t when) bool {
			app, ok := a.(Append)
			if killed || n.uid != 1 || !ok || app.Record.Kind != RecordVote || t != at {
				return false
			}
			killed = true
			return true
		})
		if len(d) != 1 || !slices.Equal(members(d[0]), []int{0, 1, 2}) {
			t.Errorf("killed after=%v: decisions %+v", at, d)
		}
	}
}

// TestDeadMemberCostsOneRetry kills a member for good in each phase: the others
// commit in the first or the second attempt.
func TestDeadMemberCostsOneRetry(t *testing.T) {
	for _, n := range []int{2, 3, 4, 5} {
		for _, phase := range []Phase{PhaseCommit, PhaseOpen, PhaseVoted} {
			w, d := play(t, calm(n), func(n *node, a Action, t when) bool {
				e, ok := a.(Entered)
				n.dead = n.dead || n.uid == 1 && ok && e.Phase == phase && t == after
				return n.dead
			})
			last := d[len(d)-1]
			if len(d) > 2 || last.Verdict != commit.Commit || len(last.Members) < n-1 {
				t.Errorf("%d members, one dies in phase %v: decisions %+v", n, phase, d)
			}
			if w.now > 5*time.Second {
				t.Errorf("%d members, one dies in phase %v: it took %v", n, phase, w.now)
			}
		}
	}
}

// TestLeaderKilledAroundItsDecision kills the leader before and after it writes
// the decision: there is one certificate, and it is that of the first attempt.
func TestLeaderKilledAroundItsDecision(t *testing.T) {
	for kind := RecordCertificate; kind <= RecordDocuments; kind++ {
		for _, at := range []when{before, after} {
			kills := 0
			_, d := play(t, calm(3), func(n *node, a Action, t when) bool {
				app, ok := a.(Append)
				if kills == 2 || !n.isValidator() || !ok || app.Record.Kind != kind || t != at {
					return false
				}
				kills++
				return true
			})
			if len(d) != 1 || d[0].Verdict != commit.Commit || len(d[0].Members) != 3 {
				t.Errorf("killed at record %d, after=%v: decisions %+v", kind, at, d)
			}
			if kills == 0 {
				t.Errorf("record %d was never written", kind)
			}
		}
	}
}

// TestLiarsAreNamed lets one of four members lie: what can be proved is, and the
// three others commit.
func TestLiarsAreNamed(t *testing.T) {
	for _, tt := range []struct {
		role role
		kind commit.Kind
	}{
		{switcher, commit.Switch}, {recommitter, commit.Recommit}, {mismatcher, commit.Recommit},
		{forker, commit.Fork}, {twoReceipts, commit.Equivocation}, {poison, commit.NonFinite}, {poisonResult, commit.NonFinite},
	} {
		_, d := play(t, calm(4, honest, tt.role), nil)
		named := slices.ContainsFunc(d, func(d commit.Decision) bool {
			return slices.Contains(d.Excluded, commit.Exclusion{UID: 1, Kind: tt.kind})
		})
		last := d[len(d)-1]
		if !named || len(d) > 2 || !slices.Equal(members(last), []int{0, 2, 3}) {
			t.Errorf("role %d, want %v: decisions %+v", tt.role, tt.kind, d)
		}
	}
	_, d := play(t, calm(4, honest, switcher, honest, recommitter), nil)
	if last := d[len(d)-1]; len(d) > 3 || !slices.Equal(members(last), []int{0, 2}) {
		t.Errorf("two liars of two kinds: decisions %+v", d)
	}
}

// TestSlanderCostsOneAttempt: a member that blames another peer in each attempt
// loses its own seat, and no honest one does: the first epoch takes three
// attempts, of which one is lost to everybody's good faith, later ones two.
func TestSlanderCostsOneAttempt(t *testing.T) {
	for n := 3; n <= 7; n++ {
		p := calm(n, honest, blamer)
		p.epochs, p.patient = 3, true
		_, d := play(t, p, nil)
		attempts := map[uint64]int{}
		for _, x := range d {
			if attempts[x.Epoch]++; attempts[x.Epoch] > 3 || x.Epoch > 1 && attempts[x.Epoch] > 2 {
				t.Errorf("%d members: attempt %d of epoch %d", n, attempts[x.Epoch], x.Epoch)
			}
			for _, e := range x.Excluded {
				if e.UID != 1 {
					t.Errorf("%d members: uid %d is out of epoch %d for %v", n, e.UID, x.Epoch, e.Kind)
				}
			}
			if x.Verdict == commit.Commit && len(x.Members) < n-1 {
				t.Errorf("%d members: epoch %d is averaged by %v", n, x.Epoch, x.Members)
			}
		}
	}
}

// TestUnprovenLiarsCostAtMostOneOther: without proof, accuser and accused pause.
func TestUnprovenLiarsCostAtMostOneOther(t *testing.T) {
	for _, r := range []role{garbler, lyingVoter, slanderer, quitter, mute, deaf} {
		_, d := play(t, calm(5, honest, r), nil)
		last := d[len(d)-1]
		if last.Verdict != commit.Commit || len(last.Members) < 3 || len(d) > 3 {
			t.Errorf("role %d: decisions %+v", r, d)
		}
		for _, x := range d {
			for _, e := range x.Excluded {
				if e.Kind.Provable() {
					t.Errorf("role %d: uid %d is convicted of %v", r, e.UID, e.Kind)
				}
			}
		}
	}
}
