package optim

import (
	"fmt"
	"math"
	"slices"
	"sort"

	"lockstep/internal/f32"
	"lockstep/internal/fault"
	"lockstep/internal/merkle"
)

// NonFiniteError says where a NaN or an infinity was found. A step that meets
// one is invalid as a whole (N21): nothing of it may be committed or hashed.
type NonFiniteError struct {
	What   string  // "loss", "gradient", "average", "parameters", "moment m", "moment v", "logits"
	Tensor string  // tensor's name; empty for losses and logits
	Index  int     // element inside the tensor, or position inside the batch
	Value  float64 // NaN or an infinity
}

func (e *NonFiniteError) Error() string {
	where := fmt.Sprintf("%s, element %d", e.Tensor, e.Index)
	if e.Tensor == "" {
		where = fmt.Sprintf("position %d", e.Index)
	}
	return fmt.Sprintf("%s: %v at %s; the step is invalid: lower the learning rate, or start again from the last committed epoch", e.What, e.Value, where)
}

// Fault makes it an unexpected failure.
func (e *NonFiniteError) Fault() fault.Kind { return fault.Unexpected }

// Span is one tensor inside a flat vector.
type Span struct {
	Name   string
	Offset int
	Size   int
	Decay  bool // weight decay applies: matrices yes, biases and LayerNorm no
}

// Place turns an index into a flat vector into a tensor and an index into it.
// Spans ascend and leave no gaps.
func Place(spans []Span, i int) (Span, int) {
	k := sort.Search(len(spans), func(k int) bool { return spans[k].Offset+spans[k].Size > i })
	return spans[k], i - spans[k].Offset
}

// nonFinite describes element i of x.
func nonFinite(what string, spans []Span, x []float32, i int) error {
	s, at := Place(spans, i)
	return &NonFiniteError{What: what, Tensor: s.Name, Index: at, Value: float64(x[i])}
}

// Check returns a *NonFiniteError for the first NaN or Inf of x, which what
// names.
func (n *Norms) Check(what string, spans []Span, x []float32) error {
	_, err := n.Norm(what, spans, x)
	return err
}

// Norms computes lengths of vectors. It keeps its working memory from use to
// use; the zero value is ready.
type Norms struct {
	x    []float32
	grid merkle.Grid
	sums []float64 // by leaf
	task func(int)
}

// Norm returns the Euclidean length of x (N13): the sums of squares of the
// leaves, added in ascending order in float64, under a square root. It returns
// a *NonFiniteError where x, which what names, has a NaN or an infinity: squares
// of finite float32 values cannot overflow float64, so that a leaf's sum is
// finite exactly when its elements are.
func (n *Norms) Norm(what string, spans []Span, x []float32) (float64, error) {
	n.x, n.grid = x, merkle.Grid{Elements: len(x)}
	if n.task == nil {
		n.task = n.leaf
	}
	n.sums = slices.Grow(n.sums[:0], n.grid.Leaves())[:n.grid.Leaves()]
	f32.Parallel(len(n.sums), n.task)
	n.x = nil
	total := 0.0
	for i, s := range n.sums {
		if math.IsNaN(s) || math.IsInf(s, 0) {
			lo, hi := n.grid.LeafSpan(i)
			return 0, nonFinite(what, spans, x, lo+f32.Finite(x[lo:hi]))
		}
		total += s
	}
	return math.Sqrt(total), nil
}

func (n *Norms) leaf(i int) {
	lo, hi := n.grid.LeafSpan(i)
	n.sums[i] = f32.SumSquares(n.x[lo:hi])
}
