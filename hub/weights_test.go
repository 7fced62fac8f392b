package hub

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"lockstep/internal/fault"
)

// tensorFile is a safetensors file of one-element F32 tensors, with a header as
// it is: no padding.
func tensorFile(names ...string) string {
	var header, data bytes.Buffer
	for i, name := range names {
		fmt.Fprintf(&header, `,%q:{"dtype":"F32","shape":[1],"data_offsets":[%d,%d]}`, name, 4*i, 4*i+4)
		binary.Write(&data, binary.LittleEndian, math.Float32bits(float32(i)+0.5))
	}
	text := "{" + strings.TrimPrefix(header.String(), ",") + "}"
	return string(binary.LittleEndian.AppendUint64(nil, uint64(len(text)))) + text + data.String()
}

func weightMap(pairs ...string) string {
	var b strings.Builder
	for i := 0; i < len(pairs); i += 2 {
		fmt.Fprintf(&b, ",%q:%q", pairs[i], pairs[i+1])
	}
	return `{"metadata":{"total_size":8,"x":[1.5e3,{"a":null}]},"weight_map":{` + strings.TrimPrefix(b.String(), ",") + `}}`
}

// snapshotOf commits files, given as path, text, and opens the commit.
func snapshotOf(t *testing.T, files ...string) Snapshot {
	t.Helper()
	d := newDirectory(t)
	var add []Content
	for i := 0; i < len(files); i += 2 {
		add = append(add, text(files[i], files[i+1]))
	}
	commit(t, d, "", "x", add...)
	s, err := OpenRevision(ctx, d, "model", "")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestOpenWeights(t *testing.T) {
	for name, s := range map[string]Snapshot{
		"one file":  snapshotOf(t, WeightsFile, tensorFile("a", "b", "c")),
		"two files": snapshotOf(t, indexFile, weightMap("c", "2.safetensors", "a", "1.safetensors", "b", "1.safetensors"), "1.safetensors", tensorFile("a", "b"), "2.safetensors", tensorFile("c")),
		// Where both are, the file counts, as it does for transformers.
		"a file and an index": snapshotOf(t, WeightsFile, tensorFile("a", "b", "c"), indexFile, "{}"),
	} {
		w, err := OpenWeights(ctx, s)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		names := slices.Sorted(slices.Values(w.Names()))
		x := make([]float32, 1)
		if err := w.Read(ctx, "b", x); err != nil || x[0] != 1.5 || !slices.Equal(names, []string{"a", "b", "c"}) || !slices.Equal(w.Shape("b"), []int{1}) {
			t.Errorf("%s: %v of %v, %v", name, x, names, err)
		}
		if err := w.Read(ctx, "d", x); !isNotFound(err) || w.Shape("d") != nil {
			t.Errorf("%s: a tensor that is not there: %v", name, err)
		}
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestOpenWeightsRefuses(t *testing.T) {
	two := []string{"1.safetensors", tensorFile("a", "b"), "2.safetensors", tensorFile("c")}
	for _, c := range []struct {
		name, says string
		files      []string
	}{
		{"nothing", "nor model.safetensors.index.json", []string{"pytorch_model.bin", "PK"}},
		{"a file that is not there", `no file "3.safetensors"`, append(two, indexFile, weightMap("a", "1.safetensors", "b", "3.safetensors"))},
		{"a tensor in another file", "holds tensor c, which the index does not say", append(two, indexFile, weightMap("a", "1.safetensors", "b", "1.safetensors", "c", "1.safetensors", "d", "2.safetensors"))},
		{"a tensor in no file", "promises tensor d", append(two, indexFile, weightMap("a", "1.safetensors", "b", "1.safetensors", "c", "2.safetensors", "d", "2.safetensors"))},
		{"a tensor not in the index", "which the index does not say", append(two, indexFile, weightMap("a", "1.safetensors", "c", "2.safetensors"))},
		{"a tensor in two files", "tensor c is in 2.safetensors and in 3.safetensors", append(two, "3.safetensors", tensorFile("c"), indexFile, weightMap("a", "1.safetensors", "b", "1.safetensors", "c", "2.safetensors", "d", "3.safetensors"))},
		{"a path out of the folder", "beside the index", []string{indexFile, weightMap("a", "../../x.safetensors")}},
		{"an absolute path", "beside the index", []string{indexFile, weightMap("a", "/x.safetensors")}},
		{"a path into a folder", "beside the index", []string{indexFile, weightMap("a", "x/y.safetensors")}},
		{"a pickle", "beside the index", []string{indexFile, weightMap("a", "pytorch_model.bin")}},
		{"a tensor twice", `"a" appears twice`, []string{indexFile, weightMap("a", "1.safetensors", "a", "2.safetensors")}},
		{"two maps", `"weight_map" appears twice`, []string{indexFile, `{"weight_map":{"a":"1.safetensors"},"weight_map":{}}`}},
		{"an empty map", "names no tensors", []string{indexFile, `{"weight_map":{}}`}},
		{"no map", "names no tensors", []string{indexFile, `{"metadata":{}}`}},
		{"no JSON", "expected an object", []string{indexFile, "[]"}},
		{"deep nesting", "nested too deep", []string{indexFile, `{"metadata":` + strings.Repeat("[", 100)}},
		{"a damaged file", "too short for a header", []string{WeightsFile, "short"}},
		{"a pointer", "Git LFS pointer", []string{WeightsFile, "version https://git-lfs.github.com/spec/v1\n"}},
		{"a hole", "belong to no tensor", []string{WeightsFile, string(binary.LittleEndian.AppendUint64(nil, 54)) + `{"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}} ` + "  "}},
	} {
		w, err := OpenWeights(ctx, snapshotOf(t, c.files...))
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, %v", c.name, w, err)
		}
		if kind := fault.KindOf(err); c.name != "nothing" && c.name != "a file that is not there" && kind != fault.Damaged {
			t.Errorf("%s: kind %v", c.name, kind)
		}
	}
}

// FuzzParseIndex checks that an accepted index names only files beside it.
func FuzzParseIndex(f *testing.F) {
	f.Add([]byte(weightMap("a", "1.safetensors", "b", "2.safetensors")))
	f.Add([]byte(`{"weight_map":{"\u0061":"x.safetensors"},"more":[true,-1.5e+3]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		x, err := parseIndex(data)
		if err != nil {
			return
		}
		if len(x.names) != len(x.in) || len(x.files) > len(x.names) || len(x.names) == 0 {
			t.Fatalf("%+v", x)
		}
		for _, file := range x.files {
			if CheckPath(file) != nil || strings.ContainsAny(file, `/\`) {
				t.Fatalf("the file %q", file)
			}
		}
	})
}
