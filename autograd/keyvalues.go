package autograd

import (
	"math"

	"lockstep/internal/f32"
)

// KeyValues holds the keys and values of the positions that one attention
// operation has seen, for the positions that are still to come.
type KeyValues struct {
	Positions int // held so far

	limit, width int
	keys         []float32 // (C, limit): transposed, so that scores of neighbours are neighbours
	values       []float32 // (limit, C)
}

// NewKeyValues returns room for limit positions of width C.
func NewKeyValues(limit, width int) *KeyValues {
	return &KeyValues{
		limit: limit, width: width,
		keys: make([]float32, width*limit), values: make([]float32, limit*width),
	}
}

// cachedAttention is attention for positions that continue a text. It computes
// the bits that attention computes for them.
type cachedAttention struct {
	x       *Tensor // (1, T, 3C)
	kv      *KeyValues
	y       Tensor // (1, T, C)
	heads   int
	scale   float32
	scratch []float32 // (H, attentionRows or T, Positions)
	task    func(int)
}

func newCachedAttention() *cachedAttention {
	op := new(cachedAttention)
	op.task = op.forwardHead
	return op
}

// CachedAttention is Attention for one sequence x (1, T, 3C) that continues the
// positions held in kv. It adds its own to them. The tape must be ForwardOnly.
func (t *Tape) CachedAttention(x *Tensor, heads int, kv *KeyValues) *Tensor {
	if !t.ForwardOnly || x.B != 1 {
		panic("autograd: CachedAttention: needs a ForwardOnly tape and one sequence")
	}
	if heads < 1 || x.C != 3*kv.width || kv.width%heads != 0 || kv.Positions+x.T > kv.limit {
		panic("autograd: CachedAttention: the sequence does not fit the heads or the cache")
	}
	op := record(t, newCachedAttention)
	op.x, op.kv, op.heads = x, kv, heads
	op.scale = attentionScale(kv.width / heads)
	y := t.tensor(&op.y, 1, x.T, kv.width)
	op.scratch = t.stack.take(heads * min(x.T, attentionRows) * (kv.Positions + x.T))
	f32.Parallel(heads, op.task)
	kv.Positions += x.T
	return y
}

// attentionScale is 1/√width, rounded once (N27).
func attentionScale(width int) float32 { return float32(1 / math.Sqrt(float64(width))) }

func (op *cachedAttention) result() *Tensor { return &op.y }
func (op *cachedAttention) backward(*Tape)  { panic("autograd: CachedAttention has no derivative") }

// forwardHead stores one head's keys and values and computes its rows of y, a
// group at a time as attention does.
func (op *cachedAttention) forwardHead(head int) {
	kv, t := op.kv, op.x.T
	op.remember(head)
	c, width := kv.width, kv.width/op.heads
	column := head * width
	keys, values := kv.keys[column*kv.limit:], kv.values[column:]
	group := min(t, attentionRows)
	all := kv.Positions + t
	p := op.scratch[head*group*all:][:group*all]
	for lo := 0; lo < t; lo += group {
		hi := min(lo+group, t)
		seen := kv.Positions + hi
		f32.MatMul(f32.NN, p, all, op.x.Data[lo*3*c+column:], 3*c, keys, kv.limit, hi-lo, seen, width, false)
		for i := lo; i < hi; i++ {
			causalSoftmax(p[(i-lo)*all:][:seen], kv.Positions+i, op.scale)
		}
		f32.MatMul(f32.NN, op.y.Data[lo*c+column:], c, p, all, values, c, hi-lo, width, seen, false)
	}
}

// remember copies one head's keys and values out of x.
func (op *cachedAttention) remember(head int) {
	kv, t := op.kv, op.x.T
	c, width := kv.width, kv.width/op.heads
	for j := head * width; j < (head+1)*width; j++ {
		row := kv.keys[j*kv.limit+kv.Positions:][:t]
		for i := range row {
			row[i] = op.x.Data[i*3*c+c+j]
		}
	}
	for i := range t {
		copy(kv.values[(kv.Positions+i)*c+head*width:][:width], op.x.Data[i*3*c+2*c+head*width:])
	}
}
