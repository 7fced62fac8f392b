package safetensors

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	"lockstep/hub/internal/strictjson"
	"lockstep/internal/merkle"
)

// Encoder writes float32 tensors as a safetensors file in canonical form: equal
// tensors and metadata give equal bytes, in whatever order they were passed.
//
//   - The header is compact JSON: __metadata__ first, keys in byte order, with
//     {"format":"pt"} always among them (transformers asks for it); then the
//     tensors in byte order of their names, fields dtype, shape, data_offsets.
//     Strings carry the fewest escapes. Blanks fill it to a multiple of 8 bytes.
//   - The data follows in the header's order, without gaps.
//
// With one metadata key these are the reference implementation's bytes: it sorts
// by falling width of the type, then by name, and all our tensors are F32.
//
// An Encoder keeps the tensors' memory and reads it at each WriteTo; it may be
// written any number of times.
type Encoder struct {
	header  []byte // length prefix, JSON, padding
	tensors []Tensor
	size    int64
}

// NewEncoder checks and sorts tensors. It fails when two share a name, a name is
// not UTF-8 or reserved, or a shape does not fit its data.
func NewEncoder(metadata map[string]string, tensors []Tensor) (*Encoder, error) {
	if format, ok := metadata["format"]; ok && format != "pt" {
		return nil, fmt.Errorf(`safetensors: the metadata key "format" is %q; it is always "pt"`, format)
	}
	sorted := slices.Clone(tensors)
	slices.SortStableFunc(sorted, func(a, b Tensor) int { return strings.Compare(a.Name, b.Name) })
	for i, t := range sorted {
		if err := checkTensor(t); err != nil {
			return nil, err
		}
		if i > 0 && sorted[i-1].Name == t.Name {
			return nil, fmt.Errorf("safetensors: two tensors are named %q", t.Name)
		}
	}
	text, dataSize, err := appendHeader(make([]byte, 8), metadata, sorted)
	if err != nil {
		return nil, err
	}
	for len(text)%8 != 0 {
		text = append(text, ' ')
	}
	if len(text)-8 > MaxHeader {
		return nil, fmt.Errorf("safetensors: the header takes %d bytes, at most %d are allowed", len(text)-8, MaxHeader)
	}
	binary.LittleEndian.PutUint64(text, uint64(len(text)-8))
	return &Encoder{header: text, tensors: sorted, size: int64(len(text)) + dataSize}, nil
}

func checkTensor(t Tensor) error {
	switch {
	case t.Name == metadataKey:
		return fmt.Errorf("safetensors: a tensor cannot be named %s", metadataKey)
	case !utf8.ValidString(t.Name):
		return fmt.Errorf("safetensors: the tensor name %q is not UTF-8", t.Name)
	case len(t.Shape) > MaxAxes:
		return fmt.Errorf("safetensors: tensor %q has %d axes, at most %d are allowed", t.Name, len(t.Shape), MaxAxes)
	}
	n := 1
	for _, d := range t.Shape {
		if d < 0 || d > 0 && n > math.MaxInt/4/d {
			return fmt.Errorf("safetensors: tensor %q has the impossible shape %v", t.Name, t.Shape)
		}
		n *= d
	}
	if n != len(t.Data) {
		return fmt.Errorf("safetensors: tensor %q has shape %v, but %d elements", t.Name, t.Shape, len(t.Data))
	}
	return nil
}

// appendHeader appends the JSON and returns the size of the data it describes.
func appendHeader(b []byte, metadata map[string]string, tensors []Tensor) ([]byte, int64, error) {
	all := map[string]string{"format": "pt"}
	maps.Copy(all, metadata)
	b = append(b, '{')
	b = strictjson.AppendText(b, metadataKey)
	b = append(b, ":{"...)
	for i, key := range slices.Sorted(maps.Keys(all)) {
		if !utf8.ValidString(key) || !utf8.ValidString(all[key]) {
			return nil, 0, fmt.Errorf("safetensors: the metadata %q: %q is not UTF-8", key, all[key])
		}
		if i > 0 {
			b = append(b, ',')
		}
		b = strictjson.AppendText(b, key)
		b = append(b, ':')
		b = strictjson.AppendText(b, all[key])
	}
	b = append(b, '}')
	at := int64(0)
	for _, t := range tensors {
		end := at + 4*int64(len(t.Data))
		b = append(b, ',')
		b = strictjson.AppendText(b, t.Name)
		b = append(b, `:{"dtype":"F32","shape":[`...)
		for i, d := range t.Shape {
			if i > 0 {
				b = append(b, ',')
			}
			b = strictjson.AppendInt(b, int64(d))
		}
		b = append(b, `],"data_offsets":[`...)
		b = strictjson.AppendInt(b, at)
		b = append(b, ',')
		b = strictjson.AppendInt(b, end)
		b = append(b, "]}"...)
		at = end
	}
	return append(b, '}'), at, nil
}

// Size returns the length of the file in bytes.
func (e *Encoder) Size() int64 { return e.size }

// WriteTo writes the file in blocks of at most 1 MiB, straight from the tensors'
// memory where the machine is little-endian.
func (e *Encoder) WriteTo(w io.Writer) (int64, error) {
	total, err := writeAll(w, e.header)
	if err != nil {
		return total, err
	}
	var scratch []byte
	for _, t := range e.tensors {
		for lo := 0; lo < len(t.Data); lo += blockElements {
			x := t.Data[lo:min(lo+blockElements, len(t.Data))]
			raw := bytesOf(x)
			if !littleEndian {
				scratch = encode(scratch[:0], x)
				raw = scratch
			}
			n, err := writeAll(w, raw)
			total += n
			if err != nil {
				return total, err
			}
		}
	}
	return total, nil
}

const blockElements = 1 << 18 // 1 MiB: the hash finds in the cache what the file gets

func encode(b []byte, x []float32) []byte {
	for _, v := range x {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
	}
	return b
}

func writeAll(w io.Writer, b []byte) (int64, error) {
	n, err := w.Write(b)
	if err == nil && n != len(b) {
		err = io.ErrShortWrite
	}
	return int64(n), err
}

// Digest returns the SHA-256 of the file.
func (e *Encoder) Digest() merkle.Digest {
	h := sha256.New()
	_, _ = e.WriteTo(h) // a hash accepts every write
	return merkle.Digest(h.Sum(nil))
}
