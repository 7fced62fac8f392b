// Package model is GPT-2 as data: a configuration, a layout of tensors, flat
// vectors of parameters, and functions of them. It sees tokens as integers and
// knows nothing of text, files or networks.
//
//	Config      the architecture, in the terms of Hugging Face's config.json
//	Layout      the one table of tensors: name, shape, place, decay
//	Parameters  weights in layout order; Initialise and Import make them
//	Model       Forward, Gradient, Loss and Generate, with the buffers they reuse
//	Accumulator a gradient that grows sequence by sequence
//	State       parameters and moments after some epoch, and the step to the next
//
// Gradient is the only path to a gradient: trainers, miners, validators and
// replays call it, and compare its bits. All results are the same on every
// instruction set, for any number of threads and any micro-batch.
package model
