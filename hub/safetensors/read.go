package safetensors

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"unsafe"
)

// Tensor is a named array in the caller's memory: what an [Encoder] writes and
// where [File.Read] puts what it reads.
type Tensor struct {
	Name  string
	Shape []int     // empty for a scalar
	Data  []float32 // row-major, as many as the product of Shape
}

// File is an opened safetensors file. It is immutable and safe for concurrent
// use as far as its ReaderAt is.
type File struct {
	name     string
	source   io.ReaderAt
	dataAt   int64 // offset of the first tensor's first byte
	metadata map[string]string
	tensors  []Info
	index    map[string]int
}

// Open reads and checks the header of a file of size bytes. The name is used in
// errors only.
func Open(source io.ReaderAt, size int64, name string) (*File, error) {
	var prefix [8]byte
	if size < int64(len(prefix)) {
		return nil, &Error{File: name, Defect: TooShort, Detail: fmt.Sprintf("%d bytes", size)}
	}
	if err := readAt(source, prefix[:], 0, name, ""); err != nil {
		return nil, err
	}
	n := binary.LittleEndian.Uint64(prefix[:])
	if n > MaxHeader {
		return nil, &Error{File: name, Defect: HeaderTooLarge, Detail: guess(prefix, n)}
	}
	dataAt := int64(len(prefix)) + int64(n)
	if dataAt > size {
		return nil, &Error{File: name, Defect: HeaderCut, Detail: fmt.Sprintf("the header takes %d bytes, the file has %d behind its length", n, size-int64(len(prefix)))}
	}
	text := make([]byte, n)
	if err := readAt(source, text, int64(len(prefix)), name, ""); err != nil {
		return nil, err
	}
	h, err := parseHeader(text, size-dataAt)
	if err != nil {
		var e *Error
		if errors.As(err, &e) {
			e.File = name
		}
		return nil, err
	}
	f := &File{name: name, source: source, dataAt: dataAt, metadata: h.metadata, tensors: h.tensors, index: make(map[string]int, len(h.tensors))}
	for i, t := range h.tensors {
		f.index[t.Name] = i
	}
	return f, nil
}

// guess explains a header length above MaxHeader: most often the file is not
// what its name says.
func guess(prefix [8]byte, n uint64) string {
	switch {
	case string(prefix[:]) == "version ":
		return "it looks like a Git LFS pointer: the file itself was never fetched"
	case prefix[0] == '<':
		return "it looks like a web page"
	case string(prefix[:2]) == "PK":
		return "it looks like a ZIP archive, such as pytorch_model.bin"
	}
	return fmt.Sprintf("%d bytes, at most %d are read", n, MaxHeader)
}

// Metadata returns a copy of the __metadata__ strings; it is never nil.
func (f *File) Metadata() map[string]string {
	m := make(map[string]string, len(f.metadata))
	maps.Copy(m, f.metadata)
	return m
}

// Tensors lists the tensors in the order of their bytes.
func (f *File) Tensors() []Info { return slices.Clone(f.tensors) }

// Lookup finds a tensor by name.
func (f *File) Lookup(name string) (Info, bool) {
	i, ok := f.index[name]
	if !ok {
		return Info{}, false
	}
	return f.tensors[i], true
}

// Read fills the Data of each tensor from the file, converting to float32. The
// file must have a tensor of each name, with that shape and a readable type;
// this is checked for all before any is read. Memory must not overlap between
// tensors. After an error the contents of Data are unspecified.
//
// Pieces are read by as many goroutines as there are processors; which one reads
// what changes no bit.
func (f *File) Read(ctx context.Context, tensors ...Tensor) error {
	var pieces []piece
	for _, t := range tensors {
		info, err := f.match(t)
		if err != nil {
			return err
		}
		pieces = appendPieces(pieces, info, t.Data)
	}
	errs := make([]error, len(pieces))
	var next atomic.Int64
	var failed atomic.Bool
	worker := func() {
		var scratch []byte
		for {
			i := int(next.Add(1)) - 1
			if i >= len(pieces) || failed.Load() {
				return
			}
			if errs[i] = ctx.Err(); errs[i] == nil {
				scratch, errs[i] = f.readPiece(pieces[i], scratch)
			}
			if errs[i] != nil {
				failed.Store(true)
			}
		}
	}
	var wg sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(pieces)) - 1 {
		wg.Go(worker)
	}
	worker()
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// ReadRange fills dst with elements lo to lo+len(dst) of one tensor, seen as a
// flat array.
func (f *File) ReadRange(name string, lo int64, dst []float32) error {
	info, ok := f.Lookup(name)
	switch {
	case !ok:
		return &Error{File: f.name, Tensor: name, Defect: Missing, Detail: fmt.Sprintf("among %d tensors", len(f.tensors))}
	case !info.Dtype.Readable():
		return &Error{File: f.name, Tensor: name, Defect: NotReadable, Detail: info.Dtype.String()}
	case lo < 0 || lo > info.Elements()-int64(len(dst)):
		return fmt.Errorf("safetensors %s: tensor %q: elements %d to %d of %d", f.name, name, lo, lo+int64(len(dst)), info.Elements())
	}
	_, err := f.readPiece(piece{name, info.Dtype, info.begin + lo*(info.Dtype.Bits()/8), dst}, nil)
	return err
}

// match finds t in the file and checks that it can be read into t.
func (f *File) match(t Tensor) (Info, error) {
	info, ok := f.Lookup(t.Name)
	if !ok {
		return info, &Error{File: f.name, Tensor: t.Name, Defect: Missing, Detail: fmt.Sprintf("among %d tensors", len(f.tensors))}
	}
	if !slices.EqualFunc(info.Shape, t.Shape, func(a int64, b int) bool { return a == int64(b) }) {
		return info, &Error{File: f.name, Tensor: t.Name, Defect: WrongShape, Detail: fmt.Sprintf("the file has %v, expected %v", info.Shape, t.Shape)}
	}
	if !info.Dtype.Readable() {
		return info, &Error{File: f.name, Tensor: t.Name, Defect: NotReadable, Detail: info.Dtype.String()}
	}
	if info.Elements() != int64(len(t.Data)) {
		return info, fmt.Errorf("safetensors %s: tensor %q of shape %v cannot be read into %d elements", f.name, t.Name, t.Shape, len(t.Data))
	}
	return info, nil
}

// piece is a run of one tensor's elements, small enough to share the work.
type piece struct {
	name  string
	dtype Dtype
	at    int64 // bytes, from the end of the header
	dst   []float32
}

const (
	pieceElements   = 1 << 20 // 4 MiB of float32
	scratchElements = 1 << 14 // elements converted at a time: stays in the L2 cache
)

func appendPieces(pieces []piece, info Info, dst []float32) []piece {
	width := info.Dtype.Bits() / 8
	for lo := 0; lo < len(dst); lo += pieceElements {
		hi := min(lo+pieceElements, len(dst))
		pieces = append(pieces, piece{info.Name, info.Dtype, info.begin + int64(lo)*width, dst[lo:hi]})
	}
	return pieces
}

// readPiece reads F32 straight into its place and converts other types through
// scratch, which it returns for the next piece.
func (f *File) readPiece(p piece, scratch []byte) ([]byte, error) {
	at := f.dataAt + p.at
	if p.dtype == F32 {
		raw := bytesOf(p.dst)
		if err := readAt(f.source, raw, at, f.name, p.name); err != nil {
			return scratch, err
		}
		if !littleEndian {
			F32.decode(p.dst, raw) // in place: element i is read before it is written
		}
		return scratch, nil
	}
	width := int(p.dtype.Bits() / 8)
	if scratch == nil {
		scratch = make([]byte, 8*scratchElements)
	}
	for lo := 0; lo < len(p.dst); lo += scratchElements {
		dst := p.dst[lo:min(lo+scratchElements, len(p.dst))]
		raw := scratch[:len(dst)*width]
		if err := readAt(f.source, raw, at+int64(lo)*int64(width), f.name, p.name); err != nil {
			return scratch, err
		}
		p.dtype.decode(dst, raw)
	}
	return scratch, nil
}

// readAt fills buf. A file that has become shorter than it was is Truncated.
func readAt(source io.ReaderAt, buf []byte, at int64, name, tensor string) error {
	n, err := source.ReadAt(buf, at)
	if n == len(buf) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return &Error{File: name, Tensor: tensor, Defect: Truncated, Detail: fmt.Sprintf("%d of %d bytes at offset %d", n, len(buf), at)}
	}
	var path *os.PathError
	if errors.As(err, &path) {
		err = path.Err // name says it already
	}
	return fmt.Errorf("safetensors %s: reading %d bytes at offset %d: %w", name, len(buf), at, err)
}

var littleEndian = binary.NativeEndian.Uint16([]byte{1, 0}) == 1

// bytesOf returns the memory of x, in the machine's byte order.
func bytesOf(x []float32) []byte {
	if len(x) == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(&x[0])), 4*len(x))
}
