package safetensors

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"

	"lockstep/hub/internal/strictjson"
)

const (
	// MaxHeader bounds the header, in bytes. The format allows 100 MB; this is
	// where the Hub's own client stops reading. A header of 25 MB describes about
	// 200,000 tensors.
	MaxHeader = 25_000_000

	// MaxAxes bounds a shape's length, as PyTorch and NumPy do.
	MaxAxes = 64

	metadataKey = "__metadata__"
)

// Info describes one tensor of a file.
type Info struct {
	Name  string
	Dtype Dtype
	Shape []int64 // empty for a scalar

	begin, end int64 // bytes, from the end of the header
}

// Elements returns the product of the shape, 1 for a scalar.
func (i Info) Elements() int64 {
	n := int64(1)
	for _, d := range i.Shape {
		n *= d
	}
	return n
}

// Size returns the tensor's length in bytes.
func (i Info) Size() int64 { return i.end - i.begin }

// header is a parsed and checked header.
type header struct {
	metadata map[string]string
	tensors  []Info // by offset
}

// parseHeader reads the header's JSON and checks it against the number of bytes
// behind it. Errors are *Error without the file's name.
func parseHeader(text []byte, dataSize int64) (header, error) {
	var h header
	if len(text) == 0 || text[0] != '{' {
		return h, &Error{Defect: BadSyntax, Detail: "it does not begin with {"}
	}
	r, err := strictjson.NewReader(text)
	if err != nil {
		return h, syntaxError("", err)
	}
	err = r.Object(func(key string) error {
		if key == metadataKey {
			m, err := parseMetadata(r)
			h.metadata = m
			return err
		}
		info, err := parseEntry(r, key)
		h.tensors = append(h.tensors, info)
		return err
	})
	if err == nil {
		err = r.End()
	}
	if err != nil {
		return h, syntaxError("", err)
	}
	return h, h.checkRanges(dataSize)
}

func parseMetadata(r *strictjson.Reader) (map[string]string, error) {
	m := make(map[string]string)
	err := r.Object(func(key string) error {
		value, err := r.Text()
		m[key] = value
		return err
	})
	return m, syntaxError(metadataKey, err)
}

// parseEntry reads {"dtype":...,"shape":[...],"data_offsets":[b,e]}, the fields
// in any order, and checks what the entry alone can tell.
func parseEntry(r *strictjson.Reader, name string) (Info, error) {
	info := Info{Name: name}
	var shape, offsets bool
	err := r.Object(func(field string) (err error) {
		switch field {
		case "dtype":
			info.Dtype, err = readDtype(r, name)
		case "shape":
			shape = true
			info.Shape, err = readShape(r, name)
		case "data_offsets":
			offsets = true
			info.begin, info.end, err = readOffsets(r, name)
		default:
			err = &Error{Tensor: name, Defect: UnknownField, Detail: fmt.Sprintf("%q", field)}
		}
		return err
	})
	if err != nil {
		return info, syntaxError(name, err)
	}
	switch {
	case info.Dtype == 0:
		return info, &Error{Tensor: name, Defect: MissingField, Detail: "dtype"}
	case !shape:
		return info, &Error{Tensor: name, Defect: MissingField, Detail: "shape"}
	case !offsets:
		return info, &Error{Tensor: name, Defect: MissingField, Detail: "data_offsets"}
	}
	return info, info.checkSize()
}

func readDtype(r *strictjson.Reader, name string) (Dtype, error) {
	text, err := r.Text()
	if err != nil {
		return 0, err
	}
	d, ok := parseDtype(text)
	if !ok {
		return 0, &Error{Tensor: name, Defect: UnknownDtype, Detail: fmt.Sprintf("%q", text)}
	}
	return d, nil
}

func readShape(r *strictjson.Reader, name string) ([]int64, error) {
	shape := []int64{}
	err := r.Array(func() error {
		if len(shape) == MaxAxes {
			return &Error{Tensor: name, Defect: TooManyAxes, Detail: fmt.Sprintf("more than %d", MaxAxes)}
		}
		d, err := r.Int()
		shape = append(shape, d)
		return err
	})
	return shape, err
}

func readOffsets(r *strictjson.Reader, name string) (begin, end int64, err error) {
	var pair [2]int64
	n := 0
	err = r.Array(func() error {
		if n == len(pair) {
			return &Error{Tensor: name, Defect: BadSyntax, Detail: "data_offsets has more than two numbers"}
		}
		pair[n], err = r.Int()
		n++
		return err
	})
	if err == nil && n != len(pair) {
		err = &Error{Tensor: name, Defect: BadSyntax, Detail: "data_offsets has fewer than two numbers"}
	}
	return pair[0], pair[1], err
}

// checkSize checks that the range's length is that of type and shape.
func (i Info) checkSize() error {
	bits := i.Dtype.Bits()
	for _, d := range i.Shape {
		if d != 0 && bits > math.MaxInt64/d {
			return &Error{Tensor: i.Name, Defect: Overflow, Detail: fmt.Sprintf("%s %v", i.Dtype, i.Shape)}
		}
		bits *= d
	}
	if bits%8 != 0 {
		return &Error{Tensor: i.Name, Defect: PartOfByte, Detail: fmt.Sprintf("%s %v", i.Dtype, i.Shape)}
	}
	if i.end < i.begin {
		return &Error{Tensor: i.Name, Defect: BackwardOffsets, Detail: fmt.Sprintf("[%d, %d]", i.begin, i.end)}
	}
	if i.end-i.begin != bits/8 {
		return &Error{Tensor: i.Name, Defect: WrongSize,
			Detail: fmt.Sprintf("%s %v takes %d bytes, [%d, %d] has %d", i.Dtype, i.Shape, bits/8, i.begin, i.end, i.end-i.begin)}
	}
	return nil
}

// checkRanges sorts the tensors by offset and checks that they cover the data
// exactly, end to end.
func (h *header) checkRanges(dataSize int64) error {
	slices.SortStableFunc(h.tensors, func(a, b Info) int {
		return cmp.Or(cmp.Compare(a.begin, b.begin), cmp.Compare(a.end, b.end))
	})
	at := int64(0)
	for _, t := range h.tensors {
		switch {
		case t.begin > at:
			return &Error{Tensor: t.Name, Defect: Hole, Detail: fmt.Sprintf("%d bytes from %d on", t.begin-at, at)}
		case t.begin < at:
			return &Error{Tensor: t.Name, Defect: Overlap, Detail: fmt.Sprintf("it begins at %d, the one before ends at %d", t.begin, at)}
		case t.end > dataSize:
			return &Error{Tensor: t.Name, Defect: Truncated, Detail: fmt.Sprintf("the data ends at %d, the tensor at %d", dataSize, t.end)}
		}
		at = t.end
	}
	if at != dataSize {
		return &Error{Defect: TrailingBytes, Detail: fmt.Sprintf("%d bytes", dataSize-at)}
	}
	return nil
}

// syntaxError gives an error of strictjson its Defect; others stay as they are.
func syntaxError(tensor string, err error) error {
	var encoding *strictjson.EncodingError
	var twice *strictjson.DuplicateError
	var known *Error
	switch {
	case err == nil, errors.As(err, &known):
		return err
	case errors.As(err, &encoding):
		return &Error{Tensor: tensor, Defect: NotUTF8, Detail: fmt.Sprintf("header byte %d", encoding.Offset)}
	case errors.As(err, &twice):
		return &Error{Tensor: tensor, Defect: DuplicateKey, Detail: fmt.Sprintf("%q, header byte %d", twice.Key, twice.Offset)}
	}
	return &Error{Tensor: tensor, Defect: BadSyntax, Detail: "header " + err.Error()}
}
