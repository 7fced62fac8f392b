package f32

import (
	"encoding/binary"
	"fmt"
	"math"
	"testing"
)

// FuzzMatMul compares every ISA with the definition on operands of arbitrary
// bits.
func FuzzMatMul(f *testing.F) {
	f.Add(byte(0), byte(7), byte(17), uint16(3), byte(0), false, []byte("\x00\x00\x80\x3f\xff\xff\x7f\x00\x01\x00\x00\x80"))
	f.Add(byte(1), byte(13), byte(33), uint16(9), byte(5), true, []byte("\x00\x00\x80\x7f\x00\x00\xc0\x7f\x00\x00\x80\x3f"))
	f.Add(byte(0), byte(12), byte(39), uint16(2048), byte(0), false, []byte("\x00\x00\x80\x3f\x01\x00\x80\x3f\x00\x00\x80\xbf\x01\x00\x00\x34"))
	f.Add(byte(2), byte(1), byte(1), uint16(1025), byte(63), false, []byte("\xff\xff\x7f\x33\x01\x00\x80\x3f"))
	f.Fuzz(func(t *testing.T, layout, m, n byte, k uint16, gaps byte, accumulate bool, bits []byte) {
		matrixCase{
			layout: Layout(layout % 3), m: int(m%40) + 1, n: int(n%70) + 1, k: int(k%fuzzSteps) + 1,
			aGap: int(gaps & 3), bGap: int(gaps >> 2 & 3), outGap: int(gaps >> 4 & 3), accumulate: accumulate,
		}.mustEqualDefinition(t, bits)
	})
}

// FuzzOneRow does the same for products with one row, which have kernels of
// their own from sixteen columns on.
func FuzzOneRow(f *testing.F) {
	f.Add(byte(0), byte(16), uint16(7), byte(0), false, []byte("\x00\x00\x80\x3f\xff\xff\x7f\x00\x01\x00\x00\x80"))
	f.Add(byte(1), byte(40), uint16(1026), byte(1), true, []byte("\x00\x00\x80\x3f\x01\x00\x80\x3f\x00\x00\x80\xbf\x01\x00\x00\x34"))
	f.Add(byte(0), byte(69), uint16(2047), byte(2), true, []byte("\x00\x00\x80\x7f\x00\x00\xc0\x7f\x00\x00\x80\x3f"))
	f.Fuzz(func(t *testing.T, layout, n byte, k uint16, gaps byte, accumulate bool, bits []byte) {
		matrixCase{
			layout: Layout(layout % 2), m: 1, n: int(n%100) + 1, k: int(k%fuzzSteps) + 1,
			bGap: int(gaps & 3), bSkip: int(gaps >> 2 & 15), accumulate: accumulate,
		}.mustEqualDefinition(t, bits)
	})
}

// fuzzSteps bounds k: two blocks and some steps.
const fuzzSteps = 2*blockK + 80

// mustEqualDefinition compares every ISA with N6 on operands of these bits.
func (c matrixCase) mustEqualDefinition(t *testing.T, bits []byte) {
	t.Helper()
	o := c.operands(floatsOf(bits))
	want := c.reference(o)
	for _, isa := range Available() {
		restore := ForTest(isa)
		got := c.multiply(t, o)
		restore()
		mustEqual(t, fmt.Sprint(isa, ": ", c), c.n, got, want)
	}
}

// floatsOf returns a function that reads float32 values from bits, over and
// over; each time from another alignment, which gives other values.
func floatsOf(bits []byte) func() float32 {
	if len(bits) < 4 {
		bits = make([]byte, 4)
	}
	at := 0
	return func() float32 {
		if at+4 > len(bits) {
			at = at%4 + 1
			if at+4 > len(bits) {
				at = 0
			}
		}
		at += 4
		return math.Float32frombits(binary.LittleEndian.Uint32(bits[at-4:]))
	}
}
