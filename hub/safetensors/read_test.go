package safetensors

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"lockstep/internal/fault"
)

// file puts a header in front of data, as they are.
func file(header string, data []byte) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(b, header...), data...)
}

func open(b []byte) (*File, error) { return Open(bytes.NewReader(b), int64(len(b)), "test") }

func mustOpen(t *testing.T, b []byte) *File {
	t.Helper()
	f, err := open(b)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestOpenReadsEveryLegalForm(t *testing.T) {
	data := make([]byte, 64)
	for _, c := range []struct {
		name, header string
		data         int
		tensors      []string
	}{
		{"nothing", `{}`, 0, nil},
		{"unpadded", `{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, 4, []string{"a"}},
		{"padded", `{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}   `, 4, []string{"a"}},
		{"scalar", `{"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}`, 4, []string{"a"}},
		{"empty tensors share a place", `{"b":{"dtype":"F32","shape":[0],"data_offsets":[4,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"c":{"dtype":"I64","shape":[3,0],"data_offsets":[0,0]}}`, 4, []string{"c", "a", "b"}},
		{"header order is not data order", `{"a":{"dtype":"U8","shape":[3],"data_offsets":[4,7]},"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, 7, []string{"b", "a"}},
		{"fields in any order, white space", "{ \"a\" :\n{\"data_offsets\":[0, 4],\t\"shape\":[ 1 ],\"dtype\":\"F32\"} }\n", 4, []string{"a"}},
		{"metadata last", `{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"__metadata__":{"format":"pt","x":""}}`, 4, []string{"a"}},
		{"sub-byte", `{"a":{"dtype":"F4","shape":[2,3],"data_offsets":[0,3]},"b":{"dtype":"F6_E2M3","shape":[4],"data_offsets":[3,6]}}`, 6, []string{"a", "b"}},
		{"escaped name", `{"\u0061\n":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, 4, []string{"a\n"}},
		{"empty name", `{"":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, 4, []string{""}},
	} {
		f, err := open(file(c.header, data[:c.data]))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		var names []string
		for _, info := range f.Tensors() {
			names = append(names, info.Name)
		}
		if !slices.Equal(names, c.tensors) {
			t.Errorf("%s: tensors %q, want %q", c.name, names, c.tensors)
		}
	}
}

var endless = strings.Repeat("é", 1<<20)

// attacks are files that must be refused, each for its own reason.
var attacks = []struct {
	name   string
	header string
	data   int
	want   Defect
	tensor string
}{
	{"empty header", ``, 0, BadSyntax, ""},
	{"white space first", ` {}`, 0, BadSyntax, ""},
	{"array", `[]`, 0, BadSyntax, ""},
	{"cut JSON", `{"a":{"dtype":"F32"`, 0, BadSyntax, "a"},
	{"text after", `{}x`, 0, BadSyntax, ""},
	{"NUL padding", "{}\x00", 0, BadSyntax, ""},
	{"second object", `{}{}`, 0, BadSyntax, ""},
	{"comment", `{/**/}`, 0, BadSyntax, ""},
	{"entry is a number", `{"a":1}`, 0, BadSyntax, "a"},
	{"entry is null", `{"a":null}`, 0, BadSyntax, "a"},
	{"endless name", `{"` + endless + `":{}}`, 0, MissingField, endless},
	{"endless field", `{"a":{"` + endless + `":1}}`, 0, UnknownField, "a"},
	{"deep nesting", `{"a":{"shape":` + strings.Repeat("[", 100_000), 0, BadSyntax, "a"},
	{"dtype is a number", `{"a":{"dtype":1,"shape":[1],"data_offsets":[0,4]}}`, 4, BadSyntax, "a"},
	{"fraction in shape", `{"a":{"dtype":"F32","shape":[1.0],"data_offsets":[0,4]}}`, 4, BadSyntax, "a"},
	{"negative axis", `{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}`, 4, BadSyntax, "a"},
	{"negative offset", `{"a":{"dtype":"F32","shape":[1],"data_offsets":[-4,0]}}`, 4, BadSyntax, "a"},
	{"huge axis", `{"a":{"dtype":"F32","shape":[18446744073709551617],"data_offsets":[0,4]}}`, 4, BadSyntax, "a"},
	{"one offset", `{"a":{"dtype":"F32","shape":[1],"data_offsets":[4]}}`, 4, BadSyntax, "a"},
	{"three offsets", `{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4,8]}}`, 4, BadSyntax, "a"},
	{"not UTF-8", "{\"\xff\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, NotUTF8, ""},
	{"overlong UTF-8", "{\"\xc0\xaf\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, NotUTF8, ""},
	{"tensor twice", `{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}`, 8, DuplicateKey, ""},
	{"tensor twice by escape", `{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"\u0061":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}`, 8, DuplicateKey, ""},
	{"field twice", `{"a":{"dtype":"F32","dtype":"F16","shape":[1],"data_offsets":[0,4]}}`, 4, DuplicateKey, "a"},
	{"metadata twice", `{"__metadata__":{},"__metadata__":{}}`, 0, DuplicateKey, ""},
	{"metadata key twice", `{"__metadata__":{"a":"1","a":"2"}}`, 0, DuplicateKey, "__metadata__"},
	{"metadata number", `{"__metadata__":{"a":1}}`, 0, BadSyntax, "__metadata__"},
	{"metadata nested", `{"__metadata__":{"a":{}}}`, 0, BadSyntax, "__metadata__"},
	{"metadata null", `{"__metadata__":null}`, 0, BadSyntax, "__metadata__"},
	{"unknown dtype", `{"a":{"dtype":"F128","shape":[1],"data_offsets":[0,16]}}`, 16, UnknownDtype, "a"},
	{"dtype in lower case", `{"a":{"dtype":"f32","shape":[1],"data_offsets":[0,4]}}`, 4, UnknownDtype, "a"},
	{"empty dtype", `{"a":{"dtype":"","shape":[1],"data_offsets":[0,4]}}`, 4, UnknownDtype, "a"},
	{"no dtype", `{"a":{"shape":[1],"data_offsets":[0,4]}}`, 4, MissingField, "a"},
	{"no shape", `{"a":{"dtype":"F32","data_offsets":[0,4]}}`, 4, MissingField, "a"},
	{"no offsets", `{"a":{"dtype":"F32","shape":[1]}}`, 4, MissingField, "a"},
	{"empty entry", `{"a":{}}`, 0, MissingField, "a"},
	{"another field", `{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"scale":2}}`, 4, UnknownField, "a"},
	{"too many axes", `{"a":{"dtype":"F32","shape":[` + strings.Repeat("1,", 64) + `1],"data_offsets":[0,4]}}`, 4, TooManyAxes, "a"},
	{"overflow of one axis", `{"a":{"dtype":"F32","shape":[9223372036854775807],"data_offsets":[0,4]}}`, 4, Overflow, "a"},
	{"overflow of the product", `{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}}`, 0, Overflow, "a"},
	{"overflow to zero", `{"a":{"dtype":"F64","shape":[2305843009213693952],"data_offsets":[0,0]}}`, 0, Overflow, "a"},
	{"half a byte", `{"a":{"dtype":"F4","shape":[3],"data_offsets":[0,2]}}`, 2, PartOfByte, "a"},
	{"backward", `{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}`, 4, BackwardOffsets, "a"},
	{"range too long", `{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,8]}}`, 8, WrongSize, "a"},
	{"range too short", `{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}`, 4, WrongSize, "a"},
	{"bytes for nothing", `{"a":{"dtype":"F32","shape":[0],"data_offsets":[0,4]}}`, 4, WrongSize, "a"},
	{"same bytes twice", `{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, 4, Overlap, "b"},
	{"partial overlap", `{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}`, 8, Overlap, "b"},
	{"empty tensor inside another", `{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[0],"data_offsets":[4,4]}}`, 8, Overlap, "b"},
	{"hole at the front", `{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}`, 8, Hole, "a"},
	{"hole in the middle", `{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[8,12]}}`, 12, Hole, "b"},
	{"offset far outside", `{"a":{"dtype":"F32","shape":[1],"data_offsets":[1000000000000,1000000000004]}}`, 4, Hole, "a"},
	{"offset at the end of int64", `{"a":{"dtype":"F32","shape":[1],"data_offsets":[9223372036854775803,9223372036854775807]}}`, 4, Hole, "a"},
	{"cut data", `{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}`, 11, Truncated, "b"},
	{"gigantic tensor", `{"a":{"dtype":"U8","shape":[1152921504606846975],"data_offsets":[0,1152921504606846975]}}`, 4, Truncated, "a"},
	{"trailing bytes", `{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, 5, TrailingBytes, ""},
	{"data without tensors", `{}`, 1, TrailingBytes, ""},
}

func TestOpenRefusesAttacks(t *testing.T) {
	for _, c := range attacks {
		_, err := open(file(c.header, make([]byte, c.data)))
		var e *Error
		if !errors.Is(err, c.want) || !errors.As(err, &e) || e.Tensor != c.tensor {
			t.Errorf("%s: got %.1000v; want %q of tensor %.100q", c.name, err, c.want, c.tensor)
			continue
		}
		if fault.KindOf(err) != fault.Damaged || e.File != "test" || !strings.Contains(err.Error(), "; ") || len(err.Error()) > 1000 || !utf8.ValidString(err.Error()) {
			t.Errorf("%s: %.1000v: no kind, file or remedy, or too long", c.name, err)
		}
	}
}

func TestOpenRefusesBadFrames(t *testing.T) {
	legal := file(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, make([]byte, 4))
	for cut := range legal {
		if _, err := open(legal[:cut]); fault.KindOf(err) != fault.Damaged {
			t.Errorf("cut to %d bytes: got %v", cut, err)
		}
	}
	for _, c := range []struct {
		name string
		file string
		want Defect
		says string
	}{
		{"nothing", "", TooShort, "0 bytes"},
		{"seven bytes", "1234567", TooShort, "7 bytes"},
		{"length above the cap", "\x41\x78\x7d\x01\x00\x00\x00\x00", HeaderTooLarge, "25000001"},
		{"length of all ones", "\xff\xff\xff\xff\xff\xff\xff\xff", HeaderTooLarge, "18446744073709551615"},
		{"length of 2^63", "\x00\x00\x00\x00\x00\x00\x00\x80", HeaderTooLarge, ""},
		{"LFS pointer", "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", HeaderTooLarge, "LFS"},
		{"web page", "<!DOCTYPE html><html>", HeaderTooLarge, "web page"},
		{"pickle in a ZIP", "PK\x03\x04\x00\x00\x08\x08", HeaderTooLarge, "ZIP"},
		{"header longer than the file", "\x10\x00\x00\x00\x00\x00\x00\x00{}", HeaderCut, "16 bytes"},
	} {
		_, err := open([]byte(c.file))
		if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: got %v; want %q with %q", c.name, err, c.want, c.says)
		}
	}
}

// TestOpenAllocatesNothingForClaims feeds headers that promise gigabytes.
func TestOpenAllocatesNothingForClaims(t *testing.T) {
	b := file(`{"a":{"dtype":"U8","shape":[1152921504606846975],"data_offsets":[0,1152921504606846975]}}`, nil)
	long := binary.LittleEndian.AppendUint64(nil, MaxHeader)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 100 {
		if _, err := open(b); !errors.Is(err, Truncated) {
			t.Fatal(err)
		}
		if _, err := open(long); !errors.Is(err, HeaderCut) {
			t.Fatal(err)
		}
	}
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > 10<<20 {
		t.Fatalf("200 refusals allocated %d bytes", got)
	}
}

func TestEveryDefectHasWords(t *testing.T) {
	for d := TooShort; int(d) < len(defects); d++ {
		if defects[d].what == "" || defects[d].remedy == "" {
			t.Errorf("defect %d has no words", d)
		}
	}
	if got := Defect(200).Error(); got != "defect(200)" {
		t.Error(got)
	}
}

func TestMetadataIsACopy(t *testing.T) {
	f := mustOpen(t, file(`{"__metadata__":{"format":"pt","a":"é"}}`, nil))
	m := f.Metadata()
	if !reflect.DeepEqual(m, map[string]string{"format": "pt", "a": "é"}) {
		t.Fatal(m)
	}
	m["a"] = "changed"
	if f.Metadata()["a"] != "é" {
		t.Fatal("the caller's copy is the file's own")
	}
}

func TestReadChecksBeforeItReads(t *testing.T) {
	f := mustOpen(t, file(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"i":{"dtype":"I32","shape":[1],"data_offsets":[8,12]}}`,
		[]byte{0, 0, 128, 63, 0, 0, 0, 64, 1, 0, 0, 0}))
	first := Tensor{Name: "a", Shape: []int{2}, Data: make([]float32, 2)}
	for _, c := range []struct {
		name string
		t    Tensor
		want Defect
	}{
		{"missing", Tensor{Name: "b", Shape: []int{2}, Data: make([]float32, 2)}, Missing},
		{"other length", Tensor{Name: "a", Shape: []int{3}, Data: make([]float32, 3)}, WrongShape},
		{"other rank", Tensor{Name: "a", Shape: []int{1, 2}, Data: make([]float32, 2)}, WrongShape},
		{"not a float", Tensor{Name: "i", Shape: []int{1}, Data: make([]float32, 1)}, NotReadable},
	} {
		err := f.Read(context.Background(), first, c.t)
		if !errors.Is(err, c.want) || fault.KindOf(err) != fault.Damaged {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
		if first.Data[0] != 0 {
			t.Errorf("%s: the first tensor was read before the second was checked", c.name)
		}
	}
	if err := f.Read(context.Background(), Tensor{Name: "a", Shape: []int{2}, Data: make([]float32, 1)}); err == nil {
		t.Error("a destination that is too short was accepted")
	}
	if err := f.Read(context.Background(), first); err != nil || first.Data[0] != 1 || first.Data[1] != 2 {
		t.Errorf("got %v, %v", first.Data, err)
	}
}

// shrinking is a file that loses its tail after it was opened.
type shrinking struct {
	io.ReaderAt
	left int64
}

func (s *shrinking) ReadAt(p []byte, at int64) (int, error) {
	if at+int64(len(p)) > s.left {
		n, _ := s.ReaderAt.ReadAt(p[:max(0, min(int64(len(p)), s.left-at))], at)
		return n, io.EOF
	}
	return s.ReaderAt.ReadAt(p, at)
}

func TestReadReportsWhatHappensUnderneath(t *testing.T) {
	b := file(`{"a":{"dtype":"F16","shape":[40000],"data_offsets":[0,80000]}}`, make([]byte, 80000))
	source := &shrinking{bytes.NewReader(b), int64(len(b))}
	f, err := Open(source, int64(len(b)), "test")
	if err != nil {
		t.Fatal(err)
	}
	dst := Tensor{Name: "a", Shape: []int{40000}, Data: make([]float32, 40000)}
	source.left = 70000
	if err := f.Read(context.Background(), dst); !errors.Is(err, Truncated) {
		t.Errorf("a file that shrank: got %v", err)
	}
	closed, err := os.Create(filepath.Join(t.TempDir(), "closed"))
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	if _, err := Open(closed, 100, "test"); !errors.Is(err, os.ErrClosed) {
		t.Errorf("a closed file: got %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	source.left = int64(len(b))
	if err := f.Read(ctx, dst); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: got %v", err)
	}
}
