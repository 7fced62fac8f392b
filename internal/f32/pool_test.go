package f32

import (
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// setThreads sets the number of threads for the length of a test.
func setThreads(t testing.TB, n int) {
	t.Helper()
	old := int(workers.limit.Load())
	SetThreads(n)
	t.Cleanup(func() { SetThreads(old) })
}

func TestParallel_CallsEachIndexOnce(t *testing.T) {
	for _, threads := range []int{1, 2, 3, 7} {
		setThreads(t, threads)
		for _, n := range []int{0, 1, 2, 3, 64, 1000} {
			calls := make([]atomic.Int32, n)
			Parallel(n, func(i int) { calls[i].Add(1) })
			for i := range calls {
				if c := calls[i].Load(); c != 1 {
					t.Fatalf("threads %d, n %d: f(%d) called %d times", threads, n, i, c)
				}
			}
		}
	}
}

// Two tasks that wait for each other only end if two goroutines run them.
func TestParallel_UsesSeveralGoroutines(t *testing.T) {
	setThreads(t, 2)
	var met sync.WaitGroup
	met.Add(2)
	Parallel(2, func(int) { met.Done(); met.Wait() })
}

func TestParallel_NestedRunsInline(t *testing.T) {
	setThreads(t, 3)
	var total atomic.Int64
	Parallel(10, func(i int) {
		var order []int // would race if the inner calls were shared out
		Parallel(20, func(j int) { order = append(order, j); total.Add(1) })
		if !slices.IsSorted(order) || len(order) != 20 {
			t.Errorf("inner calls of task %d: %v", i, order)
		}
	})
	if total.Load() != 200 {
		t.Errorf("%d inner calls, want 200", total.Load())
	}
}

func TestParallel_ConcurrentCallers(t *testing.T) {
	setThreads(t, 3)
	var callers sync.WaitGroup
	for range 8 {
		callers.Go(func() {
			for range 200 {
				sums := make([]int, 17)
				Parallel(len(sums), func(i int) { sums[i] = i })
				for i, s := range sums {
					if s != i {
						t.Errorf("task %d did not run before Parallel returned", i)
					}
				}
			}
		})
	}
	callers.Wait()
}

func TestParallel_PassesPanicsOn(t *testing.T) {
	setThreads(t, 2)
	// Task 0 waits until task 1 has begun, so that the worker runs one of them.
	for _, culprit := range []int{0, 1} {
		var begun sync.WaitGroup
		begun.Add(2)
		var after atomic.Int32
		got := func() (v any) {
			defer func() { v = recover() }()
			Parallel(1000, func(i int) {
				if i > 1 {
					after.Add(1)
					return
				}
				begun.Done()
				begun.Wait()
				if i == culprit {
					panic("task failed")
				}
			})
			return nil
		}()
		if got != "task failed" {
			t.Fatalf("task %d: recovered %v", culprit, got)
		}
		// The pool must be usable, with its worker, after a panic.
		var met sync.WaitGroup
		met.Add(2)
		Parallel(2, func(int) { met.Done(); met.Wait() })
	}
}

func TestParallel_SurvivesGoexit(t *testing.T) {
	setThreads(t, 2)
	for range 20 {
		done := make(chan any)
		go func() {
			defer func() { done <- recover() }()
			var begun sync.WaitGroup
			begun.Add(2)
			Parallel(2, func(i int) {
				begun.Done()
				begun.Wait()
				runtime.Goexit()
			})
		}()
		<-done
		var met sync.WaitGroup
		met.Add(2)
		Parallel(2, func(int) { met.Done(); met.Wait() })
	}
}

// Workers are kept, but their number is bounded and they do not spin for ever.
func TestParallel_IdleWorkersPark(t *testing.T) {
	setThreads(t, 4)
	for range 100 {
		Parallel(16, func(int) {})
	}
	if got := len(workers.team); got != 3 {
		t.Errorf("%d workers for 4 threads", got)
	}
	deadline := time.Now().Add(10 * time.Second)
	for _, w := range workers.team {
		for !w.parked.Load() {
			if time.Now().After(deadline) {
				t.Fatal("an idle worker did not park")
			}
			time.Sleep(time.Millisecond)
		}
	}
	before := runtime.NumGoroutine()
	SetThreads(2)
	Parallel(16, func(int) {})
	for runtime.NumGoroutine() > before-2 {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines, want %d: dismissed workers live on", runtime.NumGoroutine(), before-2)
		}
		time.Sleep(time.Millisecond)
	}
}

func TestParallel_AllocatesNothing(t *testing.T) {
	setThreads(t, 2)
	f := func(int) {}
	if n := testing.AllocsPerRun(100, func() { Parallel(8, f) }); n != 0 {
		t.Errorf("%v allocations a call", n)
	}
}

func TestSetThreads_RefusesNegative(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("SetThreads(-1) did not panic")
		}
	}()
	SetThreads(-1)
}

func BenchmarkParallel(b *testing.B) {
	f := func(int) {}
	for b.Loop() {
		Parallel(8, f)
	}
}
