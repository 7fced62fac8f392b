package safetensors

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"math"
	"slices"
	"strings"
	"testing"

	"lockstep/internal/merkle"
)

// ramp returns (i-3)/8 for i < n.
func ramp(n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = (float32(i) - 3) / 8
	}
	return x
}

// writeFile writes a whole file to w and returns its length and digest.
func writeFile(w io.Writer, metadata map[string]string, tensors []Tensor) (int64, merkle.Digest, error) {
	e, err := NewEncoder(metadata, tensors)
	if err != nil {
		return 0, merkle.Digest{}, err
	}
	n, err := e.WriteTo(w)
	return n, e.Digest(), err
}

func sample() []Tensor {
	return []Tensor{
		{"transformer.wte.weight", []int{3, 4}, ramp(12)},
		{"transformer.h.10.ln_1.bias", []int{4}, ramp(4)},
		{"transformer.h.2.ln_1.bias", []int{5}, ramp(5)},
		{"scalar", nil, []float32{1.5}},
		{"empty", []int{0, 7}, nil},
		{"odd \"name\"\\\n\té\x01\u2028", []int{1}, ramp(1)},
	}
}

// TestWriteEqualsReference holds our bytes against those of the reference
// implementation, safetensors 0.8.0 with numpy 2.4.6:
//
//	def ramp(n): return (np.arange(n, dtype=np.float32) - np.float32(3)) / np.float32(8)
//	t = {"transformer.wte.weight": ramp(12).reshape(3, 4), "transformer.h.10.ln_1.bias": ramp(4),
//	     "transformer.h.2.ln_1.bias": ramp(5), "scalar": np.array(1.5, dtype=np.float32),
//	     "empty": np.zeros((0, 7), dtype=np.float32), 'odd "name"\\\n\té\x01\u2028': ramp(1)}
//	hashlib.sha256(safetensors.numpy.save(t, metadata={"format": "pt"})).hexdigest()
func TestWriteEqualsReference(t *testing.T) {
	const want = "8a664a494bcd02851c777a939c7aa86f4e562864cc628a9b670c56e0cc841f3b"
	var b bytes.Buffer
	n, digest, err := writeFile(&b, nil, sample())
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(b.Bytes())
	if n != 572 || int64(b.Len()) != n || digest != merkle.Digest(sum) || hex.EncodeToString(sum[:]) != want {
		t.Fatalf("%d bytes, %s, said to be %s; want 572, %s\n%q", n, hex.EncodeToString(sum[:]), digest, want, b.String())
	}
}

func TestWriteIsCanonical(t *testing.T) {
	metadata := map[string]string{"z": "1", "a": "2", "m": "3", "format": "pt", "b": "\""}
	tensors := sample()
	first, err := NewEncoder(metadata, tensors)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(first.header), `{"__metadata__":{"a":"2","b":"\"","format":"pt","m":"3","z":"1"},"empty":`) {
		t.Errorf("header %q", first.header)
	}
	if len(first.header)%8 != 0 {
		t.Errorf("header and prefix take %d bytes", len(first.header))
	}
	for range 20 {
		slices.Reverse(tensors)
		tensors = append(tensors[1:], tensors[0])
		again, err := NewEncoder(metadata, tensors)
		if err != nil {
			t.Fatal(err)
		}
		if again.Digest() != first.Digest() {
			t.Fatal("the order of the arguments changed the file")
		}
	}
	metadata["a"] = "3"
	if other, _ := NewEncoder(metadata, tensors); other.Digest() == first.Digest() {
		t.Fatal("other metadata, same digest")
	}
}

func TestWriteThenRead(t *testing.T) {
	want := []Tensor{
		{"big", []int{blockElements + 3}, ramp(blockElements + 3)},
		{"bits", []int{2, 2}, []float32{float32(math.Inf(-1)), math.Float32frombits(0x7f800001), math.Float32frombits(0x80000000), 1e-45}},
		{"none", []int{0}, nil},
		{"one", nil, []float32{7}},
	}
	var b bytes.Buffer
	if _, _, err := writeFile(&b, map[string]string{"epoch": "3"}, want); err != nil {
		t.Fatal(err)
	}
	f := mustOpen(t, b.Bytes())
	if f.Metadata()["epoch"] != "3" || f.Metadata()["format"] != "pt" {
		t.Errorf("metadata %v", f.Metadata())
	}
	got := make([]Tensor, len(want))
	for i, w := range want {
		got[i] = Tensor{w.Name, w.Shape, make([]float32, len(w.Data))}
	}
	if err := f.Read(context.Background(), got...); err != nil {
		t.Fatal(err)
	}
	for i := range want {
		if !bytes.Equal(bytesOf(got[i].Data), bytesOf(want[i].Data)) {
			t.Errorf("%s came back changed", want[i].Name)
		}
	}
}

func TestNewEncoderRefuses(t *testing.T) {
	one := []float32{1}
	for _, c := range []struct {
		name     string
		metadata map[string]string
		tensors  []Tensor
		says     string
	}{
		{"same name", nil, []Tensor{{"a", []int{1}, one}, {"b", []int{1}, one}, {"a", []int{1}, one}}, "two tensors"},
		{"reserved name", nil, []Tensor{{"__metadata__", []int{1}, one}}, "named"},
		{"name not UTF-8", nil, []Tensor{{"\xff", []int{1}, one}}, "UTF-8"},
		{"shape too large", nil, []Tensor{{"a", []int{2}, one}}, "elements"},
		{"negative shape", nil, []Tensor{{"a", []int{-1, -1}, one}}, "impossible"},
		{"overflowing shape", nil, []Tensor{{"a", []int{math.MaxInt, 2}, one}}, "impossible"},
		{"too many axes", nil, []Tensor{{"a", slices.Repeat([]int{1}, MaxAxes+1), one}}, "axes"},
		{"other format", map[string]string{"format": "tf"}, nil, "format"},
		{"metadata not UTF-8", map[string]string{"a": "\xff"}, nil, "UTF-8"},
		{"metadata too large", map[string]string{"a": strings.Repeat("x", MaxHeader)}, nil, "at most"},
	} {
		if _, err := NewEncoder(c.metadata, c.tensors); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.says)
		}
	}
}

// stubborn accepts n bytes, then fails, or lies about what it took.
type stubborn struct {
	left  int
	short bool
}

var errStubborn = errors.New("no more")

func (s *stubborn) Write(b []byte) (int, error) {
	if len(b) <= s.left {
		s.left -= len(b)
		return len(b), nil
	}
	n := s.left
	s.left = 0
	if s.short {
		return n, nil
	}
	return n, errStubborn
}

func TestWriteReportsFailure(t *testing.T) {
	for left := range 572 {
		if _, _, err := writeFile(&stubborn{left: left}, nil, sample()); !errors.Is(err, errStubborn) {
			t.Fatalf("after %d bytes: got %v", left, err)
		}
		if _, _, err := writeFile(&stubborn{left: left, short: true}, nil, sample()); !errors.Is(err, io.ErrShortWrite) {
			t.Fatalf("short after %d bytes: got %v", left, err)
		}
	}
}

// FuzzOpen checks that no header makes Open panic, and that what it accepts
// covers the file exactly and survives a round trip.
func FuzzOpen(f *testing.F) {
	for _, c := range attacks {
		if len(c.header) < 1000 {
			f.Add([]byte(c.header), c.data)
		}
	}
	f.Add([]byte(`{"__metadata__":{"format":"pt"},"a":{"dtype":"F16","shape":[2,3],"data_offsets":[0,12]},"b":{"dtype":"F64","shape":[],"data_offsets":[12,20]}}`), 20)
	f.Fuzz(func(t *testing.T, header []byte, size int) {
		data := bytes.Repeat([]byte{0x3c}, max(0, size)%4096)
		opened, err := open(file(string(header), data))
		if err != nil {
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("untyped error %v", err)
			}
			return
		}
		at := int64(0)
		var tensors []Tensor
		for _, info := range opened.Tensors() {
			if info.begin != at {
				t.Fatalf("tensor %q begins at %d, not %d", info.Name, info.begin, at)
			}
			at = info.end
			if info.Dtype.Readable() {
				shape := make([]int, len(info.Shape))
				for i, d := range info.Shape {
					shape[i] = int(d)
				}
				tensors = append(tensors, Tensor{info.Name, shape, make([]float32, info.Elements())})
			}
		}
		if at != int64(len(data)) {
			t.Fatalf("tensors end at %d of %d bytes", at, len(data))
		}
		if err := opened.Read(context.Background(), tensors...); err != nil {
			t.Fatal(err)
		}
		if _, _, err := writeFile(io.Discard, nil, tensors); err != nil {
			t.Fatal(err)
		}
	})
}
