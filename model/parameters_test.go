package model

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"math"
	"os"
	"slices"
	"sort"
	"strings"
	"testing"

	"lockstep/internal/fault"
	"lockstep/internal/testdata"
)

// stored is a checkpoint in memory.
type stored struct {
	names  []string
	shapes map[string][]int
	data   map[string][]float32
	broken string // a name whose Read fails
}

func (s *stored) Names() []string         { return s.names }
func (s *stored) Shape(name string) []int { return s.shapes[name] }

func (s *stored) Read(name string, dst []float32) error {
	if name == s.broken {
		return errors.New("short read")
	}
	copy(dst, s.data[name])
	return nil
}

func (s *stored) add(name string, shape []int, data []float32) {
	s.names = append(s.names, name)
	s.shapes[name], s.data[name] = shape, data
}

func (s *stored) remove(name string) {
	s.names = slices.DeleteFunc(s.names, func(n string) bool { return n == name })
}

// export is p as a checkpoint whose names have lost cut.
func export(p *Parameters, cut string) *stored {
	s := &stored{shapes: map[string][]int{}, data: map[string][]float32{}}
	for t, data := range p.Tensors() {
		s.add(strings.TrimPrefix(t.Name, cut), t.Shape, slices.Clone(data))
	}
	slices.Reverse(s.names) // no order is promised
	return s
}

func TestImport(t *testing.T) {
	c := small()
	p := Initialise(c, 5)
	wte := p.Layout.Tensors[0]
	for _, cut := range []string{"", "transformer."} {
		from := export(p, cut)
		prefix := strings.TrimPrefix("transformer.", cut)
		from.add(prefix+"h.0.attn.bias", []int{1, 1, 12, 12}, nil)
		from.add(prefix+"h.1.attn.masked_bias", []int{}, nil)
		from.add("lm_head.weight", wte.Shape, slices.Clone(p.Data[:wte.Size]))
		got, err := Import(c, from)
		if err != nil {
			t.Fatal(err)
		}
		equalBits(t, p.Layout, got.Data, p.Data)
	}
}

func TestImportRefuses(t *testing.T) {
	c := small()
	const bias = "transformer.h.1.attn.c_attn.bias"
	tests := []struct {
		name   string
		change func(s *stored)
		says   string
	}{
		{"missing", func(s *stored) { s.remove(bias) }, bias + " is missing"},
		{"shape", func(s *stored) { s.shapes[bias] = []int{44} }, bias + " has shape [44]"},
		{"transposed", func(s *stored) {
			s.shapes["transformer.h.0.mlp.c_fc.weight"] = []int{22, 15}
		}, "c_fc.weight has shape [22 15]"},
		{"unknown", func(s *stored) { s.add("transformer.h.2.ln_1.bias", []int{15}, nil) }, "h.2.ln_1.bias is not part"},
		{"mask of no block", func(s *stored) { s.add("transformer.h.x.attn.bias", nil, nil) }, "h.x.attn.bias is not part"},
		{"doubled", func(s *stored) { s.add("wpe.weight", []int{12, 15}, nil) }, "are the same"},
		{"unreadable", func(s *stored) { s.broken = bias }, bias + ": short read"},
		{"not finite", func(s *stored) { s.data[bias][3] = float32(math.NaN()) }, bias + ": element 3"},
		{"other head", func(s *stored) { s.add("lm_head.weight", []int{40, 15}, make([]float32, 600)) }, "lm_head.weight differs"},
		{"shape of head", func(s *stored) { s.add("lm_head.weight", []int{15, 40}, nil) }, "lm_head.weight has shape"},
		{"unreadable head", func(s *stored) {
			s.add("lm_head.weight", []int{40, 15}, nil)
			s.broken = "lm_head.weight"
		}, "lm_head.weight: short read"},
	}
	for _, tt := range tests {
		from := export(Initialise(c, 5), "")
		tt.change(from)
		_, err := Import(c, from)
		if fault.KindOf(err) != fault.Damaged || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	bad := c
	bad.Heads = 4
	if _, err := Import(bad, export(Initialise(c, 5), "")); fault.KindOf(err) != fault.Config {
		t.Errorf("bad config: %v", err)
	}
}

// TestPublishedCheckpoints loads files that transformers itself has saved, and
// trains on them.
func TestPublishedCheckpoints(t *testing.T) {
	for _, name := range []string{"tiny_gpt2", "fake_gpt2"} {
		text, err := os.ReadFile(testdata.Path(t, "gpt2_hf", name, "config.json"))
		if err != nil {
			t.Fatal(err)
		}
		c, err := LoadConfig(text)
		if err != nil {
			t.Fatal(err)
		}
		p, err := Import(c, readSafetensors(t, testdata.Path(t, "gpt2_hf", name, "model.safetensors")))
		if err != nil {
			t.Fatal(err)
		}
		batch := syntheticBatch(c, 2, 16, 0)
		tally, g := gradientOf(t, newModel(t, c), p, batch)
		o := newOracle(p)
		near(t, name+": loss", tally.Loss, o.run(batch), 8)
		// LayerNorm over two channels is ill-conditioned: it gives ±1 and amplifies.
		compare(t, p.Layout, name+": gradient", g, o.gradient(), 2000)
	}
}

// readSafetensors reads a small float32 file.
func readSafetensors(t *testing.T, path string) *stored {
	t.Helper()
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	n := binary.LittleEndian.Uint64(file)
	var header map[string]struct {
		Shape   []int  `json:"shape"`
		Offsets [2]int `json:"data_offsets"`
	}
	if err := json.Unmarshal(file[8:8+n], &header); err != nil {
		t.Fatal(err)
	}
	s := &stored{shapes: map[string][]int{}, data: map[string][]float32{}}
	for name, tensor := range header {
		if name == "__metadata__" {
			continue
		}
		raw := file[8+n:][tensor.Offsets[0]:tensor.Offsets[1]]
		data := make([]float32, len(raw)/4)
		for i := range data {
			data[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
		}
		s.add(name, tensor.Shape, data)
	}
	sort.Strings(s.names)
	return s
}
