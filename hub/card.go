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
	Name            string        // of the model's configuration, such as "distilgpt2"
	BaseModel       string        // Hub id of the weights the run began with, "" if it did not begin with a Hub's
	BaseCommit      string        // of BaseModel
	Initial         merkle.Digest // root of the weights the run began with; zero if they are random
	Dataset         string        // Hub id of the text, "" if it is no dataset of a Hub
	DatasetRevision string        // commit of Dataset, "" if it is not pinned to one
	Members         int           // miners whose gradients were averaged in this epoch; 0: one process without a network
	Epoch           uint64
	Loss            float64 // token mean of the group, before this epoch's step
	Tokens          uint64  // seen by the whole run so far
	Fingerprint     merkle.Digest
	Parameters      merkle.Digest // root of the parameters, which the files hold
	StateRoot       merkle.Digest // over those and the optimizer's moments
	DataSource      string
	DataIdentity    merkle.Digest
	Checks          []Check
}

// Check is one way to check an epoch: what it shows, and the lines of it.
type Check struct {
	Text     string
	Language string // of Lines, as Markdown names it: "sh"
	Lines    []string
}

// Card returns README.md: the YAML that the Hub reads, then the facts by which
// anyone can check the model. Equal info gives equal bytes.
func Card(c CardInfo) []byte {
	var b strings.Builder
	b.WriteString("---\n")
	if c.BaseModel != "" {
		fmt.Fprintf(&b, "base_model: %s\n", yaml(c.BaseModel))
	}
	if c.Dataset != "" {
		fmt.Fprintf(&b, "datasets:\n- %s\n", yaml(c.Dataset))
	}
	b.WriteString("library_name: transformers\npipeline_tag: text-generation\ntags:\n- gpt2\n- lockstep\n")
	if c.Members > 0 {
		b.WriteString("- decentralized-training\n")
	}
	b.WriteString("---\n\n")
	fmt.Fprintf(&b, "# %s, epoch %d\n\n%s\n\n", plain(c.Name), c.Epoch, c.origin())
	c.facts(&b)
	c.checks(&b)
	fmt.Fprintf(&b, "\n## How to use it\n\n```python\nfrom transformers import AutoModelForCausalLM, AutoTokenizer\n"+
		"model = AutoModelForCausalLM.from_pretrained(REPOSITORY, revision=\"%d\")\n"+
		"tokenizer = AutoTokenizer.from_pretrained(REPOSITORY, revision=\"%d\")\n```\n", c.Epoch, c.Epoch)
	return []byte(b.String())
}

// origin says who computed the model and who looked on.
func (c CardInfo) origin() string {
	const again = " Anyone who has the text, and the weights that the run began with, can do it again and get the same bytes."
	switch c.Members {
	case 0:
		return "Trained by lockstep in one process, a group of one: there was no network, and nobody else recomputed a gradient." + again
	case 1:
		return "Trained by a lockstep network: in this epoch one miner computed a gradient on its own segments of the text, and a validator\n" +
			"recomputed it bit for bit." + again
	}
	return fmt.Sprintf("Trained by a lockstep network: in this epoch %d miners computed gradients on their own segments of the text, a validator recomputed\n"+
		"them bit for bit, and an all-reduce averaged exactly those gradients.%s", c.Members, again)
}

func (c CardInfo) facts(b *strings.Builder) {
	row := func(fact, value string) { fmt.Fprintf(b, "| %s | %s |\n", fact, value) }
	row("fact", "value")
	row("---", "---")
	row("epoch", strconv.FormatUint(c.Epoch, 10))
	row("loss before this epoch's step (mean over tokens)", strconv.FormatFloat(c.Loss, 'f', 6, 64))
	row("tokens so far", strconv.FormatUint(c.Tokens, 10))
	if c.BaseModel != "" {
		row("base model", code(c.BaseModel))
		row("commit of the base model", code(c.BaseCommit))
	}
	if c.Initial.IsZero() {
		row("began with", "random weights")
	} else {
		row("began with", "given weights, root "+code(c.Initial.String()))
	}
	row("run fingerprint", code(c.Fingerprint.String()))
	row("root of the parameters", code(c.Parameters.String()))
	row("state root after this epoch", code(c.StateRoot.String()))
	if c.Dataset != "" {
		revision := "not in its name; the identity of the text covers it"
		if c.DatasetRevision != "" {
			revision = code(c.DatasetRevision)
		}
		row("dataset", code(c.Dataset))
		row("revision of the dataset", revision)
	}
	row("text", code(c.DataSource))
	row("identity of the text", code(c.DataIdentity.String()))
}

func (c CardInfo) checks(b *strings.Builder) {
	if len(c.Checks) == 0 {
		return
	}
	b.WriteString("\n## How to check it\n\nREPOSITORY stands for the id of this repository, or for the folder that lockstep keeps it in.\n")
	for _, check := range c.Checks {
		fmt.Fprintf(b, "\n%s\n\n```%s\n", plain(check.Text), check.Language)
		for _, line := range check.Lines {
			b.WriteString(strings.ReplaceAll(plain(line), "```", "") + "\n")
		}
		b.WriteString("```\n")
	}
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
