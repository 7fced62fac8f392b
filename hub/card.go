package hub

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"lockstep/hub/internal/strictjson"
	"lockstep/internal/merkle"
)

// CardInfo is what a model card says. All of it must be the same for every
// member of the network, or two pushers of one epoch would disagree.
type CardInfo struct {
	Name         string        // of the model's configuration, such as "distilgpt2"
	BaseModel    string        // Hub id of the weights the run began with, "" if not known
	Initial      merkle.Digest // root of those weights; zero if they are random
	Datasets     []string
	License      string // "" leaves it out
	Epoch        uint64
	Loss         float64 // token mean of the group, before this epoch's step
	Tokens       uint64  // seen by the whole run so far
	Fingerprint  merkle.Digest
	StateRoot    merkle.Digest
	DataSource   string
	DataIdentity merkle.Digest
	Verify       []string // commands that check this epoch
}

// Card returns README.md: the YAML that the Hub reads, then the facts by which
// anyone can check the model. Equal info gives equal bytes.
func Card(c CardInfo) []byte {
	var b strings.Builder
	b.WriteString("---\n")
	if c.BaseModel != "" {
		fmt.Fprintf(&b, "base_model: %s\n", yaml(c.BaseModel))
	}
	if len(c.Datasets) > 0 {
		b.WriteString("datasets:\n")
		for _, d := range c.Datasets {
			fmt.Fprintf(&b, "- %s\n", yaml(d))
		}
	}
	b.WriteString("language:\n- en\nlibrary_name: transformers\n")
	if c.License != "" {
		fmt.Fprintf(&b, "license: %s\n", yaml(c.License))
	}
	b.WriteString("pipeline_tag: text-generation\ntags:\n- gpt2\n- lockstep\n- decentralized-training\n---\n\n")
	c.body(&b)
	return []byte(b.String())
}

func (c CardInfo) body(b *strings.Builder) {
	fmt.Fprintf(b, "# %s, epoch %d\n\n", plain(c.Name), c.Epoch)
	b.WriteString("Trained by a lockstep network: several miners computed gradients on their own segments of the text, validators recomputed them\n" +
		"bit for bit, and an all-reduce averaged exactly those gradients. Anyone with the same text can do it again and get the same bytes.\n\n")
	start := "random weights"
	if !c.Initial.IsZero() {
		start = "given weights, root " + code(c.Initial.String())
	}
	if c.BaseModel != "" {
		start = code(c.BaseModel)
	}
	b.WriteString("| fact | value |\n| --- | --- |\n")
	for _, row := range [][2]string{
		{"epoch", strconv.FormatUint(c.Epoch, 10)},
		{"loss before this epoch's step (mean over tokens)", strconv.FormatFloat(c.Loss, 'f', 6, 64)},
		{"tokens so far", strconv.FormatUint(c.Tokens, 10)},
		{"began with", start},
		{"run fingerprint", code(c.Fingerprint.String())},
		{"state root after this epoch", code(c.StateRoot.String())},
		{"text", code(c.DataSource)},
		{"identity of the text", code(c.DataIdentity.String())},
	} {
		fmt.Fprintf(b, "| %s | %s |\n", row[0], row[1])
	}
	if len(c.Verify) > 0 {
		b.WriteString("\n## How to check it\n\n```sh\n")
		for _, line := range c.Verify {
			b.WriteString(strings.ReplaceAll(plain(line), "```", "") + "\n")
		}
		b.WriteString("```\n")
	}
	fmt.Fprintf(b, "\n## How to use it\n\n```python\nfrom transformers import AutoModelForCausalLM, AutoTokenizer\n"+
		"model = AutoModelForCausalLM.from_pretrained(REPOSITORY, revision=\"%d\")\n"+
		"tokenizer = AutoTokenizer.from_pretrained(REPOSITORY, revision=\"%d\")\n```\n", c.Epoch, c.Epoch)
}

// yaml quotes s for YAML, of which JSON strings are a part.
func yaml(s string) string { return string(strictjson.AppendText(nil, plain(s))) }

// plain keeps s on one line.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == 0x85 || r == 0x2028 || r == 0x2029 {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "\ufffd"))
}

// code shows s literally inside a table.
func code(s string) string {
	return "`" + strings.NewReplacer("`", "'", "|", "/").Replace(plain(s)) + "`"
}

// GenerationConfig returns generation_config.json as transformers writes it for
// the GPT-2 family, without the version of a library that was not involved.
func GenerationConfig(beginOfText, endOfText int32) []byte {
	b, _ := json.MarshalIndent(struct {
		FromModelConfig bool  `json:"_from_model_config"`
		BeginOfText     int32 `json:"bos_token_id"`
		EndOfText       int32 `json:"eos_token_id"`
	}{true, beginOfText, endOfText}, "", "  ") // a struct of numbers always encodes
	return append(b, '\n')
}
