package main

import "github.com/mmcloughlin/avo/operand"

// A register of the target: avo's, or one of neon.go.
type register = operand.Op

// A vec is a run of float32 lanes in one or more registers: sixteen lanes are
// one ZMM register, two YMM or four of NEON.
type vec []register

// A constant is one float32 in every lane. The name appears in the assembly.
type constant struct {
	name string
	bits uint32
}

func lit(name string, bits uint32) constant { return constant{name, bits} }

// A source is an operand that is only read: a vec or a constant.
type source interface{ isSource() }

func (vec) isSource()      {}
func (constant) isSource() {}

// A mask marks lanes of a vec; where inverted is set, those that it does not
// mark.
type mask struct {
	lanes    []register
	inverted bool
}

// A predicate compares two floats. Those that begin with "not" hold when an
// operand is NaN.
type predicate int

const (
	lessThan predicate = iota
	notLessThan
	notLessEqual
)

// A width says how many lanes a vec of a kernel has.
type width int

const (
	// sixteen lanes, as the reductions of N9 need them.
	sixteen width = 16
	// several registers if the target gains by it: elements are independent.
	several width = 8
	// single register: kernels with many operands.
	single width = 1
)

// A target emits kernels for one ISA: the function name+suffix around what body
// emits.
type target interface {
	function(name, signature, doc string, w width, body func(k kernel))
}

// operations are what a target gives a template. Those that say so overwrite an
// operand, as the instructions do.
type operations interface {
	base(slice string) register   // the address of a slice parameter
	length(slice string) register // its length
	param(name string) vec        // a float32 parameter in every lane; read-only
	finish(results ...register)   // returns float32 results

	each(n register, body func()) // for every vec of n elements
	load(base register) vec       // the current vec; +0 beyond the tail
	store(v vec, base register)   // nothing is written beyond the tail
	zero() vec                    // +0 in every lane
	copy(x source) vec
	add(x vec, y source) vec
	sub(x vec, y source) vec
	mul(x vec, y source) vec
	div(x vec, y source) vec
	sqrt(x vec) vec
	min(x vec, y source) vec         // x < y ? x : y, NaN included
	fma(x vec, y source, z vec) vec  // overwrites z with fma(x, y, z)
	fnma(x vec, y source, z vec) vec // overwrites z with fma(-x, y, z)
	fms(x vec, y source, z vec) vec  // overwrites z with fma(x, y, -z)
	horner(q, x vec, c source) vec   // overwrites q with fma(q, x, c): a step of Horner's rule
	addExponent(x, t vec) vec        // overwrites both with x + t<<23, as integers

	compare(p predicate, x vec, y source) mask
	choose(m mask, x source, y vec) vec // x in marked lanes, y in the others
	keep(m mask, x vec) vec             // x in marked lanes, +0 in the others

	// These overwrite acc in the lanes that exist: adding a zero in the others
	// could turn -0 into +0.
	accumulateSum(acc vec, x vec)
	accumulateProduct(acc, x, y vec)
	accumulateMax(acc, x vec) // by ">": a NaN never enters

	// foldSum and foldMax combine sixteen lanes pairwise, 8, 4, 2 and 1 apart
	// (N9), into the first lane of a register.
	foldSum(acc vec) register
	foldMax(acc vec) register
	plusZero(x register) register // x + 0, first lane

	// Kernels that are written for each target apart.
	finiteBlocks()
	sumSquares()
	addFloat64()
	divideRound()
}

// A kernel is a template being emitted: the operations of a target, and those
// that are composed of them. The template runs its body for every full vec and
// once more for the tail, with the missing lanes masked.
type kernel struct{ operations }

// targets are emitted for in turn.
var targets []target

// emit writes the function of a kernel for every target. doc is what its
// definition, name+"Generic", computes.
func emit(name, signature, doc string, w width, body func(k kernel)) {
	for _, t := range targets {
		t.function(name, signature, doc, w, body)
	}
}
