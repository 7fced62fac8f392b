// Package autograd differentiates programs over float32 tensors by recording
// them on a tape. It has the operations that a GPT-2 needs and knows nothing of
// GPT-2; whoever wants a model should use package model.
//
// # Shapes
//
// B is the number of sequences, T the positions of one, C a width; H the number
// of heads, V the vocabulary. A Tensor is (B, T, C), row-major: B*T rows of C
// elements. A Parameter is a matrix (in, out) or a vector.
//
// # Derivatives
//
// The tape computes the gradient of the sum of all losses, which CrossEntropy
// ends it with. dx stands for the gradient of x; every dx starts at +0, and each
// consumer of x adds its share, in the reverse order of recording.
//
//	operation    y                                  dx                          parameters
//	Embedding    y[t] = wte[token t] + wpe[t]                                   dwte[token t] += dy[t], dwpe[t] += dy[t]
//	Linear       y = x W + b                        dx = dy Wᵀ                  dW += xᵀ dy, db += Σt dy[t]
//	LayerNorm    y = x̂ γ + β, x̂ = (x-mean)·r        dx += r (d - avg(d) -       dγ += Σt dy[t] x̂[t], dβ += Σt dy[t]
//	             r = 1/√(var+ε)                          x̂ avg(d x̂)), d = dy γ
//	GELU         y = x σ(2u), u = √(2/π)(x+ax³)     dx = dy GELU'(x)
//	Attention    y = P v, P = softmax(q kᵀ/√(C/H))  dv = Pᵀ dy, dP = dy vᵀ
//	             row t sees positions up to t       dS = P (dP - Σ dP P)/√(C/H)
//	                                                dq = dS k, dk = dSᵀ q
//	Add          y = x + f                          dx += dy, df = dy
//	Head         y = x wteᵀ                         dx = dy wte                 dwte += dyᵀ x
//	CrossEntropy loss = log Σ exp(x) - x[target]    dx = softmax(x) - onehot, or 0 where the target is below 0
//
// How each of these is a sequence of float32 operations, in which order, is in
// NUMERICS.md (N6 to N15 and N27). Forward and backward of an operation stand
// side by side in its file.
//
// # Order of sums
//
// A parameter's gradient is the fold of its sequences' contributions: the
// contribution of each sequence is summed over its positions from +0, rounded,
// and added to what is there; sequences ascend (N8). So a batch may be cut
// between sequences at will without changing a bit.
//
// # Memory
//
// A tape keeps its buffers. Recording the same operations over the same shapes
// again allocates nothing. Activations form a stack that Mark and Release cut
// back; gradients of activations live only from their first consumer's
// derivative to their producer's.
package autograd
