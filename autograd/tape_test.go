package autograd

import (
	"math"
	"testing"

	"lockstep/internal/f32"
)

// net is a small program with every operation: two transformer blocks of width
// 8 and a tied head over 11 tokens.
type net struct {
	wte, lookup, wpe *Parameter
	p                []*Parameter // in the order of their use
	tape             Tape
}

const (
	netLayers     = 2
	netWidth      = 8
	netVocab      = 11
	netParameters = 9 // of a layer
)

func newNet() *net {
	n := &net{
		wte: parameter(netVocab, netWidth, 1),
		wpe: parameter(16, netWidth, 2),
	}
	n.lookup = &Parameter{Value: n.wte.Value, Gradient: make([]float32, netVocab*netWidth), In: netVocab, Out: netWidth}
	for range netLayers {
		for _, shape := range [netParameters][2]int{
			{1, netWidth}, {1, netWidth}, {netWidth, 3 * netWidth}, {1, 3 * netWidth}, {netWidth, netWidth},
			{netWidth, 20}, {1, 20}, {20, netWidth}, {1, netWidth},
		} {
			n.p = append(n.p, parameter(shape[0], shape[1], uint32(10+len(n.p))))
		}
	}
	for _, p := range n.parameters() {
		clear(p.Gradient)
	}
	return n
}

func (n *net) forward(tokens []int32, b, t int) *Tensor {
	tape := &n.tape
	x := tape.Embedding(tokens, b, t, n.lookup, n.wpe)
	for layer := range netLayers {
		p := n.p[layer*netParameters:]
		mark := tape.Mark()
		f := tape.LayerNorm(x, p[0], p[1], 1e-5)
		f = tape.Attention(tape.Linear(f, p[2], p[3]), 2)
		y := tape.Add(x, tape.Linear(f, p[4], nil))
		f = tape.GELU(tape.Linear(y, p[5], p[6]))
		y = tape.Add(y, tape.Linear(f, p[7], p[8]))
		x = tape.Replace(mark, x, y)
	}
	return x
}

// step adds a batch to the gradients, the head in slices of one sequence, and
// returns the losses.
func (n *net) step(tokens, targets []int32, b, t int) (losses []float32) {
	tape := &n.tape
	x := n.forward(tokens, b, t)
	for s := range b {
		mark := tape.Mark()
		logits := tape.Head(tape.Sequences(x, s, s+1), n.wte)
		losses = append(losses, tape.CrossEntropy(logits, targets[s*t:][:t])...)
		if tape.ForwardOnly {
			tape.Release(mark)
		} else {
			tape.Backward(mark)
		}
	}
	if tape.ForwardOnly {
		tape.Release(Mark{})
	} else {
		tape.Backward(Mark{})
	}
	return losses
}

func (n *net) parameters() []*Parameter { return append([]*Parameter{n.wte, n.lookup, n.wpe}, n.p...) }

// gradients returns all gradients in one vector.
func (n *net) gradients() (g []float32) {
	for _, p := range n.parameters() {
		g = append(g, p.Gradient...)
	}
	return g
}

func (n *net) clear() {
	for _, p := range n.parameters() {
		clear(p.Gradient)
	}
}

func netBatch(b, t int) (tokens, targets []int32) {
	for i := range b * t {
		tokens = append(tokens, int32(i*i%netVocab))
		targets = append(targets, int32((i*i+3*i)%(netVocab+1))-1)
	}
	return tokens, targets
}

// TestN8_SequenceFold: the gradient of a batch is the ordered sum of its
// sequences' gradients, each rounded on its own, for any cut into micro-batches.
func TestN8_SequenceFold(t *testing.T) {
	const b, positions = 4, 7
	tokens, targets := netBatch(b, positions)
	eachISA(t, func(t *testing.T) {
		n := newNet()
		var fold []float32
		for s := range b {
			n.clear()
			n.step(tokens[s*positions:][:positions], targets[s*positions:][:positions], 1, positions)
			if s == 0 {
				fold = n.gradients()
				continue
			}
			addAll(fold, n.gradients())
		}
		for _, micro := range []int{1, 2, 3, 4} {
			n.clear()
			for lo := 0; lo < b; lo += micro {
				hi := min(lo+micro, b)
				n.step(tokens[lo*positions:hi*positions], targets[lo*positions:hi*positions], hi-lo, positions)
			}
			equalBits(t, "gradient", n.gradients(), fold)
		}
	})
}

func TestThreadsChangeNoBit(t *testing.T) {
	defer f32.SetThreads(0)
	tokens, targets := netBatch(3, 16)
	n := newNet()
	want := n.step(tokens, targets, 3, 16)
	gradients := n.gradients()
	for _, threads := range []int{1, 2, 3, 7} {
		f32.SetThreads(threads)
		n.clear()
		equalBits(t, "losses", n.step(tokens, targets, 3, 16), want)
		equalBits(t, "gradients", n.gradients(), gradients)
	}
}

// TestBuffersHoldNoHistory fills all memory that the tape may hand out again
// with NaN: an operation that reads what it has not written shows.
func TestBuffersHoldNoHistory(t *testing.T) {
	tokens, targets := netBatch(2, 16)
	n := newNet()
	losses := n.step(tokens, targets, 2, 16)
	want := n.gradients()
	for range 2 {
		n.clear()
		poison(&n.tape)
		equalBits(t, "losses", n.step(tokens, targets, 2, 16), losses)
		equalBits(t, "gradients", n.gradients(), want)
	}
}

func poison(tape *Tape) {
	nan := float32(math.NaN())
	for _, buffers := range [][][]float32{tape.stack.slots, tape.shelf.free} {
		for _, b := range buffers {
			b = b[:cap(b)]
			for i := range b {
				b[i] = nan
			}
		}
	}
}

// TestPoisonIsSeen feeds the check above an operation that reads stale memory.
func TestPoisonIsSeen(t *testing.T) {
	var tape Tape
	tape.stack.take(4)
	tape.Release(Mark{})
	poison(&tape)
	if x := tape.stack.take(4); x[0] == x[0] {
		t.Error("memory that was handed out again is not poisoned")
	}
}

// TestForwardOnly: losses have the same bits without gradients, in the memory
// of one layer.
func TestForwardOnly(t *testing.T) {
	tokens, targets := netBatch(3, 16)
	n, m := newNet(), newNet()
	want := n.step(tokens, targets, 3, 16)
	m.tape.ForwardOnly = true
	equalBits(t, "losses", m.step(tokens, targets, 3, 16), want)
	equalBits(t, "losses of the next step", m.step(tokens, targets, 3, 16), want)
	for _, g := range m.gradients() {
		if g != 0 {
			t.Fatal("a forward pass wrote a gradient")
		}
	}
	if n, m := len(n.tape.stack.slots), len(m.tape.stack.slots); 3*m > 2*n {
		t.Errorf("forward only keeps %d buffers of %d", m, n)
	}
}

// TestFrozenParameters: a parameter without Gradient is left alone, and the
// other gradients keep their bits.
func TestFrozenParameters(t *testing.T) {
	tokens, targets := netBatch(2, 8)
	n, m := newNet(), newNet()
	n.step(tokens, targets, 2, 8)
	m.wpe.Gradient = nil
	m.p[2].Gradient, m.p[3].Gradient, m.p[0].Gradient, m.p[1].Gradient = nil, nil, nil, nil
	m.step(tokens, targets, 2, 8)
	for i, p := range m.parameters() {
		if p.Gradient != nil {
			equalBits(t, "gradient", p.Gradient, n.parameters()[i].Gradient)
		}
	}
}

func TestRowsView(t *testing.T) {
	tape := Tape{ForwardOnly: true}
	x := input(2, 3, 4, 1)
	y := tape.Rows(x, 2, 5)
	equalBits(t, "rows", y.Data, x.Data[8:20])
	if y.B != 1 || y.T != 3 || y.C != 4 {
		t.Errorf("shape (%d, %d, %d)", y.B, y.T, y.C)
	}
}

// TestGrowingShapes runs longer and longer sequences on one tape.
func TestGrowingShapes(t *testing.T) {
	n := newNet()
	for _, forwardOnly := range []bool{false, true} {
		n.tape.ForwardOnly = forwardOnly
		for _, positions := range []int{1, 3, 4, 5, 16, 2} {
			tokens, targets := netBatch(2, positions)
			equalBits(t, "losses", n.step(tokens, targets, 2, positions), newNet().step(tokens, targets, 2, positions))
		}
	}
}

func TestShelfPrefersTheSmallest(t *testing.T) {
	var s shelf
	big, small := make([]float32, 100), make([]float32, 10)
	s.give(big)
	s.give(small)
	if got := s.take(5); &got[0] != &small[0] || len(got) != 5 {
		t.Error("the smallest buffer that fits was not taken")
	}
	if got := s.take(50); &got[0] != &big[0] {
		t.Error("the only buffer that fits was not taken")
	}
	if got := s.take(1); len(got) != 1 || len(s.free) != 0 {
		t.Error("an empty shelf does not allocate")
	}
}

func TestMisusePanics(t *testing.T) {
	x := input(1, 2, 4, 1)
	var tape Tape
	forward := Tape{ForwardOnly: true}
	short := parameter(1, 4, 3)
	short.Gradient = short.Gradient[:2]
	misuse := map[string]func(){
		"parameter shape":    func() { tape.Linear(x, parameter(5, 4, 2), nil) },
		"bias shape":         func() { tape.Linear(x, parameter(4, 4, 2), parameter(1, 5, 3)) },
		"gradient size":      func() { tape.LayerNorm(x, short, parameter(1, 4, 2), 1e-5) },
		"shapes of a sum":    func() { tape.Add(x, input(2, 1, 4, 2)) },
		"heads":              func() { tape.Attention(input(1, 2, 15, 1), 2) },
		"targets":            func() { tape.CrossEntropy(x, []int32{1}) },
		"tokens":             func() { tape.Embedding([]int32{1}, 1, 2, parameter(3, 4, 1), parameter(4, 4, 1)) },
		"positions":          func() { tape.Embedding([]int32{1, 1}, 1, 2, parameter(3, 4, 1), parameter(1, 4, 1)) },
		"view":               func() { tape.Sequences(x, 0, 2) },
		"backward forbidden": func() { forward.Backward(Mark{}) },
		"replaced shape":     func() { forward.Replace(Mark{}, x, input(1, 1, 4, 1)) },
	}
	for name, f := range misuse {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			f()
		}()
	}
}

// TestAttentionByHeadsAndByGroups: the derivative has the same bits whether
// threads share heads or, where these are few, groups of rows.
func TestAttentionByHeadsAndByGroups(t *testing.T) {
	defer f32.SetThreads(0)
	var want []float32
	for _, threads := range []int{1, 16} {
		f32.SetThreads(threads)
		var tape Tape
		x := input(1, 2*attentionRows+3, 2*3*5, 1)
		seedGradient(tape.Attention(x, 2), 2)
		tape.Backward(Mark{})
		if want == nil {
			want = x.gradient
		}
		equalBits(t, "dx", x.gradient, want)
	}
}

// TestMisuseOfAttention: a derivative over more positions than a block has, and
// a cache that does not fit or a tape that would have to remember.
func TestMisuseOfAttention(t *testing.T) {
	forward := &Tape{ForwardOnly: true}
	for name, f := range map[string]func(){
		"long derivative": func() {
			var tape Tape
			seedGradient(tape.Attention(input(1, 1025, 3, 1), 1), 2)
			tape.Backward(Mark{})
		},
		"cached and remembered": func() { new(Tape).CachedAttention(input(1, 2, 6, 1), 1, NewKeyValues(4, 2)) },
		"cached batch":          func() { forward.CachedAttention(input(2, 2, 6, 1), 1, NewKeyValues(4, 2)) },
		"full cache":            func() { forward.CachedAttention(input(1, 5, 6, 1), 1, NewKeyValues(4, 2)) },
		"cache of other width":  func() { forward.CachedAttention(input(1, 2, 6, 1), 1, NewKeyValues(4, 3)) },
		"heads":                 func() { forward.CachedAttention(input(1, 2, 6, 1), 3, NewKeyValues(4, 2)) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			f()
		}()
	}
}

// TestLogitsHaveOneConsumer: CrossEntropy overwrites its logits, so a second
// reader would be wrong and is refused.
func TestLogitsHaveOneConsumer(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	var tape Tape
	logits := tape.Head(input(1, 2, 4, 1), parameter(3, 4, 2))
	tape.CrossEntropy(logits, []int32{0, 1})
	other := tape.GELU(logits)
	seedGradient(other, 3)
	tape.Backward(Mark{})
}

// BenchmarkStep reports what a step allocates once its buffers exist.
func BenchmarkStep(b *testing.B) {
	tokens, targets := netBatch(3, 16)
	n := newNet()
	n.step(tokens, targets, 3, 16)
	b.ReportAllocs()
	for b.Loop() {
		n.step(tokens, targets, 3, 16)
	}
}
