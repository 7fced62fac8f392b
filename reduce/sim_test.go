package reduce

import (
	"flag"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var (
	simSeed  = flag.Uint64("sim.seed", 0, "replay this one seed of the simulator")
	simShow  = flag.Bool("sim.show", false, "with -sim.seed: print every event and action")
	simSeeds = flag.Uint64("sim.seeds", 2000, "number of seeds to simulate; 60 with -short")
)

// outcome is what one seed led to.
type outcome struct {
	err      error
	events   int
	evidence int
	aborts   int
}

// simulate runs one seed: a time of faults, then a healed network that must
// finish all epochs.
func simulate(seed uint64, mut mutation) outcome { return live(seed, drawPlan(seed), mut, nil) }

// live lets a plan come true.
func live(seed uint64, p plan, mut mutation, t *trace) outcome {
	w := newWorld(seed, p, mut, t)
	done := func() bool { return w.finished() }
	w.run(20*time.Second, done)
	w.heal()
	healed := w.now
	limit := healed + time.Duration(p.epochs)*8*(p.deadline+2*time.Second)
	if !w.run(limit, done) && w.checker.err == nil {
		w.checker.fail(17, "not all honest nodes reach epoch %d: %s", p.epochs, w.standing())
	}
	err := w.checker.err
	if err != nil {
		err = fmt.Errorf("seed %d, %d members %v: %w", seed, p.members, p.roles, err)
	}
	return outcome{err, w.events, w.checker.evidence, w.checker.aborts}
}

// heal ends all faults; liars stay liars.
func (w *world) heal() {
	w.faults = false
	for _, n := range w.nodes {
		if !n.up {
			w.start(n)
		} else if n.frozen {
			w.thaw(n)
		}
	}
}

// finished reports whether all honest nodes stand at the last epoch.
func (w *world) finished() bool {
	for _, n := range w.nodes {
		if n.role == honest && n.disk.epoch < w.plan.epochs {
			return false
		}
	}
	return true
}

func (w *world) standing() string {
	s := ""
	for _, n := range w.nodes {
		s += fmt.Sprintf(" %d:epoch %d up %v", n.uid, n.disk.epoch, n.up)
		if m, ok := n.machines[0].(*Member); ok && m.round != nil {
			s += fmt.Sprintf(" (attempt %d %v, parts in %v)", m.round.roster.Attempt, m.round.phase, m.round.gather.checked)
		}
	}
	return s
}

// sweep runs many seeds on all processors and returns the outcomes in order.
func sweep(first, n uint64, mut mutation, stop func(outcome) bool) []outcome {
	out := make([]outcome, n)
	var next, halt atomic.Uint64
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < n && halt.Load() == 0; i = next.Add(1) - 1 {
				out[i] = simulate(first+i, mut)
				if stop(out[i]) {
					halt.Store(1)
				}
			}
		})
	}
	wg.Wait()
	return out
}

// TestSimulation drives honest and lying members through faults of all kinds.
// Replay a failure with: go test ./reduce -run TestSimulation -sim.seed N
func TestSimulation(t *testing.T) {
	if *simSeed != 0 {
		o := simulate(*simSeed, mutation{})
		if o.err != nil {
			t.Fatal(o.err)
		}
		return
	}
	n := *simSeeds
	if testing.Short() {
		n = min(n, 60)
	}
	var events, evidence, aborts int
	for i, o := range sweep(1, n, mutation{}, func(outcome) bool { return false }) {
		if o.err != nil {
			t.Errorf("%v\nreplay: go test ./reduce -run TestSimulation -sim.seed %d", o.err, i+1)
		}
		events += o.events
		evidence += o.evidence
		aborts += o.aborts
	}
	t.Logf("%d seeds, %d events, %d aborted attempts, %d pieces of evidence judged", n, events, aborts, evidence)
	if n >= 2000 && (aborts < int(n)/4 || evidence < int(n)/8) {
		t.Errorf("the faults are too tame: %d aborts, %d pieces of evidence", aborts, evidence)
	}
}

// TestMutants plants defects. Each must be found within the seeds of
// TestSimulation, or the simulator proves nothing.
func TestMutants(t *testing.T) {
	if testing.Short() {
		t.Skip("long")
	}
	for _, tt := range []struct {
		name string
		mut  mutation
	}{
		{"apply without certificate", mutation{members: applyUncertified}},
		{"sum in arrival order", mutation{members: sumByArrival}},
		{"drop one sender", mutation{members: dropSender}},
		{"accept an unopened chunk", mutation{members: acceptUnopened}},
		{"reuse a stale roster", mutation{members: acceptStaleRoster}},
		{"take decisions of an earlier run", mutation{members: acceptPastRun}},
		{"forget the documents", mutation{leader: forgetDocuments}},
		{"forget who accused whom", mutation{leader: forgetCharges}},
		{"forgive equivocation", mutation{leader: forgiveEquivocation}},
		{"decide twice", mutation{leader: decideTwice}},
		{"forget the journal", mutation{amnesia: true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var found error
			var mu sync.Mutex
			seeds := 0
			sweep(1, 2000, tt.mut, func(o outcome) bool {
				mu.Lock()
				defer mu.Unlock()
				seeds++
				if o.err != nil && found == nil {
					found = o.err
				}
				return o.err != nil
			})
			if found == nil {
				t.Fatal("not found in 2000 seeds")
			}
			t.Logf("found after %d seeds: %v", seeds, found)
		})
	}
}
