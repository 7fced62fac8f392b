package safetensors

import (
	"encoding/binary"
	"math"

	"github.com/x448/float16"
)

// Dtype is an element type of the format. The zero Dtype is none.
type Dtype uint8

// The element types, in the order of the reference implementation: by width.
const (
	BOOL Dtype = iota + 1
	F4
	F6E2M3
	F6E3M2
	U8
	I8
	F8E5M2
	F8E4M3
	F8E8M0
	F8E4M3FNUZ
	F8E5M2FNUZ
	I16
	U16
	F16
	BF16
	I32
	U32
	F32
	C64
	F64
	I64
	U64
)

// dtypes gives each Dtype its name in the header and its width.
var dtypes = [...]struct {
	name string
	bits int64
}{
	BOOL: {"BOOL", 8}, F4: {"F4", 4}, F6E2M3: {"F6_E2M3", 6}, F6E3M2: {"F6_E3M2", 6},
	U8: {"U8", 8}, I8: {"I8", 8}, F8E5M2: {"F8_E5M2", 8}, F8E4M3: {"F8_E4M3", 8},
	F8E8M0: {"F8_E8M0", 8}, F8E4M3FNUZ: {"F8_E4M3FNUZ", 8}, F8E5M2FNUZ: {"F8_E5M2FNUZ", 8},
	I16: {"I16", 16}, U16: {"U16", 16}, F16: {"F16", 16}, BF16: {"BF16", 16},
	I32: {"I32", 32}, U32: {"U32", 32}, F32: {"F32", 32}, C64: {"C64", 64},
	F64: {"F64", 64}, I64: {"I64", 64}, U64: {"U64", 64},
}

// parseDtype finds a type by its name in the header.
func parseDtype(name string) (Dtype, bool) {
	for d := BOOL; int(d) < len(dtypes); d++ {
		if dtypes[d].name == name {
			return d, true
		}
	}
	return 0, false
}

// String returns the type's name as it stands in the header.
func (d Dtype) String() string {
	if d == 0 || int(d) >= len(dtypes) {
		return "none"
	}
	return dtypes[d].name
}

// Bits returns the width of one element.
func (d Dtype) Bits() int64 {
	if int(d) >= len(dtypes) {
		return 0
	}
	return dtypes[d].bits
}

// Readable reports whether elements of type d convert to float32.
func (d Dtype) Readable() bool { return d == F32 || d == F16 || d == BF16 || d == F64 }

// decode turns the little-endian elements of a readable type in src into
// len(dst) float32. F32 keeps its bits; F16 and BF16 widen exactly. F64 rounds to nearest even,
// to infinity above float32's range; its NaNs become the one quiet NaN, since
// processors disagree about the payload that a narrowing keeps.
func (d Dtype) decode(dst []float32, src []byte) {
	switch d {
	case F16:
		for i := range dst {
			dst[i] = float16.Frombits(binary.LittleEndian.Uint16(src[2*i:])).Float32()
		}
	case BF16:
		for i := range dst {
			dst[i] = math.Float32frombits(uint32(binary.LittleEndian.Uint16(src[2*i:])) << 16)
		}
	case F64:
		for i := range dst {
			x := math.Float64frombits(binary.LittleEndian.Uint64(src[8*i:]))
			if x != x {
				dst[i] = math.Float32frombits(0x7fc00000)
			} else {
				dst[i] = float32(x)
			}
		}
	case F32:
		for i := range dst {
			dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(src[4*i:]))
		}
	}
}
