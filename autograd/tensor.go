package autograd

// Tensor is an activation: B sequences of T positions of C values. Its memory
// belongs to the tape that made it, until the tape is released.
type Tensor struct {
	Data    []float32 // (B, T, C)
	B, T, C int

	gradient []float32 // (B, T, C); nil until a consumer's share arrives
	borrowed bool      // gradient is part of another tensor's memory
}

// Rows returns B*T.
func (x *Tensor) Rows() int { return x.B * x.T }

// Row returns the C values of row i of B*T.
func (x *Tensor) Row(i int) []float32 { return x.Data[i*x.C:][:x.C] }

// sequence returns sequence s of data, which has x's shape.
func (x *Tensor) sequence(data []float32, s int) []float32 {
	n := x.T * x.C
	return data[s*n:][:n]
}

// Parameter is a leaf of the computation: weights, and the place where their
// gradient accumulates. The caller owns both.
//
// A parameter is for one operation. Weights that are used twice take two
// parameters with the same Value, and gradients that the caller adds up in the
// end (N14): in one gradient, the order in which sequences and uses are added
// would depend on how a batch is cut.
type Parameter struct {
	Value    []float32 // (In, Out); vectors have In = 1
	Gradient []float32 // same shape; nil if it is not wanted
	In, Out  int
}

// mustBe panics unless p has the shape (in, out).
func (p *Parameter) mustBe(in, out int) {
	if p.In != in || p.Out != out || len(p.Value) != in*out {
		panic("autograd: a parameter's shape does not fit its operation")
	}
	if p.Gradient != nil && len(p.Gradient) != in*out {
		panic("autograd: a parameter's gradient has another size than its value")
	}
}
