package hub

import (
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"lockstep/internal/fault"
	"lockstep/model"
)

// publishedHeader is the header of distilbert/distilgpt2's model.safetensors as
// of commit 2290a626: the layout's tensors and a causal mask in every block, in
// order of their names, with no padding behind. It returns where each begins,
// counted from the file's start, and the size of the file.
func publishedHeader(l *model.Layout) (header string, begin map[string]int64, size int64) {
	tensors := slices.Clone(l.Tensors)
	for i := range 6 {
		tensors = append(tensors, model.Tensor{Name: fmt.Sprintf("transformer.h.%d.attn.bias", i), Shape: []int{1, 1, 1024, 1024}})
	}
	slices.SortFunc(tensors, func(a, b model.Tensor) int { return strings.Compare(a.Name, b.Name) })
	header = `{"__metadata__":{"format":"pt"}`
	begin = map[string]int64{}
	for _, t := range tensors {
		begin[t.Name] = size
		bytes := int64(4)
		for _, n := range t.Shape {
			bytes *= int64(n)
		}
		size += bytes
		shape := strings.ReplaceAll(strings.Trim(fmt.Sprint(t.Shape), "[]"), " ", ",")
		header += fmt.Sprintf(`,%q:{"dtype":"F32","shape":[%s],"data_offsets":[%d,%d]}`, t.Name, shape, begin[t.Name], size)
	}
	header += "}"
	start := int64(8 + len(header))
	for name := range begin {
		begin[name] += start
	}
	return header, begin, start + size
}

// TestPublishedDistilGPT2 opens a file with the header and the size of the
// published one, whose data is a hole but for one tensor. The header has an odd
// length, so that no number is aligned.
func TestPublishedDistilGPT2(t *testing.T) {
	config, _ := model.Builtin("distilgpt2")
	layout := model.NewLayout(config)
	header, begin, size := publishedHeader(layout)
	if len(header) != 8277 || size != 352_824_413 || len(begin) != 82 {
		t.Fatalf("made a header of %d bytes for %d tensors, a file of %d", len(header), len(begin), size)
	}
	dir := t.TempDir()
	f, err := os.Create(filepath.Join(dir, WeightsFile))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	write := func(b []byte, at int64) {
		if _, err := f.WriteAt(b, at); err != nil {
			t.Fatal(err)
		}
	}
	write(append(binary.LittleEndian.AppendUint64(nil, uint64(len(header))), header...), 0)
	const marked = "transformer.ln_f.bias"
	write(binary.LittleEndian.AppendUint32(nil, math.Float32bits(0.25)), begin[marked]+4*767)
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	w, err := OpenWeights(ctx, plainFolder(dir))
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	names := w.Names()
	if len(names) != 82 || !slices.IsSorted(names) {
		t.Errorf("%d names: %q", len(names), names)
	}
	for _, tensor := range layout.Tensors {
		if !slices.Equal(w.Shape(tensor.Name), tensor.Shape) {
			t.Errorf("%s has shape %v, want %v", tensor.Name, w.Shape(tensor.Name), tensor.Shape)
		}
	}
	for i := range 6 {
		if name := fmt.Sprintf("transformer.h.%d.attn.bias", i); !slices.Equal(w.Shape(name), []int{1, 1, 1024, 1024}) {
			t.Errorf("%s has shape %v", name, w.Shape(name))
		}
	}
	bias := make([]float32, 768)
	if err := w.Read(ctx, marked, bias); err != nil || bias[767] != 0.25 || bias[0] != 0 {
		t.Errorf("%s ends with %v, %v", marked, bias[767], err)
	}
	for _, wrong := range []int64{size - 1, size + 1} {
		if err := f.Truncate(wrong); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenWeights(ctx, plainFolder(dir)); fault.KindOf(err) != fault.Damaged {
			t.Errorf("a file of %d bytes: %v", wrong, err)
		}
	}
}
