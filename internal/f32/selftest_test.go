package f32

import (
	"fmt"
	"math"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"lockstep/internal/fault"
)

func TestN1_SelfTest(t *testing.T) {
	for _, isa := range Available() {
		restore := ForTest(isa)
		if err := SelfTest(); err != nil {
			t.Errorf("%s: %v", isa, err)
		}
		restore()
	}
}

// TestN1_SelfTestCatchesWrongArithmetic gives the check machines that flush
// subnormals, round to zero, or have no fused multiply-add.
func TestN1_SelfTestCatchesWrongArithmetic(t *testing.T) {
	flush := func(x []float32) {
		for i, v := range x {
			if math.Abs(float64(v)) < 0x1p-126 {
				x[i] = 0
			}
		}
	}
	right := arithmetic{addGeneric, scaleGeneric, normalizeParamsGeneric}
	machines := map[string]arithmetic{
		"flushes results":  {right.add, func(dst, x []float32, s float32) { right.scale(dst, x, s); flush(dst) }, right.fma},
		"flushes operands": {right.add, func(dst, x []float32, s float32) { flush(x); right.scale(dst, x, s) }, right.fma},
		"rounds ties up": {func(dst, x, y []float32) {
			for i := range dst {
				exact := float64(x[i]) + float64(y[i])
				dst[i] = float32(exact)
				if exact > float64(dst[i]) {
					dst[i] = math.Nextafter32(dst[i], 2)
				}
			}
		}, right.scale, right.fma},
		"rounds towards zero": {func(dst, x, y []float32) {
			for i := range dst {
				exact := float64(x[i]) + float64(y[i])
				dst[i] = float32(exact)
				if exact < float64(dst[i]) {
					dst[i] = math.Nextafter32(dst[i], 0)
				}
			}
		}, right.scale, right.fma},
		"has no fused multiply-add": {right.add, right.scale, func(t, dy, x []float32, mean, rstd float32) {
			for i := range t {
				t[i] += float32(dy[i] * float32((x[i]-mean)*rstd))
			}
		}},
	}
	if what := checkArithmetic(right); what != "" {
		t.Errorf("the definition itself: %s", what)
	}
	for name, machine := range machines {
		if checkArithmetic(machine) == "" {
			t.Errorf("a machine that %s passes", name)
		}
	}
}

// A pool with a wrong thread must say so at a job's end, and must not let that
// thread take part.
func TestN1_WorkerOnWrongThread(t *testing.T) {
	setThreads(t, 3)
	var threads atomic.Int32
	p := newTestPool(func() string {
		if threads.Add(1) == 2 {
			return "1 + 1 is 3"
		}
		return ""
	})
	defer p.resize(0)
	calls := make([]int, 50)
	job := func() (failure any) {
		clear(calls)
		defer func() { failure = recover() }()
		p.run(len(calls), func(i int) { calls[i]++ })
		return nil
	}
	failure := job()
	for begin := time.Now(); failure == nil; failure = job() {
		if time.Since(begin) > 10*time.Second {
			t.Fatal("a worker with wrong arithmetic is not reported")
		}
	}
	if err, _ := failure.(error); fault.KindOf(err) != fault.SelfTest {
		t.Errorf("the pool fails with %v, want an error of kind self-test", failure)
	}
	if i := slices.IndexFunc(calls, func(n int) bool { return n != 1 }); i >= 0 {
		t.Errorf("f(%d) called %d times", i, calls[i])
	}
}

func TestN1_WrongWorkerTakesNoTask(t *testing.T) {
	setThreads(t, 2)
	p := newTestPool(func() string { return "1 + 1 is 3" })
	defer p.resize(0)
	for range 100 {
		var order []int // would race if a worker took a task
		func() {
			defer func() { _ = recover() }() // the failure itself
			p.run(20, func(i int) { order = append(order, i) })
		}()
		if len(order) != 20 || !slices.IsSorted(order) {
			t.Fatalf("the caller called %v", order)
		}
	}
}

// Workers that come with more threads are checked like the first ones.
func TestN1_LaterWorkersAreChecked(t *testing.T) {
	var checks atomic.Int32
	p := newTestPool(func() string { checks.Add(1); return "" })
	defer p.resize(0)
	for _, threads := range []int{2, 4} {
		setThreads(t, threads)
		p.run(2, func(int) {})
		for begin := time.Now(); int(checks.Load()) != threads-1; time.Sleep(time.Millisecond) {
			if time.Since(begin) > 10*time.Second {
				t.Fatalf("%d checks for %d threads", checks.Load(), threads)
			}
		}
	}
}

func newTestPool(check func() string) *pool {
	p := &pool{done: make(chan struct{}, 1), check: check}
	p.gate.Store(closed)
	return p
}

// One wrong thread of several is found, whichever it is.
func TestN1_SelfTestFindsTheWrongThread(t *testing.T) {
	for wrong := range int32(4) {
		var calls atomic.Int32
		got := onThreads(4, func() string {
			if n := calls.Add(1) - 1; n == wrong {
				return fmt.Sprintf("thread %d", n)
			}
			return ""
		})
		if want := fmt.Sprintf("thread %d", wrong); got != want || calls.Load() != 4 {
			t.Errorf("%d calls, answer %q, want 4 and %q", calls.Load(), got, want)
		}
	}
}
