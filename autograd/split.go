package autograd

import "lockstep/internal/f32"

// split shares out n items among tasks for f32.Parallel. Where the cuts lie
// changes no bit: items are outputs, never terms of a sum.
type split struct{ n, per int }

// taskElements is about how many elements one task handles: enough to pay for
// being scheduled, few enough that threads end together.
const taskElements = 1 << 14

// sumColumns is how many columns one task sums over rows: whole cache lines,
// enough of them to be worth a task, and few enough to have several tasks.
const sumColumns = 128

// splitRows shares out n items of width elements each.
func splitRows(n, width int) split {
	return split{n: n, per: max(1, taskElements/max(1, width))}
}

// tasks returns the number of tasks.
func (s split) tasks() int { return (s.n + s.per - 1) / s.per }

// span returns the items [lo, hi) of task i.
func (s split) span(i int) (lo, hi int) { return i * s.per, min((i+1)*s.per, s.n) }

// pairwise applies an operation on two vectors in parallel. It is kept from use
// to use, so that its task is made only once.
type pairwise struct {
	dst, x []float32
	apply  func(dst, x []float32)
	split  split
	task   func(int)
}

// run applies f to dst and x, of equal length, part by part.
func (p *pairwise) run(dst, x []float32, f func(dst, x []float32)) {
	if p.task == nil {
		p.task = p.part
	}
	p.dst, p.x, p.apply = dst, x, f
	p.split = splitRows(len(dst), 1)
	f32.Parallel(p.split.tasks(), p.task)
	p.dst, p.x = nil, nil
}

func (p *pairwise) part(task int) {
	lo, hi := p.split.span(task)
	p.apply(p.dst[lo:hi], p.x[lo:hi])
}
