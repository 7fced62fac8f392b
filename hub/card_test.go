package hub

import (
	"bytes"
	"strings"
	"testing"

	"lockstep/internal/merkle"
)

var cardInfo = CardInfo{
	Name: "distilgpt2", BaseModel: "distilbert/distilgpt2", Datasets: []string{"HuggingFaceFW/fineweb"}, License: "apache-2.0",
	Epoch: 12, Loss: 3.25, Tokens: 123456, Fingerprint: merkle.Digest{1}, StateRoot: merkle.Digest{2},
	DataSource: "../data/fineweb", DataIdentity: merkle.Digest{3}, Verify: []string{"lockstep verify evidence/12-0", "lockstep eval ./model@12"},
}

func TestCard(t *testing.T) {
	got := string(Card(cardInfo))
	for _, want := range []string{
		"---\nbase_model: \"distilbert/distilgpt2\"\ndatasets:\n- \"HuggingFaceFW/fineweb\"\nlanguage:\n- en\nlibrary_name: transformers\nlicense: \"apache-2.0\"\npipeline_tag: text-generation\ntags:\n- gpt2\n- lockstep\n- decentralized-training\n---\n\n# distilgpt2, epoch 12\n",
		"| epoch | 12 |\n", "| 3.250000 |\n", "| 123456 |\n", "| began with | `distilbert/distilgpt2` |",
		"| run fingerprint | `0100", "| state root after this epoch | `0200", "| text | `../data/fineweb` |", "| identity of the text | `0300",
		"```sh\nlockstep verify evidence/12-0\nlockstep eval ./model@12\n```\n", `revision="12"`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("the card lacks %q", want)
		}
	}
	if again := Card(cardInfo); string(again) != got {
		t.Error("equal info, other bytes")
	}
	plain := cardInfo
	plain.BaseModel, plain.License, plain.Datasets, plain.Verify = "", "", nil, nil
	got = string(Card(plain))
	for _, unwanted := range []string{"base_model", "license", "datasets", "check it"} {
		if strings.Contains(got, unwanted) {
			t.Errorf("a card without it has %q", unwanted)
		}
	}
	given := plain
	given.Initial = merkle.Digest{4}
	if !strings.Contains(string(Card(given)), "| began with | given weights, root `0400") {
		t.Error("a card takes given weights for random ones")
	}
	if !strings.Contains(got, "random weights") {
		t.Error("the card does not say that the weights were random")
	}
}

// TestCardResistsItsFields: names come from command lines and other people.
func TestCardResistsItsFields(t *testing.T) {
	evil := cardInfo
	evil.BaseModel = "x\"\n---\n# gotcha"
	evil.Datasets = []string{"a: b\n- c", "\xff\u2028"}
	evil.DataSource = "`|\n| x | y |\r\n```"
	evil.Verify = []string{"```\n# gotcha"}
	got := Card(evil)
	if n := bytes.Count(got, []byte("\n---\n")); n != 1 {
		t.Errorf("%d ends of the front matter", n)
	}
	if bytes.Contains(got, []byte("\n# gotcha")) || bytes.Count(got, []byte("```"))%2 != 0 || bytes.Contains(got, []byte("\r")) {
		t.Errorf("a field broke out of its place:\n%s", got)
	}
	for _, line := range strings.Split(string(got), "\n") {
		if strings.HasPrefix(line, "|") && strings.Count(line, "|") != 3 {
			t.Errorf("a field broke the table: %s", line)
		}
	}
}

func TestGenerationConfig(t *testing.T) {
	const want = "{\n  \"_from_model_config\": true,\n  \"bos_token_id\": 50256,\n  \"eos_token_id\": 50256\n}\n"
	if got := string(GenerationConfig(50256, 50256)); got != want {
		t.Errorf("got %q", got)
	}
}
