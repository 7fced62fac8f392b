package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/x448/float16"

	"lockstep/hub"
	"lockstep/hub/client"
	"lockstep/hub/server"
	"lockstep/model"
)

// newEndpoint starts a Hub and points the environment to it, for both languages:
// the cache is named in full, since Python takes an empty name for the present
// folder.
func newEndpoint(t *testing.T) {
	t.Helper()
	s, err := server.New(t.TempDir(), server.Options{})
	if err != nil {
		t.Fatal(err)
	}
	h := httptest.NewServer(s)
	t.Cleanup(h.Close)
	home := t.TempDir()
	for name, value := range map[string]string{
		"HF_ENDPOINT": h.URL, "HF_TOKEN": s.WriteToken(), "HF_HOME": home, "HF_HUB_CACHE": filepath.Join(home, "hub"), "HF_HUB_OFFLINE": "", "TRANSFORMERS_OFFLINE": "",
	} {
		t.Setenv(name, value)
	}
}

// lockstep runs a command line and returns its JSON.
func lockstep(t *testing.T, into any, args ...string) {
	t.Helper()
	var out, errs bytes.Buffer
	if code := run(args, &out, &errs); code != 0 {
		t.Fatalf("lockstep %v: exit code %d\n%s", args, code, &errs)
	}
	if into == nil {
		return
	}
	if err := json.Unmarshal(out.Bytes(), into); err != nil {
		t.Fatalf("%v in %s", err, &out)
	}
}

// stored is one tensor as a test writes it.
type stored struct {
	name  string
	shape []int
	data  []float32
}

// encode writes safetensors by hand: in any of the types, with a header that is
// not padded, as the published distilgpt2 has it.
func encode(dtype string, tensors []stored) []byte {
	slices.SortFunc(tensors, func(a, b stored) int { return strings.Compare(a.name, b.name) })
	var data []byte
	header := `{"__metadata__":{"format":"pt"}`
	for _, t := range tensors {
		begin := len(data)
		for _, x := range t.data {
			switch dtype {
			case "F16":
				data = binary.LittleEndian.AppendUint16(data, float16.Fromfloat32(x).Bits())
			case "BF16":
				data = binary.LittleEndian.AppendUint16(data, uint16(math.Float32bits(x)>>16))
			case "F64":
				data = binary.LittleEndian.AppendUint64(data, math.Float64bits(float64(x)))
			default:
				data = binary.LittleEndian.AppendUint32(data, math.Float32bits(x))
			}
		}
		shape, _ := json.Marshal(t.shape)
		header += fmt.Sprintf(`,%q:{"dtype":%q,"shape":%s,"data_offsets":[%d,%d]}`, t.name, dtype, shape, begin, len(data))
	}
	header += "}"
	return slices.Concat(binary.LittleEndian.AppendUint64(nil, uint64(len(header))), []byte(header), data)
}

// nanoTensors are nano's initial weights, rounded so that a type loses nothing.
func nanoTensors(t *testing.T, round func(float32) float32) []stored {
	t.Helper()
	m, err := loadModel(context.Background(), "nano", 1)
	if err != nil {
		t.Fatal(err)
	}
	var out []stored
	for tensor, data := range m.weights.Tensors() {
		rounded := make([]float32, len(data))
		for i, x := range data {
			rounded[i] = round(x)
		}
		out = append(out, stored{tensor.Name, tensor.Shape, rounded})
	}
	return out
}

func folderOf(t *testing.T, files map[string][]byte) string {
	t.Helper()
	dir := t.TempDir()
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func nanoConfig() []byte {
	c, _ := model.Builtin("nano")
	return c.JSON()
}

// TestModelsOnAHub measures models fetched by Hub id, in every form in which
// weights are published, and compares with the same numbers in a folder.
func TestModelsOnAHub(t *testing.T) {
	newEndpoint(t)
	exact := func(x float32) float32 { return x }
	half := func(x float32) float32 { return float16.Fromfloat32(x).Float32() }
	brain := func(x float32) float32 { return math.Float32frombits(math.Float32bits(x) &^ 0xffff) }
	config, _ := model.Builtin("nano")
	masks := func(tensors []stored) []stored {
		n := config.Positions
		for i := range config.Layers {
			tensors = append(tensors, stored{fmt.Sprintf("transformer.h.%d.attn.bias", i), []int{1, 1, n, n}, make([]float32, n*n)},
				stored{fmt.Sprintf("transformer.h.%d.attn.masked_bias", i), []int{}, []float32{-1e9}})
		}
		return tensors
	}
	for name, c := range map[string]struct {
		round func(float32) float32
		files func(tensors []stored) map[string][]byte
	}{
		"masks": {exact, func(s []stored) map[string][]byte {
			return map[string][]byte{"model.safetensors": encode("F32", masks(s))}
		}},
		"no-prefix": {exact, func(s []stored) map[string][]byte {
			for i := range s {
				s[i].name = strings.TrimPrefix(s[i].name, "transformer.")
			}
			return map[string][]byte{"model.safetensors": encode("F32", s)}
		}},
		"f64":     {exact, func(s []stored) map[string][]byte { return map[string][]byte{"model.safetensors": encode("F64", s)} }},
		"f16":     {half, func(s []stored) map[string][]byte { return map[string][]byte{"model.safetensors": encode("F16", s)} }},
		"bf16":    {brain, func(s []stored) map[string][]byte { return map[string][]byte{"model.safetensors": encode("BF16", s)} }},
		"sharded": {exact, shards},
	} {
		t.Run(name, func(t *testing.T) {
			tensors := nanoTensors(t, c.round)
			plain := folderOf(t, map[string][]byte{"config.json": nanoConfig(), "model.safetensors": encode("F32", slices.Clone(tensors))})
			files := c.files(slices.Clone(tensors))
			files["config.json"] = nanoConfig()
			lockstep(t, nil, "hub", "push", folderOf(t, files), "org/"+name, "--tag", "v1")
			var want, got evaluation
			lockstep(t, &want, "eval", "--model", plain, "--sequences", "2", "--json")
			lockstep(t, &got, "eval", "--model", "org/"+name+"@v1", "--sequences", "2", "--json")
			if got.LossBits != want.LossBits || got.LossBits == "" {
				t.Errorf("from the Hub %s, from the folder %s", got.LossBits, want.LossBits)
			}
			var list listing
			lockstep(t, &list, "hub", "ls", "org/"+name, "--json")
			got = evaluation{}
			t.Setenv("HF_HUB_OFFLINE", "1")
			for _, revision := range []string{"v1", list.Commit} {
				lockstep(t, &got, "eval", "--model", "org/"+name+"@"+revision, "--sequences", "2", "--json")
				if got.LossBits != want.LossBits {
					t.Errorf("offline %s, from the folder %s", got.LossBits, want.LossBits)
				}
			}
		})
	}
}

// shards spreads tensors over three files and an index.
func shards(tensors []stored) map[string][]byte {
	files := map[string][]byte{}
	where := map[string]string{}
	for i := range 3 {
		var part []stored
		name := fmt.Sprintf("model-%05d-of-00003.safetensors", i+1)
		for j, s := range tensors {
			if j%3 == i {
				part = append(part, s)
				where[s.name] = name
			}
		}
		files[name] = encode("F32", part)
	}
	files["model.safetensors.index.json"], _ = json.Marshal(map[string]any{"metadata": map[string]any{"total_size": 1}, "weight_map": where})
	return files
}

// TestInitFromAHub starts runs from published weights: by id and from a folder
// they are the same run.
func TestInitFromAHub(t *testing.T) {
	newEndpoint(t)
	tensors := nanoTensors(t, func(x float32) float32 { return x / 2 })
	folder := folderOf(t, map[string][]byte{"config.json": nanoConfig(), "model.safetensors": encode("F32", tensors)})
	lockstep(t, nil, "hub", "push", folder, "distilbert/nano", "--tag", "v1")
	lockstep(t, nil, "hub", "push", folder, "distilbert/nano", "--tag", "v1") // again is no harm
	roots, runs := map[string]bool{}, map[string]bool{}
	for _, from := range []string{folder, "distilbert/nano", "distilbert/nano@v1"} {
		var r trained
		dir := filepath.Join(t.TempDir(), "run")
		lockstep(t, &r, "train", "--model", "nano", "--init", from, "--steps", "2", "--dir", dir, "--json")
		roots[r.StateRoot.String()] = true
		runs[r.Fingerprint.String()] = true
		if from != "distilbert/nano" {
			continue
		}
		// The branch moves on; the run stays at the commit that it began with.
		lockstep(t, nil, "hub", "push", folderOf(t, map[string][]byte{"NOTES.md": []byte("later")}), "distilbert/nano")
		lockstep(t, &r, "train", "--resume", "--steps", "3", "--dir", dir, "--json")
		if r.ResumedAt != 2 {
			t.Errorf("%+v", r)
		}
	}
	if len(runs) != 2 {
		t.Errorf("%d runs: one names its base model, the other began from a folder", len(runs))
	}
	if len(roots) != 1 {
		t.Errorf("one set of weights, %d state roots", len(roots))
	}
	pulled := filepath.Join(t.TempDir(), "pulled")
	lockstep(t, nil, "hub", "pull", "distilbert/nano@v1", "--to", pulled)
	for _, name := range []string{"config.json", "model.safetensors"} {
		want, _ := os.ReadFile(filepath.Join(folder, name))
		if got, err := os.ReadFile(filepath.Join(pulled, name)); err != nil || !bytes.Equal(got, want) || len(want) == 0 {
			t.Errorf("%s: %d bytes of %d, %v", name, len(got), len(want), err)
		}
	}
}

// TestHostileModelsOnAHub names models that must be refused.
func TestHostileModelsOnAHub(t *testing.T) {
	newEndpoint(t)
	good := nanoTensors(t, func(x float32) float32 { return x })
	for name, c := range map[string]struct {
		files map[string][]byte
		code  int
		says  string
	}{
		"no-config":  {map[string][]byte{"model.safetensors": encode("F32", good)}, 3, `no file "config.json"`},
		"pickle":     {map[string][]byte{"pytorch_model.bin": []byte("PK\x03\x04")}, 3, "other formats of weights are not read"},
		"pointer":    {map[string][]byte{"model.safetensors": []byte("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n")}, 5, "Git LFS pointer"},
		"cut":        {map[string][]byte{"model.safetensors": encode("F32", good)[:5000]}, 5, "ends"},
		"missing":    {map[string][]byte{"model.safetensors": encode("F32", good[1:])}, 5, "is missing"},
		"unknown":    {map[string][]byte{"model.safetensors": encode("F32", append(slices.Clone(good), stored{"evil", []int{1}, []float32{1}}))}, 5, "evil is not part of this model"},
		"traversal":  {map[string][]byte{"model.safetensors.index.json": []byte(`{"weight_map":{"a":"../../../../etc/passwd.safetensors"}}`)}, 5, "beside the index"},
		"not-finite": {map[string][]byte{"model.safetensors": encode("F32", nanoTensors(t, func(float32) float32 { return float32(math.NaN()) }))}, 5, "element 0 is NaN"},
	} {
		if name != "no-config" {
			c.files["config.json"] = nanoConfig()
		}
		lockstep(t, nil, "hub", "push", folderOf(t, c.files), "evil/"+name)
		var out, errs bytes.Buffer
		if code := run([]string{"eval", "--model", "evil/" + name}, &out, &errs); code != c.code || !strings.Contains(errs.String(), c.says) {
			t.Errorf("%s: exit code %d, want %d: %s", name, code, c.code, &errs)
		}
	}
}

// TestTransformersLoadsAPush trains, publishes the epochs on a Hub, and has
// transformers load one by its tag: its logits are ours within 1e-4 and its
// greedy text is ours.
func TestTransformersLoadsAPush(t *testing.T) {
	python := cmp.Or(os.Getenv("TEST_PYTHON"), "python3")
	if err := exec.Command(python, "-c", "import torch, transformers").Run(); err != nil {
		t.Skipf("skipped: %s has no torch and transformers; TEST_PYTHON may name one that has", python)
	}
	newEndpoint(t)
	dir := filepath.Join(t.TempDir(), "run")
	lockstep(t, nil, "train", "--model", "tiny", "--steps", "3", "--dir", dir, "--json")
	publish(t, filepath.Join(dir, "hub", "tiny"), "lockstep/tiny")
	const prompt, revision = "The sea", "2"
	m, err := loadModel(t.Context(), "lockstep/tiny@"+revision, 1)
	if err != nil {
		t.Fatal(err)
	}
	tokens := m.tokens.EncodeWithSpecial(prompt)
	logits, err := m.net.Logits(m.weights, tokens, 0)
	if err != nil {
		t.Fatal(err)
	}
	var generated generation
	lockstep(t, &generated, "generate", "--model", "lockstep/tiny@"+revision, "--prompt", prompt, "--temperature", "0", "--max-tokens", "20", "--json")
	reference, err := json.Marshal(map[string]any{"prompt": prompt, "tokens": tokens, "logits": logits, "text": generated.Text, "continued": generated.Tokens})
	if err != nil {
		t.Fatal(err)
	}
	expected := filepath.Join(t.TempDir(), "expected.json")
	if err := os.WriteFile(expected, reference, 0o644); err != nil {
		t.Fatal(err)
	}
	t.Setenv("HF_HUB_CACHE", t.TempDir()) // transformers fetches for itself
	cmd := exec.CommandContext(t.Context(), python, filepath.Join("testdata", "transformers_client.py"), "lockstep/tiny", revision, expected)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
}

// publish pushes the tagged epochs of a local repository to a Hub.
func publish(t *testing.T, folder, id string) {
	t.Helper()
	local, err := hub.OpenDirectory(folder)
	if err != nil {
		t.Fatal(err)
	}
	k, err := hubClient(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	remote, err := k.Repo(client.Model, id)
	if err == nil {
		err = remote.Create(t.Context(), false)
	}
	if err != nil {
		t.Fatal(err)
	}
	tags, err := local.Tags(t.Context())
	if err != nil || len(tags) == 0 {
		t.Fatalf("%d tags, %v", len(tags), err)
	}
	for _, tag := range tags {
		files, err := local.List(t.Context(), tag.Commit)
		if err != nil {
			t.Fatal(err)
		}
		var contents []hub.Content
		for _, f := range files {
			contents = append(contents, hub.Content{Path: f.Path, Size: f.Size, SHA256: f.SHA256, Write: func(w io.Writer) error {
				from, err := local.Open(t.Context(), tag.Commit, f.Path)
				if err != nil {
					return err
				}
				defer from.Close()
				_, err = io.Copy(w, from)
				return err
			}})
		}
		epoch, _ := hub.EpochOfTag(tag.Name)
		if _, err := hub.PushEpoch(t.Context(), remote, epoch, contents, "Epoch "+tag.Name, hub.Backoff{Attempts: 1, Sleep: hub.Sleep}); err != nil {
			t.Fatal(err)
		}
	}
}
