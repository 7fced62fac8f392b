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

// TestCardRepeatsOnlyWhatCanBeRepeated: a network on one machine has the miners 0
// and on, so it is no way to repeat an epoch of others.
func TestCardRepeatsOnlyWhatCanBeRepeated(t *testing.T) {
	run, _ := testRun(t)
	c, _ := model.Builtin("nano")
	for command, members := range map[string][]uint32{"lockstep train": nil, "lockstep swarm": {0, 1}, "": {1, 3}} {
		p := &Published{Run: run, Tokenizer: tokenizer.Nano(), Parameters: model.Initialise(c, 3), Epoch: 3, Members: members, Loss: 5.5}
		card := string(p.card())
		for _, other := range []string{"lockstep train", "lockstep swarm"} {
			if strings.Contains(card, other) != (other == command) {
				t.Errorf("members %v: %q in\n%s", members, other, card)
			}
		}
	}
}

func TestDatasetOfASource(t *testing.T) {
	for source, want := range map[string][2]string{
		"hf://datasets/HuggingFaceFW/fineweb@0123abcd/sample/350BT": {"HuggingFaceFW/fineweb", "0123abcd"},
		"rows://HuggingFaceFW/fineweb/sample-350BT/train":           {"HuggingFaceFW/fineweb", ""},
		"builtin/1": {}, "parquet": {}, "hf://datasets/x": {},
	} {
		if id, commit := datasetOf(source); id != want[0] || commit != want[1] {
			t.Errorf("%s: %q at %q, want %q", source, id, commit, want)
		}
	}
}
