package parquet

import (
	"bytes"
	"encoding/binary"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	reference "github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"
	"pgregory.net/rapid"
)

// joined lays texts out as parquet-go's encoders want them.
func joined(texts []string) (data []byte, offsets []uint32) {
	offsets = []uint32{0}
	for _, s := range texts {
		data = append(data, s...)
		offsets = append(offsets, uint32(len(data)))
	}
	return data, offsets
}

// TestDecodersEqualReference: what parquet-go's encoders write is read back.
func TestDecodersEqualReference(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 700).Draw(t, "n") // several blocks of 128
		texts := rapid.SliceOfN(rapid.StringN(0, 40, -1), n, n).Draw(t, "texts")
		data, offsets := joined(texts)
		for name, c := range map[string]struct {
			encode func(dst, src []byte, offsets []uint32) ([]byte, error)
			decode func(data []byte, n int) ([]string, error)
		}{
			"plain":  {reference.Plain.EncodeByteArray, plain},
			"length": {reference.DeltaLengthByteArray.EncodeByteArray, deltaLength},
			"delta":  {reference.DeltaByteArray.EncodeByteArray, deltaStrings},
		} {
			encoded, err := c.encode(nil, data, offsets)
			if err != nil {
				t.Fatal(err)
			}
			if len(texts) == 0 && len(encoded) == 0 {
				continue // parquet-go writes no header for nothing
			}
			got, err := c.decode(encoded, len(texts))
			if err != nil || !slices.Equal(got, texts) {
				t.Fatalf("%s: %q, %v", name, got, err)
			}
			if _, err := c.decode(encoded, len(texts)+1); err == nil {
				t.Fatalf("%s: one text more than there is", name)
			}
		}
	})
}

func TestHybridEqualsReference(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		entries := rapid.IntRange(1, 300).Draw(t, "entries")
		n := rapid.IntRange(1, 500).Draw(t, "n")
		numbers := rapid.SliceOfN(rapid.OneOf(rapid.Int32Range(0, int32(entries-1)), rapid.Just(int32(0))), n, n).Draw(t, "numbers")
		encoded, err := reference.RLEDictionary.EncodeInt32(nil, numbers)
		if err != nil {
			t.Fatal(err)
		}
		got, err := hybrid(encoded[1:], int(encoded[0]), len(numbers))
		if err != nil {
			t.Fatal(err)
		}
		for i, n := range numbers {
			if got[i] != uint32(n) {
				t.Fatalf("number %d is %d, not %d", i, got[i], n)
			}
		}
	})
}

func TestHybrid(t *testing.T) {
	for name, tt := range map[string]struct {
		data  []byte
		width int
		want  []uint32
	}{
		"repeated":           {[]byte{3 << 1, 7}, 3, []uint32{7, 7, 7}},
		"repeated, too long": {[]byte{9 << 1, 7}, 3, []uint32{7, 7, 7}},
		"packed":             {[]byte{1<<1 | 1, 0x88, 0xC6, 0xFA}, 3, []uint32{0, 1, 2, 3, 4, 5, 6, 7}}, // the specification's example
		"padded":             {[]byte{1<<1 | 1, 0x88, 0xC6, 0xFA}, 3, []uint32{0, 1, 2}},
		"no bits":            {[]byte{1<<1 | 1}, 0, []uint32{0, 0}},
		"32 bits":            {[]byte{1 << 1, 1, 2, 3, 4}, 32, []uint32{0x04030201}},
	} {
		got, err := hybrid(tt.data, tt.width, len(tt.want))
		if err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	for name, tt := range map[string]struct {
		data  []byte
		width int
	}{
		"nothing":         {nil, 3},
		"no number":       {[]byte{3 << 1}, 3},
		"run of none":     {[]byte{0, 1}, 3},
		"no groups":       {[]byte{1, 1}, 3},
		"cut groups":      {[]byte{2<<1 | 1, 1, 2, 3}, 3},
		"2^63 groups":     {[]byte{0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01}, 3},
		"header too long": {bytes.Repeat([]byte{0xFF}, 11), 3},
		"33 bits":         {[]byte{1 << 1, 1, 2, 3, 4, 5}, 33},
	} {
		if got, err := hybrid(tt.data, tt.width, 40); err == nil {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// delta writes DELTA_BINARY_PACKED with one number repeated: few bytes for any
// count.
func delta(block, minis, total uint64, value int64) []byte {
	data := binary.AppendUvarint(nil, block)
	data = binary.AppendUvarint(data, minis)
	data = binary.AppendUvarint(data, total)
	data = binary.AppendVarint(data, value)
	for left := int64(total) - 1; left > 0 && minis < 1<<10; left -= int64(block) {
		data = append(data, 0) // the smallest difference
		data = append(data, make([]byte, minis)...)
	}
	return data
}

// TestValueBombs: few bytes that stand for very many, or for none, are refused
// before memory is taken for them.
func TestValueBombs(t *testing.T) {
	for name, decode := range map[string]func() ([]string, error){
		"plain, 2^20 texts in 8 bytes": func() ([]string, error) { return plain(make([]byte, 8), 1<<20) },
		"plain, a text of 4 GB":        func() ([]string, error) { return plain([]byte{255, 255, 255, 255, 1}, 1) },
		"plain, cut length":            func() ([]string, error) { return plain([]byte{0, 0, 0, 0, 1, 0, 0, 0}, 2) },
		"lengths, negative":            func() ([]string, error) { return deltaLength(delta(128, 4, 5, -3), 5) },
		"lengths beyond the page":      func() ([]string, error) { return deltaLength(append(delta(128, 4, 5, 3), "abc"...), 5) },
		"lengths, another count":       func() ([]string, error) { return deltaLength(delta(128, 4, 1<<31, 3), 5) },
		"lengths, block of 100":        func() ([]string, error) { return deltaLength(delta(100, 4, 5, 3), 5) },
		"lengths, no mini-blocks":      func() ([]string, error) { return deltaLength(delta(128, 0, 5, 3), 5) },
		"lengths, 2^40 mini-blocks":    func() ([]string, error) { return deltaLength(delta(128, 1<<40, 5, 3), 5) },
		"lengths, block of 2^40":       func() ([]string, error) { return deltaLength(delta(1<<40, 1<<20, 5, 3), 5) },
		"lengths, nothing":             func() ([]string, error) { return deltaLength(nil, 5) },
		"lengths, cut":                 func() ([]string, error) { return deltaLength(delta(128, 4, 500, 3)[:7], 500) },
		"lengths, differences of 33": func() ([]string, error) {
			return deltaLength(append([]byte{0x80, 1, 4, 9, 0, 0, 33, 33, 33, 33}, make([]byte, 600)...), 9)
		},
		"prefix before the first": func() ([]string, error) {
			return deltaStrings(append(delta(128, 4, 2, 1), append(delta(128, 4, 2, 1), "ab"...)...), 2)
		},
		"prefixes, negative": func() ([]string, error) {
			return deltaStrings(append(delta(128, 4, 1, -1), append(delta(128, 4, 1, 1), 'a')...), 1)
		},
		"a dictionary's entry 5 of 2":   func() ([]string, error) { return lookUp([]string{"a", "b"}, []byte{3, 2 << 1, 5}, 2) },
		"entries of a dictionary, none": func() ([]string, error) { return lookUp(nil, []byte{0, 2 << 1}, 2) },
		"entries, nothing":              func() ([]string, error) { return lookUp([]string{"a"}, nil, 2) },
	} {
		if texts, err := decode(); err == nil {
			t.Errorf("%s: %d texts", name, len(texts))
		}
	}
	// A text of 1 MiB, and a thousand that repeat it.
	prefixes := []byte{0x80, 1, 4} // blocks of 128 in 4
	prefixes = binary.AppendUvarint(prefixes, 1001)
	prefixes = binary.AppendVarint(prefixes, 0)
	first := true
	for left := 1000; left > 0; left -= 128 {
		if first { // a difference of 2^20 once, then none
			prefixes = append(prefixes, 0, 21, 0, 0, 0)
			mini := make([]byte, 32*21/8)
			mini[2] = 0x10
			prefixes = append(prefixes, mini...)
		} else {
			prefixes = append(prefixes, 0, 0, 0, 0, 0)
		}
		first = false
	}
	suffixes := []byte{0x80, 1, 4}
	suffixes = binary.AppendUvarint(suffixes, 1001)
	suffixes = binary.AppendVarint(suffixes, 1<<20)
	first = true
	for left := 1000; left > 0; left -= 128 {
		if first { // the smallest difference is -2^20, and 2^20 is added to all but the first
			suffixes = binary.AppendVarint(suffixes, -(1 << 20))
			suffixes = append(suffixes, 21, 21, 21, 21)
			for n := range 4 {
				mini := make([]byte, 32*21/8)
				for i := range 32 {
					if n > 0 || i > 0 {
						at := i*21 + 20
						mini[at/8] |= 1 << (at % 8)
					}
				}
				suffixes = append(suffixes, mini...)
			}
		} else {
			suffixes = append(suffixes, 0, 0, 0, 0, 0)
		}
		first = false
	}
	bomb := append(append(prefixes, suffixes...), make([]byte, 1<<20)...)
	if texts, err := deltaStrings(bomb, 1001); err == nil || !strings.Contains(err.Error(), "256 MiB") {
		t.Errorf("%d texts of 1 MiB each, %v", len(texts), err)
	}
}

// TestUnpackBombs: a frame is unpacked to the size that the page header says,
// whatever the frame says or leaves out.
func TestUnpackBombs(t *testing.T) {
	var stream bytes.Buffer
	w, err := zstd.NewWriter(&stream) // as a stream: the frame names no size
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(w, io.LimitReader(zeros{}, 1<<30)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	hello := []byte("hello, hello, hello")
	whole, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	frame, block := whole.EncodeAll(hello, nil), snappy.Encode(nil, hello)
	for name, tt := range map[string]struct {
		codec  format.CompressionCodec
		packed []byte
		size   int64
	}{
		"1 GB of zeros in a stream":       {format.Zstd, stream.Bytes(), 1000},
		"zstd, too short":                 {format.Zstd, frame, 20},
		"zstd, too long":                  {format.Zstd, frame, 18},
		"zstd, frame of 2^60":             {format.Zstd, []byte{0x28, 0xB5, 0x2F, 0xFD, 0xE0, 0, 0, 0, 0, 0, 0, 0, 0x10}, 1000},
		"zstd, window of 2^41":            {format.Zstd, []byte{0x28, 0xB5, 0x2F, 0xFD, 0x00, 0xF8, 1, 0, 0}, 1000},
		"zstd, nothing":                   {format.Zstd, nil, 5},
		"zstd, cut":                       {format.Zstd, frame[:len(frame)-3], 19},
		"snappy, another size":            {format.Snappy, block, 20},
		"snappy, 4 GB":                    {format.Snappy, []byte{0xFF, 0xFF, 0xFF, 0xFF, 0x0F, 0}, 1000},
		"snappy, nothing":                 {format.Snappy, nil, 5},
		"snappy, cut":                     {format.Snappy, block[:len(block)-2], 19},
		"no compression, and two lengths": {format.Uncompressed, hello, 18},
	} {
		if plain, err := unpack(tt.codec, tt.packed, tt.size); err == nil {
			t.Errorf("%s: %d bytes", name, len(plain))
		}
	}
	for codec, packed := range map[format.CompressionCodec][]byte{format.Zstd: frame, format.Snappy: block, format.Uncompressed: hello} {
		if plain, err := unpack(codec, packed, 19); err != nil || !bytes.Equal(plain, hello) {
			t.Errorf("%s: %q, %v", codec, plain, err)
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }
