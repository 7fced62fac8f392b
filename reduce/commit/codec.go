package commit

import (
	"encoding/binary"
	"math"
)

// Encode writes x to dst in codec F32: float32, little-endian. It panics unless
// dst has exactly four bytes for each element.
func Encode(dst []byte, x []float32) {
	if len(dst) != 4*len(x) {
		panic("commit: encoded length does not fit")
	}
	encode(dst, x)
}

// Decode reads dst from codec F32 and reports whether every value is finite.
// It panics unless src has exactly four bytes for each element.
func Decode(dst []float32, src []byte) (finite bool) {
	if len(src) != 4*len(dst) {
		panic("commit: encoded length does not fit")
	}
	return decode(dst, src)
}

// encodeGeneric is the definition of encode.
func encodeGeneric(dst []byte, x []float32) {
	for i, v := range x {
		binary.LittleEndian.PutUint32(dst[4*i:], math.Float32bits(v))
	}
}

// decodeGeneric is the definition of decode.
func decodeGeneric(dst []float32, src []byte) bool {
	for i := range dst {
		dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(src[4*i:]))
	}
	return Finite(src) < 0
}

// Finite returns the index of the first NaN or Inf among encoded elements, or
// -1 when there is none.
func Finite(encoded []byte) int {
	for i := 0; i+4 <= len(encoded); i += 4 {
		if binary.LittleEndian.Uint32(encoded[i:])&0x7f800000 == 0x7f800000 {
			return i / 4
		}
	}
	return -1
}
