package f32

import (
	"encoding/binary"
	"math"
	"testing"
)

// FuzzMatMul compares every ISA with the definition on operands of arbitrary
// bits.
func FuzzMatMul(f *testing.F) {
	f.Add(byte(0), byte(7), byte(17), uint16(3), byte(0), false, []byte("\x00\x00\x80\x3f\xff\xff\x7f\x00\x01\x00\x00\x80"))
	f.Add(byte(1), byte(13), byte(33), uint16(9), byte(5), true, []byte("\x00\x00\x80\x7f\x00\x00\xc0\x7f\x00\x00\x80\x3f"))
	f.Add(byte(2), byte(1), byte(1), uint16(1025), byte(63), false, []byte("\xff\xff\x7f\x33\x01\x00\x80\x3f"))
	f.Fuzz(func(t *testing.T, layout, m, n byte, k uint16, gaps byte, accumulate bool, bits []byte) {
		c := matrixCase{
			layout: Layout(layout % 3), m: int(m%40) + 1, n: int(n%70) + 1, k: int(k%1100) + 1,
			aGap: int(gaps & 3), bGap: int(gaps >> 2 & 3), outGap: int(gaps >> 4 & 3), accumulate: accumulate,
		}
		o := c.operands(floatsOf(bits))
		want := c.reference(o)
		for _, isa := range Available() {
			restore := ForTest(isa)
			got := c.multiply(t, o)
			restore()
			mustEqual(t, isa, c.n, got, want)
		}
	})
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
