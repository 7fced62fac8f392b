package spec

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"lockstep/internal/fault"
	"lockstep/internal/merkle"
	"lockstep/internal/signed"
)

func sample() Run {
	return Run{
		Format: Format, Contract: merkle.Contract, Codec: "f32",
		Model: Model{
			Name: "nano", Layers: 2, Heads: 2, Embd: 32, Inner: 128, Positions: 32, Vocab: 512,
			LayerNormEpsilon: 1e-5, Activation: "gelu_new",
		},
		Init:      Init{Kind: "seed"},
		Tokenizer: Tokenizer{Name: "nano", Digest: merkle.Digest{1}},
		Data:      Data{Source: "builtin/1", Identity: merkle.Digest{2}, Rows: 1 << 20},
		Assignment: Assignment{
			Seed: 1, Slots: 8, SegmentsPerMiner: 1, SegmentRows: 100, SeqLen: 32, Sequences: 8,
			Quotas: []Quota{{UID: 1, Sequences: 4}},
		},
		Optimizer: Optimizer{
			LearningRate: 1e-3, Beta1: 0.9, Beta2: 0.95, Epsilon: 1e-8, WeightDecay: 0.1, ClipNorm: 1,
		},
	}
}

// leafFields lists every field of a Run that is not itself a struct.
func leafFields(v reflect.Value, visit func(reflect.Value)) {
	for i := range v.NumField() {
		if f := v.Field(i); f.Kind() == reflect.Struct {
			leafFields(f, visit)
		} else {
			visit(f)
		}
	}
}

// change gives a field another value.
func change(f reflect.Value) {
	switch f.Kind() {
	case reflect.String:
		f.SetString(f.String() + "x")
	case reflect.Uint32, reflect.Uint64:
		f.SetUint(f.Uint() + 1)
	case reflect.Float64:
		f.SetFloat(f.Float() + 0.5)
	case reflect.Array:
		f.Index(0).SetUint(f.Index(0).Uint() + 1)
	case reflect.Slice:
		f.Set(reflect.ValueOf([]Quota{{UID: 3, Sequences: 9}}))
	default:
		panic("unknown kind " + f.Kind().String())
	}
}

func TestEveryFieldIsInTheFingerprint(t *testing.T) {
	base := sample()
	count := 0
	leafFields(reflect.ValueOf(base), func(reflect.Value) { count++ })
	for i := range count {
		other := sample()
		n := 0
		leafFields(reflect.ValueOf(&other).Elem(), func(f reflect.Value) {
			if n == i {
				change(f)
			}
			n++
		})
		d := Diff(&base, &other)
		if len(d) != 1 {
			t.Fatalf("field %d changed: Diff finds %v", i, d)
		}
		if base.Fingerprint() == other.Fingerprint() {
			t.Errorf("%s is not in the fingerprint", d[0].Field)
		}
	}
}

func TestRoundTrip(t *testing.T) {
	want := sample()
	b, err := signed.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got Run
	if err := signed.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	if d := Diff(&want, &got); len(d) > 0 {
		t.Errorf("changed on the way: %v", d)
	}
	if got.Fingerprint() != want.Fingerprint() {
		t.Error("fingerprint changed on the way")
	}
}

func TestValidate(t *testing.T) {
	good := sample()
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	const base = "owner@0123456789abcdef0123456789abcdef01234567"
	weights := func(r *Run) { r.Init = Init{Kind: "weights", Parameters: merkle.Digest{4}} }
	tests := map[string]func(*Run){
		"format":                  func(r *Run) { r.Format = "lockstep-run-2" },
		"contract":                func(r *Run) { r.Contract = "" },
		"init.parameters":         func(r *Run) { r.Init.Kind = "weights" },
		"init.base_model must":    func(r *Run) { r.Init.BaseModel = base },
		"init.base_model":         func(r *Run) { weights(r); r.Init.BaseModel = "owner/name@main" },
		"Hub id with a commit":    func(r *Run) { weights(r); r.Init.BaseModel = "owner/na\nme" + base[5:] },
		"assignment.slots":        func(r *Run) { r.Assignment.Slots = MaxSlots + 1 },
		"assignment.seq_len":      func(r *Run) { r.Assignment.SeqLen = 33 },
		"assignment.claim_every":  func(r *Run) { r.Assignment.ClaimEvery = 1 },
		"assignment.quotas":       func(r *Run) { r.Assignment.Quotas = []Quota{{8, 1}} },
		"optimizer.learning_rate": func(r *Run) { r.Optimizer.MinRate = 1 },
		"optimizer.beta1":         func(r *Run) { r.Optimizer.Beta2 = 1 },
		"model has":               func(r *Run) { r.Model.Vocab = 0 },
	}
	for field, spoil := range tests {
		r := sample()
		spoil(&r)
		err := r.Validate()
		if fault.KindOf(err) != fault.Config || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: got %v", field, err)
		}
	}
}

// TestBaseModelIsLeftOutWhereThereIsNone: specs without it keep the bytes, and so
// the fingerprint, that they had before there was the field.
func TestBaseModelIsLeftOutWhereThereIsNone(t *testing.T) {
	r := sample()
	without := r.Fingerprint()
	if got := without.String(); got != "dfbf3555accc3247d84b52b3cef0302c0ea587d1baf266550f97328e0a28a488" {
		t.Errorf("the fingerprint of a run without a base model is %s", got)
	}
	r.Init = Init{Kind: "weights", Parameters: merkle.Digest{4}}
	r.Init.BaseModel = "distilbert/distilgpt2@0123456789abcdef0123456789abcdef01234567"
	if err := r.Validate(); err != nil {
		t.Error(err)
	}
	text, err := json.Marshal(sample())
	if err != nil || strings.Contains(string(text), "base_model") {
		t.Errorf("%s, %v", text, err)
	}
	b, err := signed.Marshal(r)
	var back Run
	if err == nil {
		err = signed.Unmarshal(b, &back)
	}
	if err != nil || back.Fingerprint() != r.Fingerprint() || back.Init != r.Init {
		t.Errorf("%+v came back as %+v, %v", r.Init, back.Init, err)
	}
}

func TestQuotaOf(t *testing.T) {
	r := sample()
	if r.QuotaOf(0) != 8 || r.QuotaOf(1) != 4 {
		t.Errorf("quotas %d, %d", r.QuotaOf(0), r.QuotaOf(1))
	}
}

func TestDifferenceReadsWell(t *testing.T) {
	a, b := sample(), sample()
	b.Assignment.Seed = 9
	if got := Diff(&a, &b)[0].String(); got != "assignment.seed is 1 here, 9 there" {
		t.Error(got)
	}
}
