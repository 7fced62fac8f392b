package hub

import (
	"bytes"
	"strings"
	"testing"

	"lockstep/internal/merkle"
)

var cardInfo = CardInfo{
	Name: "distilgpt2", BaseModel: "distilbert/distilgpt2", BaseCommit: "2290a62682d06624634c1f46a6ad5be0f47f38aa", Initial: merkle.Digest{4},
	Dataset: "HuggingFaceFW/fineweb", DatasetRevision: "9bb295ddab0e05d785b879661af7260fed5140fc", Members: 3,
	Epoch: 12, Loss: 3.25, Tokens: 123456, Fingerprint: merkle.Digest{1}, Parameters: merkle.Digest{5}, StateRoot: merkle.Digest{2},
	DataSource: "hf://datasets/HuggingFaceFW/fineweb", DataIdentity: merkle.Digest{3},
	Checks: []Check{{"The weights:", "sh", []string{"lockstep eval --model REPOSITORY@12", "second"}}, {"Settings:", "yaml", []string{"a: 1"}}},
}

func TestCard(t *testing.T) {
	got := string(Card(cardInfo))
	for _, want := range []string{
		"---\nbase_model: \"distilbert/distilgpt2\"\ndatasets:\n- \"HuggingFaceFW/fineweb\"\nlibrary_name: transformers\npipeline_tag: text-generation\ntags:\n- gpt2\n- lockstep\n- decentralized-training\n---\n\n# distilgpt2, epoch 12\n",
		"in this epoch 3 miners computed gradients", "| epoch | 12 |\n", "| 3.250000 |\n", "| 123456 |\n",
		"| base model | `distilbert/distilgpt2` |\n| commit of the base model | `2290a62682d06624634c1f46a6ad5be0f47f38aa` |\n| began with | given weights, root `0400",
		"| run fingerprint | `0100", "| root of the parameters | `0500", "| state root after this epoch | `0200",
		"| dataset | `HuggingFaceFW/fineweb` |\n| revision of the dataset | `9bb295ddab0e05d785b879661af7260fed5140fc` |\n",
		"| text | `hf://datasets/HuggingFaceFW/fineweb` |", "| identity of the text | `0300",
		"\nThe weights:\n\n```sh\nlockstep eval --model REPOSITORY@12\nsecond\n```\n\nSettings:\n\n```yaml\na: 1\n```\n", `revision="12"`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("the card lacks %q", want)
		}
	}
	if again := Card(cardInfo); string(again) != got {
		t.Error("equal info, other bytes")
	}
	plain := CardInfo{Name: "nano", Epoch: 1}
	got = string(Card(plain))
	for _, unwanted := range []string{"base_model", "base model", "dataset", "decentralized", "miner", "validator", "check it"} {
		if strings.Contains(got, unwanted) {
			t.Errorf("a card without it has %q", unwanted)
		}
	}
	for _, want := range []string{"in one process", "random weights"} {
		if !strings.Contains(got, want) {
			t.Errorf("the card of a run in one process lacks %q", want)
		}
	}
	plain.Members, plain.Dataset = 1, "a/b"
	got = string(Card(plain))
	for _, want := range []string{"one miner computed a gradient", "| revision of the dataset | not in its name"} {
		if !strings.Contains(got, want) {
			t.Errorf("the card of one miner on a dataset that is not pinned lacks %q", want)
		}
	}
}

// TestCardResistsItsFields: names come from command lines and other people.
func TestCardResistsItsFields(t *testing.T) {
	evil := cardInfo
	evil.BaseModel = "x\"\n---\n# gotcha"
	evil.BaseCommit = "`|\n"
	evil.Dataset, evil.DatasetRevision = "a: b\n- c", "\xff\u2028"
	evil.DataSource = "`|\n| x | y |\r\n```"
	evil.Checks = []Check{{"fine", "sh", []string{"```\n# gotcha"}}}
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
