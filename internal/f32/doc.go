// Package f32 holds the float32 kernels of the numerics contract (NUMERICS.md):
// matrix products, row reductions, exponential and logarithm, GELU, layer
// normalisation, softmax and the optimizer's element-wise step.
//
// A kernel xGeneric in plain Go is the definition of x and is compiled on every
// machine. The assembly, generated from _asm, computes the same bits: the same
// roundings of the same primitives in the same order, for every length,
// alignment and number of threads. The exported X picks the implementation by
// [Active].
//
// Kernels know slices, not tensors, and panic with a constant string when a
// caller passes slices of unfitting lengths. Slices may not overlap unless the
// kernel's comment allows it. This is no general vector library: each kernel
// does what GPT-2 training needs and the contract writes down. Use gonum for
// anything else.
package f32

//go:generate go -C _asm run . -set rows -arch amd64
//go:generate go -C _asm run . -set matmul -arch amd64
//go:generate go -C _asm run . -set matvec -arch amd64
//go:generate go -C _asm run . -set rows -arch arm64
//go:generate go -C _asm run . -set matmul -arch arm64
//go:generate go -C _asm run . -set matvec -arch arm64
