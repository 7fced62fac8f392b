package f32

import (
	"runtime"
	"sync/atomic"
)

// Parallel calls f(0), f(1), ..., f(n-1), each once, and returns when all have
// returned. The calls are shared out among the caller and a pool of persistent
// goroutines, in no fixed order, so that f(i) must touch nothing that another
// f(j) writes: work is split over outputs, never over the terms of a sum.
//
// While one Parallel runs, another one - nested in f, or of an unrelated
// goroutine - makes its calls itself, in ascending order: the threads are busy
// already. If an f panics, no further calls begin and Parallel panics with the
// same value once those under way have ended. It panics, too, with an error of
// kind fault.SelfTest, if a worker has started on a thread whose arithmetic is
// not N1's; such a worker calls no f.
func Parallel(n int, f func(i int)) {
	if n <= 1 || !workers.run(n, f) {
		for i := range n {
			f(i)
		}
	}
}

// SetThreads sets how many goroutines Parallel uses, the caller among them; 0,
// the default, stands for GOMAXPROCS. It changes no bit of any result.
func SetThreads(n int) {
	if n < 0 {
		panic("f32: SetThreads: negative number of threads")
	}
	workers.limit.Store(int32(n))
}

// Threads is the number of goroutines that a Parallel of now would use.
func Threads() int {
	if n := int(workers.limit.Load()); n > 0 {
		return n
	}
	return runtime.GOMAXPROCS(0)
}

// workers is the process's only pool: more than one would fight for the cores.
var workers = pool{done: make(chan struct{}, 1), check: checkThread}

func init() { workers.gate.Store(closed) }

// pool hands one job at a time to its workers. A worker that sleeps through a
// job, because the operating system had no core for it, delays nobody: the
// caller takes all indices that no worker takes and then closes the gate.
type pool struct {
	limit atomic.Int32 // SetThreads
	busy  atomic.Bool  // a caller owns the fields below that are not atomic
	team  []*worker
	f     func(int)
	n     int64
	done  chan struct{} // one token when the last worker leaves a closed gate
	check func() string // what is wrong with the present thread's arithmetic, or ""

	failure atomic.Pointer[any] // the first panic of a worker in this job, or a new one's wrong arithmetic

	_          [64]byte      // the counters have cache lines of their own
	generation atomic.Uint32 // number of the newest job; workers spin on it
	_          [64]byte
	next       atomic.Int64 // first index that nobody has taken
	_          [64]byte
	gate       atomic.Int64 // workers inside the job; plus closed while none may enter
}

const closed = -1 << 32

// worker is a goroutine of the pool. It waits for a new generation, first
// spinning, then parked on wake.
type worker struct {
	parked atomic.Bool
	quit   atomic.Bool
	wake   chan struct{} // one token from whoever clears parked
}

// run runs one job. It reports false, with nothing done, if the pool is busy
// or has one thread.
func (p *pool) run(n int, f func(int)) bool {
	if !p.busy.CompareAndSwap(false, true) {
		return false
	}
	helpers := Threads() - 1
	if helpers == 0 {
		p.busy.Store(false)
		return false
	}
	p.resize(helpers)
	p.f, p.n = f, int64(n)
	p.next.Store(0)
	p.gate.Store(0)
	p.generation.Add(1)
	for _, w := range p.team[:min(helpers, n-1)] {
		w.rouse()
	}
	defer p.end()
	p.take()
	return true
}

// end waits for the workers inside the job, frees the pool and passes a
// worker's panic on. After a panic of the caller's own it runs as well.
func (p *pool) end() {
	p.next.Store(p.n)
	if p.gate.Add(closed) != closed {
		p.awaitDone()
	}
	p.f = nil
	failure := p.failure.Swap(nil)
	p.busy.Store(false)
	if failure != nil {
		panic(*failure)
	}
}

// take runs the tasks that nobody else has taken.
func (p *pool) take() {
	for {
		i := p.next.Add(1) - 1
		if i >= p.n {
			return
		}
		p.f(int(i))
	}
}

// resize starts or dismisses workers until there are n.
func (p *pool) resize(n int) {
	for len(p.team) > n {
		last := len(p.team) - 1
		p.team[last].quit.Store(true)
		p.team[last].rouse()
		p.team[last] = nil
		p.team = p.team[:last]
	}
	for len(p.team) < n {
		w := &worker{wake: make(chan struct{}, 1)}
		p.team = append(p.team, w)
		go p.serve(w, p.generation.Load())
	}
}

// serve is the life of a worker: a check of its thread (N1), then one attempt to
// join each new job. A worker on a wrong thread leaves its failure to the caller
// of this job, or of the next.
func (p *pool) serve(w *worker, seen uint32) {
	if what := p.check(); what != "" {
		p.fail(wrongArithmetic(what))
		return
	}
	for {
		p.await(w, seen)
		if w.quit.Load() {
			return
		}
		seen = p.generation.Load()
		if p.enter() {
			p.join(w, seen)
		}
	}
}

// join takes tasks until there are none left. A panic, or a task that calls
// runtime.Goexit and so ends this goroutine, is left to the caller to report.
func (p *pool) join(w *worker, seen uint32) {
	returned := false
	defer func() {
		if !returned {
			failure := recover()
			if failure == nil {
				failure = "f32: Parallel: a task called runtime.Goexit"
				go p.serve(w, seen)
			}
			p.fail(failure)
			p.next.Store(p.n)
		}
		p.leave()
	}()
	p.take()
	returned = true
}

// fail makes run panic with the value, unless it has another one already.
func (p *pool) fail(value any) { p.failure.CompareAndSwap(nil, &value) }

// enter reports whether a job is open and counts the worker in.
func (p *pool) enter() bool {
	for {
		inside := p.gate.Load()
		if inside < 0 {
			return false
		}
		if p.gate.CompareAndSwap(inside, inside+1) {
			return true
		}
	}
}

func (p *pool) leave() {
	if p.gate.Add(-1) == closed {
		p.done <- struct{}{}
	}
}

// Between the phases of a product a worker is needed again after a few
// microseconds, but waking a parked one takes tens of them. So both sides spin
// for about 50 us first, and let other goroutines run now and then.
const (
	spinPauses = 32  // rounds of pause between two looks, under a microsecond
	spinLooks  = 100 // looks before parking
	spinYield  = 16  // looks between two Gosched
)

// await returns when there is a job newer than seen, or w is to quit.
func (p *pool) await(w *worker, seen uint32) {
	news := func() bool { return p.generation.Load() != seen || w.quit.Load() }
	for i := 1; i <= spinLooks; i++ {
		if news() {
			return
		}
		pause(spinPauses)
		if i%spinYield == 0 {
			runtime.Gosched()
		}
	}
	w.parked.Store(true)
	if news() && w.parked.CompareAndSwap(true, false) {
		return
	}
	<-w.wake
}

// rouse wakes the worker if it is parked, or about to be.
func (w *worker) rouse() {
	if w.parked.CompareAndSwap(true, false) {
		w.wake <- struct{}{}
	}
}

// awaitDone returns when the last worker has left the closed gate.
func (p *pool) awaitDone() {
	for i := 1; i <= spinLooks; i++ {
		select {
		case <-p.done:
			return
		default:
		}
		pause(spinPauses)
		if i%spinYield == 0 {
			runtime.Gosched()
		}
	}
	<-p.done
}
