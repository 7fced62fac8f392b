package safetensors

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"testing"

	"lockstep/internal/testdata"
)

func TestReadWidensF16(t *testing.T) {
	const n = 1 << 16
	data := make([]byte, 0, 2*n)
	for h := range n {
		data = binary.LittleEndian.AppendUint16(data, uint16(h))
	}
	got := readOne(t, "F16", data, n)
	for h := range n {
		sign, exponent, mantissa := 1.0, h>>10&31, float64(h&1023)
		if h>>15 == 1 {
			sign = -1
		}
		switch {
		case exponent == 31 && mantissa != 0:
			if got[h] == got[h] {
				t.Fatalf("%#04x: got %v, want NaN", h, got[h])
			}
			continue
		case exponent == 31:
			mantissa = math.Inf(1)
		case exponent == 0:
			mantissa = math.Ldexp(mantissa, -24)
		default:
			mantissa = math.Ldexp(1024+mantissa, exponent-25)
		}
		if want := float32(math.Copysign(mantissa, sign)); math.Float32bits(got[h]) != math.Float32bits(want) {
			t.Fatalf("%#04x: got %v, want %v", h, got[h], want)
		}
	}
}

func TestReadWidensBF16(t *testing.T) {
	got := readOne(t, "BF16", []byte{0x80, 0x3f, 0x00, 0x80, 0x80, 0xff, 0x01, 0x00, 0xc1, 0x7f}, 5)
	want := []uint32{0x3f800000, 0x80000000, 0xff800000, 0x00010000, 0x7fc10000}
	for i := range want {
		if math.Float32bits(got[i]) != want[i] {
			t.Errorf("element %d: %#08x, want %#08x", i, math.Float32bits(got[i]), want[i])
		}
	}
}

func TestReadRoundsF64(t *testing.T) {
	half := math.Ldexp(1, -24) // half a unit in the last place of 1
	cases := []struct {
		in   float64
		want uint32
	}{
		{1, 0x3f800000}, {1 + half, 0x3f800000}, {1 + 3*half, 0x3f800002}, {1 + half + math.Ldexp(1, -52), 0x3f800001},
		{math.Copysign(0, -1), 0x80000000}, {math.MaxFloat32, 0x7f7fffff}, {1e300, 0x7f800000}, {-1e300, 0xff800000},
		{math.Ldexp(1, -149), 1}, {math.Ldexp(1, -150), 0}, {math.Ldexp(3, -150), 2}, {math.Inf(-1), 0xff800000},
		{math.Float64frombits(0x7ff0000000000001), 0x7fc00000}, {math.Float64frombits(0xfff8dead00000000), 0x7fc00000},
	}
	var data []byte
	for _, c := range cases {
		data = binary.LittleEndian.AppendUint64(data, math.Float64bits(c.in))
	}
	got := readOne(t, "F64", data, len(cases))
	for i, c := range cases {
		if math.Float32bits(got[i]) != c.want {
			t.Errorf("%v: %#08x, want %#08x", c.in, math.Float32bits(got[i]), c.want)
		}
	}
}

// TestReadKeepsF32Bits: signalling NaNs and all other patterns pass unchanged,
// across piece borders, and equally through the byte-wise decoder that other
// byte orders use.
func TestReadKeepsF32Bits(t *testing.T) {
	const n = pieceElements + 5
	data := make([]byte, 0, 4*n)
	for i := range uint32(n) {
		data = binary.LittleEndian.AppendUint32(data, i*2654435761)
	}
	data = binary.LittleEndian.AppendUint32(data[:4*(n-1)], 0x7f800001)
	got := readOne(t, "F32", data, n)
	if littleEndian && !bytes.Equal(bytesOf(got), data) {
		t.Fatal("bits changed")
	}
	again := make([]float32, n)
	F32.decode(again, data)
	if !bytes.Equal(bytesOf(again), bytesOf(got)) {
		t.Fatal("the byte-wise decoder gives other bits")
	}
	if !bytes.Equal(encode(nil, got), data) {
		t.Fatal("the byte-wise encoder gives other bytes")
	}
}

func readOne(t *testing.T, dtype string, data []byte, n int) []float32 {
	t.Helper()
	width := len(data) / n
	f := mustOpen(t, file(fmt.Sprintf(`{"a":{"dtype":%q,"shape":[%d],"data_offsets":[0,%d]}}`, dtype, n, n*width), data))
	dst := make([]float32, n)
	if err := f.Read(context.Background(), Tensor{Name: "a", Shape: []int{n}, Data: dst}); err != nil {
		t.Fatal(err)
	}
	return dst
}

// TestReadsPublishedCheckpoints reads real files saved by transformers and
// writes them again: the canonical form of what the reference wrote is itself.
func TestReadsPublishedCheckpoints(t *testing.T) {
	for _, name := range []string{"tiny_gpt2", "fake_gpt2"} {
		raw, err := os.ReadFile(testdata.Path(t, "gpt2_hf", name, "model.safetensors"))
		if err != nil {
			t.Fatal(err)
		}
		f := mustOpen(t, raw)
		if len(f.Tensors()) != 16 || f.Metadata()["format"] != "pt" {
			t.Errorf("%s: %d tensors, metadata %v", name, len(f.Tensors()), f.Metadata())
		}
		var tensors []Tensor
		for _, info := range f.Tensors() {
			shape := make([]int, len(info.Shape))
			for i, d := range info.Shape {
				shape[i] = int(d)
			}
			tensors = append(tensors, Tensor{info.Name, shape, make([]float32, info.Elements())})
		}
		if err := f.Read(context.Background(), tensors...); err != nil {
			t.Fatal(err)
		}
		var again bytes.Buffer
		if _, _, err := writeFile(&again, f.Metadata(), tensors); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(again.Bytes(), raw) {
			t.Errorf("%s: written again it differs", name)
		}
	}
}
