package model

import (
	"math"

	"gonum.org/v1/gonum/mat"
)

// oracle is GPT-2 in float64 on gonum's matrices, with its derivative written
// out by hand: a second opinion that shares no code with the model. Vectors are
// matrices of one row.
type oracle struct {
	c      Config
	layout *Layout
	p, g   map[string]*mat.Dense // parameters and their gradients
}

func newOracle(p *Parameters) *oracle {
	o := &oracle{c: p.Config, layout: p.Layout, p: map[string]*mat.Dense{}, g: map[string]*mat.Dense{}}
	for t, data := range p.Tensors() {
		rows, cols := 1, t.Size
		if len(t.Shape) == 2 {
			rows, cols = t.Shape[0], t.Shape[1]
		}
		o.p[t.Name] = mat.NewDense(rows, cols, float64s(data))
		o.g[t.Name] = mat.NewDense(rows, cols, nil)
	}
	return o
}

func float64s(x []float32) []float64 {
	out := make([]float64, len(x))
	for i, v := range x {
		out[i] = float64(v)
	}
	return out
}

// run returns the summed loss of a batch and adds its gradient.
func (o *oracle) run(b Batch) (loss float64) {
	for s := range b.B {
		loss += o.sequence(b.Inputs[s*b.T:][:b.T], b.Targets[s*b.T:][:b.T])
	}
	return loss
}

// gradient returns the gradients as flat slices by name.
func (o *oracle) gradient() map[string][]float64 { return flat(o.g) }

func flat(m map[string]*mat.Dense) map[string][]float64 {
	out := map[string][]float64{}
	for name, d := range m {
		out[name] = d.RawMatrix().Data
	}
	return out
}

// derivative turns the gradient of a layer's output into that of its input,
// and adds to the parameters' gradients.
type derivative func(dy *mat.Dense) (dx *mat.Dense)

// sequence runs one sequence forward, and then the derivatives backward.
func (o *oracle) sequence(inputs, targets []int32) float64 {
	const wteName, wpeName = "transformer.wte.weight", "transformer.wpe.weight"
	wte, wpe := o.p[wteName], o.p[wpeName]
	x := mat.NewDense(len(inputs), o.c.Embd, nil)
	for t, token := range inputs {
		for j := range o.c.Embd {
			x.Set(t, j, wte.At(int(token), j)+wpe.At(t, j))
		}
	}
	var back []derivative
	for i := range o.c.Layers {
		h := blockName(i)
		x = o.residual(x, &back, o.norm(h+"ln_1"), o.affine(h+"attn.c_attn"), o.attention, o.affine(h+"attn.c_proj"))
		x = o.residual(x, &back, o.norm(h+"ln_2"), o.affine(h+"mlp.c_fc"), o.gelu, o.affine(h+"mlp.c_proj"))
	}
	x, norm := o.norm("transformer.ln_f")(x)

	logits := multiply(x, wte.T())
	loss, dlogits := crossEntropy(logits, targets)
	o.add(wteName, multiply(dlogits.T(), x))
	dx := norm(multiply(dlogits, wte))
	for i := len(back) - 1; i >= 0; i-- {
		dx = back[i](dx)
	}
	for t, token := range inputs {
		for j := range o.c.Embd {
			d := dx.At(t, j)
			o.g[wteName].Set(int(token), j, o.g[wteName].At(int(token), j)+d)
			o.g[wpeName].Set(t, j, o.g[wpeName].At(t, j)+d)
		}
	}
	return loss
}

// layer computes y, and how to differentiate it.
type layer func(x *mat.Dense) (y *mat.Dense, back derivative)

// residual returns x + layers(x) and appends its derivative to back.
func (o *oracle) residual(x *mat.Dense, back *[]derivative, layers ...layer) *mat.Dense {
	y := x
	var inside []derivative
	for _, l := range layers {
		var d derivative
		y, d = l(y)
		inside = append(inside, d)
	}
	*back = append(*back, func(dy *mat.Dense) *mat.Dense {
		dx := dy
		for i := len(inside) - 1; i >= 0; i-- {
			dx = inside[i](dx)
		}
		return sum(dx, dy)
	})
	return sum(x, y)
}

func (o *oracle) affine(name string) layer {
	return func(x *mat.Dense) (*mat.Dense, derivative) {
		w, b := o.p[name+".weight"], o.p[name+".bias"]
		y := multiply(x, w)
		y.Apply(func(_, j int, v float64) float64 { return v + b.At(0, j) }, y)
		return y, func(dy *mat.Dense) *mat.Dense {
			o.add(name+".weight", multiply(x.T(), dy))
			o.add(name+".bias", columnSums(dy))
			return multiply(dy, w.T())
		}
	}
}

func (o *oracle) norm(name string) layer {
	return func(x *mat.Dense) (*mat.Dense, derivative) {
		rows, d := x.Dims()
		gamma, beta := o.p[name+".weight"], o.p[name+".bias"]
		xhat, r := mat.NewDense(rows, d, nil), make([]float64, rows)
		for t := range rows {
			mean := mat.Sum(x.RowView(t)) / float64(d)
			variance := 0.0
			for j := range d {
				variance += math.Pow(x.At(t, j)-mean, 2) / float64(d)
			}
			r[t] = 1 / math.Sqrt(variance+o.c.LayerNormEpsilon)
			for j := range d {
				xhat.Set(t, j, (x.At(t, j)-mean)*r[t])
			}
		}
		y := mat.NewDense(rows, d, nil)
		y.Apply(func(_, j int, v float64) float64 { return v*gamma.At(0, j) + beta.At(0, j) }, xhat)
		return y, func(dy *mat.Dense) *mat.Dense {
			o.add(name+".weight", columnSums(hadamard(dy, xhat)))
			o.add(name+".bias", columnSums(dy))
			dxhat := mat.NewDense(rows, d, nil)
			dxhat.Apply(func(_, j int, v float64) float64 { return v * gamma.At(0, j) }, dy)
			dx := mat.NewDense(rows, d, nil)
			for t := range rows {
				a := mat.Sum(dxhat.RowView(t)) / float64(d)
				b := mat.Dot(dxhat.RowView(t), xhat.RowView(t)) / float64(d)
				for j := range d {
					dx.Set(t, j, r[t]*(dxhat.At(t, j)-a-xhat.At(t, j)*b))
				}
			}
			return dx
		}
	}
}

func (o *oracle) gelu(x *mat.Dense) (*mat.Dense, derivative) {
	const a = 0.044715
	k := math.Sqrt(2 / math.Pi)
	var y mat.Dense
	y.Apply(func(_, _ int, v float64) float64 { return 0.5 * v * (1 + math.Tanh(k*(v+a*v*v*v))) }, x)
	return &y, func(dy *mat.Dense) *mat.Dense {
		var slope mat.Dense
		slope.Apply(func(_, _ int, v float64) float64 {
			tanh := math.Tanh(k * (v + a*v*v*v))
			return 0.5*(1+tanh) + 0.5*v*(1-tanh*tanh)*k*(1+3*a*v*v)
		}, x)
		return hadamard(dy, &slope)
	}
}

func (o *oracle) attention(x *mat.Dense) (*mat.Dense, derivative) {
	rows, _ := x.Dims()
	c, width := o.c.Embd, o.c.Embd/o.c.Heads
	scale := 1 / math.Sqrt(float64(width))
	y := mat.NewDense(rows, c, nil)
	probabilities := make([]*mat.Dense, o.c.Heads)
	cut := func(m *mat.Dense, column int) *mat.Dense {
		return m.Slice(0, rows, column, column+width).(*mat.Dense)
	}
	for h := range o.c.Heads {
		q, k, v := cut(x, h*width), cut(x, c+h*width), cut(x, 2*c+h*width)
		p := multiply(q, k.T())
		p.Scale(scale, p)
		causalSoftmax(p)
		probabilities[h] = p
		cut(y, h*width).Copy(multiply(p, v))
	}
	return y, func(dy *mat.Dense) *mat.Dense {
		dx := mat.NewDense(rows, 3*c, nil)
		for h, p := range probabilities {
			q, k, v, dyh := cut(x, h*width), cut(x, c+h*width), cut(x, 2*c+h*width), cut(dy, h*width)
			dp := multiply(dyh, v.T())
			ds := mat.NewDense(rows, rows, nil)
			for t := range rows {
				d := mat.Dot(dp.RowView(t), p.RowView(t))
				for j := range rows {
					ds.Set(t, j, p.At(t, j)*(dp.At(t, j)-d)*scale)
				}
			}
			cut(dx, h*width).Copy(multiply(ds, k))
			cut(dx, c+h*width).Copy(multiply(ds.T(), q))
			cut(dx, 2*c+h*width).Copy(multiply(p.T(), dyh))
		}
		return dx
	}
}

// causalSoftmax turns the scores of each row up to the diagonal into
// probabilities, and the others into 0.
func causalSoftmax(s *mat.Dense) {
	rows, _ := s.Dims()
	for t := range rows {
		z := 0.0
		for j := range rows {
			e := 0.0
			if j <= t {
				e = math.Exp(s.At(t, j))
			}
			s.Set(t, j, e)
			z += e
		}
		for j := range rows {
			s.Set(t, j, s.At(t, j)/z)
		}
	}
}

func crossEntropy(logits *mat.Dense, targets []int32) (loss float64, dlogits *mat.Dense) {
	rows, v := logits.Dims()
	dlogits = mat.NewDense(rows, v, nil)
	for t, target := range targets {
		if target < 0 {
			continue
		}
		z := 0.0
		for j := range v {
			z += math.Exp(logits.At(t, j))
		}
		for j := range v {
			dlogits.Set(t, j, math.Exp(logits.At(t, j))/z)
		}
		loss += math.Log(z) - logits.At(t, int(target))
		dlogits.Set(t, int(target), dlogits.At(t, int(target))-1)
	}
	return loss, dlogits
}

func (o *oracle) add(name string, g *mat.Dense) { o.g[name].Add(o.g[name], g) }

func multiply(a, b mat.Matrix) *mat.Dense {
	var out mat.Dense
	out.Mul(a, b)
	return &out
}

func hadamard(a, b *mat.Dense) *mat.Dense {
	var out mat.Dense
	out.MulElem(a, b)
	return &out
}

func sum(a, b *mat.Dense) *mat.Dense {
	var out mat.Dense
	out.Add(a, b)
	return &out
}

func columnSums(x *mat.Dense) *mat.Dense {
	_, n := x.Dims()
	out := mat.NewDense(1, n, nil)
	for j := range n {
		out.Set(0, j, mat.Sum(x.ColView(j)))
	}
	return out
}
