package autograd

// split shares out n items among tasks for f32.Parallel. Where the cuts lie
// changes no bit: items are outputs, never terms of a sum.
type split struct{ n, per int }

// taskElements is about how many elements one task handles: enough to pay for
// being scheduled, few enough that threads end together.
const taskElements = 1 << 14

// splitRows shares out n items of width elements each.
func splitRows(n, width int) split {
	return split{n: n, per: max(1, taskElements/max(1, width))}
}

// tasks returns the number of tasks.
func (s split) tasks() int { return (s.n + s.per - 1) / s.per }

// span returns the items [lo, hi) of task i.
func (s split) span(i int) (lo, hi int) { return i * s.per, min((i+1)*s.per, s.n) }
