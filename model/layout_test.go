package model

import (
	"strings"
	"testing"
)

// TestLayout compares the table with Hugging Face's names, order and shapes.
func TestLayout(t *testing.T) {
	c := small()
	c.Layers = 1
	want := []struct {
		name  string
		shape []int
		decay bool
	}{
		{"transformer.wte.weight", []int{40, 15}, true},
		{"transformer.wpe.weight", []int{12, 15}, true},
		{"transformer.h.0.ln_1.weight", []int{15}, false},
		{"transformer.h.0.ln_1.bias", []int{15}, false},
		{"transformer.h.0.attn.c_attn.weight", []int{15, 45}, true},
		{"transformer.h.0.attn.c_attn.bias", []int{45}, false},
		{"transformer.h.0.attn.c_proj.weight", []int{15, 15}, true},
		{"transformer.h.0.attn.c_proj.bias", []int{15}, false},
		{"transformer.h.0.ln_2.weight", []int{15}, false},
		{"transformer.h.0.ln_2.bias", []int{15}, false},
		{"transformer.h.0.mlp.c_fc.weight", []int{15, 22}, true},
		{"transformer.h.0.mlp.c_fc.bias", []int{22}, false},
		{"transformer.h.0.mlp.c_proj.weight", []int{22, 15}, true},
		{"transformer.h.0.mlp.c_proj.bias", []int{15}, false},
		{"transformer.ln_f.weight", []int{15}, false},
		{"transformer.ln_f.bias", []int{15}, false},
	}
	l := NewLayout(c)
	offset := 0
	for i, w := range want {
		got := l.Tensors[i]
		size := 1
		for _, n := range w.shape {
			size *= n
		}
		if got.Name != w.name || len(got.Shape) != len(w.shape) || got.Size != size || got.Offset != offset || got.Decay != w.decay {
			t.Errorf("tensor %d is %+v, want %+v at %d", i, got, w, offset)
		}
		for _, at := range []int{0, size - 1} {
			if tensor, inside := l.Place(offset + at); tensor.Name != w.name || inside != at {
				t.Errorf("Place(%d) = %s[%d], want %s[%d]", offset+at, tensor.Name, inside, w.name, at)
			}
		}
		offset += size
	}
	if len(l.Tensors) != len(want) || l.Elements != offset {
		t.Errorf("%d tensors of %d elements, want %d of %d", len(l.Tensors), l.Elements, len(want), offset)
	}
}

func TestSplitCoversEverything(t *testing.T) {
	l := NewLayout(small())
	x := make([]float32, l.Elements)
	for tensor, data := range l.Split(x) {
		if len(data) != tensor.Size || cap(data) != tensor.Size {
			t.Errorf("%s: %d elements, capacity %d, want %d", tensor.Name, len(data), cap(data), tensor.Size)
		}
		for i := range data {
			data[i]++
		}
	}
	for i, v := range x {
		if v != 1 {
			t.Fatalf("element %d was yielded %v times", i, v)
		}
	}
	for tensor := range l.Split(x) {
		if !strings.HasPrefix(tensor.Name, "transformer.wte") {
			t.Error("Split goes on after a break")
		}
		break
	}
}
