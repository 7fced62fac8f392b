// Package optim turns an averaged gradient into a step: learning-rate schedule,
// clipping by the global norm, and AdamW, all to the bit (N13, N18, N21).
//
// It works on flat vectors cut into named spans and knows nothing of networks;
// package model keeps the vectors and calls Step. Scalars that depend on the
// step alone (learning rate, bias corrections, clip) are computed in float64
// from the integer step by +, -, *, / and square root, and rounded to float32
// once. Elements are float32 throughout.
//
//	Config   hyper-parameters; the zero value is invalid, see Default
//	Span     one tensor inside a flat vector, and whether it decays
//	Norm     length of a gradient, and its first NaN or Inf
//	Step     one AdamW step in place
package optim
