package swarm

import (
	"bytes"
	"strings"
	"testing"

	"lockstep/hub"
	"lockstep/internal/merkle"
	"lockstep/model"
	"lockstep/stream/tokenizer"
)

func TestPublishedFilesAreTheSameFromEverybody(t *testing.T) {
	run, _ := testRun(t)
	c, _ := model.Builtin("nano")
	published := func() *Published {
		return &Published{
			Run: run, Tokenizer: tokenizer.Nano(), Parameters: model.Initialise(c, 3),
			Epoch: 3, State: merkle.Digest{7}, Loss: 5.5, Tokens: 1000,
		}
	}
	repo, err := hub.CreateDirectory(t.TempDir() + "/repo")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		p := published()
		files, err := p.Files()
		if err != nil {
			t.Fatal(err)
		}
		pushed, err := hub.PushEpoch(t.Context(), repo, p.Epoch, files, p.Message(), pushBackoff)
		if err != nil || pushed.Existed != (i == 1) {
			t.Errorf("push %d: %+v, %v", i, pushed, err)
		}
	}
	var names []string
	files, _ := published().Files()
	for _, f := range files {
		names = append(names, f.Path)
		if f.Path == "README.md" {
			var b bytes.Buffer
			if err := f.Write(&b); err != nil || !strings.Contains(b.String(), run.Fingerprint().String()) {
				t.Errorf("the card does not name the run: %v", err)
			}
		}
	}
	for _, want := range []string{"config.json", "generation_config.json", "model.safetensors", "README.md", "tokenizer.json", "vocab.json", "merges.txt"} {
		if !strings.Contains(strings.Join(names, " "), want) {
			t.Errorf("%s is missing from %v", want, names)
		}
	}
	other := published()
	other.Parameters.Data[5]++
	changed, _ := other.Files()
	if _, err := hub.PushEpoch(t.Context(), repo, 3, changed, "x", pushBackoff); err == nil {
		t.Error("other weights pass as the same epoch")
	}
}

func TestDatasetsOfASource(t *testing.T) {
	for source, want := range map[string]string{
		"hf://datasets/HuggingFaceFW/fineweb@0123abcd/sample/350BT": "HuggingFaceFW/fineweb",
		"rows://HuggingFaceFW/fineweb/sample-350BT/train":           "HuggingFaceFW/fineweb",
		"builtin/1": "", "parquet": "", "hf://datasets/x": "",
	} {
		if got := strings.Join(datasetsOf(source), " "); got != want {
			t.Errorf("%s: %q, want %q", source, got, want)
		}
	}
}
