package main

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"lockstep/hub"
	"lockstep/internal/fault"
	"lockstep/internal/merkle"
	"lockstep/internal/spec"
)

// card is a model card as a stranger reads it.
type card struct {
	text  string
	front string            // between the lines of dashes
	facts map[string]string // rows of the table
	yaml  string            // run.yaml
	shell []string          // commands, in order
}

// cardOf reads the card of a stored model.
func cardOf(t *testing.T, name string) card {
	t.Helper()
	ref, err := hub.ParseModel(name)
	if err != nil {
		t.Fatal(err)
	}
	s, err := openSnapshot(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	f, err := s.Open(t.Context(), "README.md")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	text, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	c := card{text: string(text), facts: map[string]string{}}
	parts := strings.SplitN(c.text, "---\n", 3)
	if len(parts) != 3 || parts[0] != "" {
		t.Fatalf("no front matter in\n%s", text)
	}
	c.front = parts[1]
	language := ""
	for line := range strings.Lines(parts[2]) {
		switch fence, fenced := strings.CutPrefix(line, "```"); {
		case fenced:
			language = strings.TrimSpace(fence)
		case language == "yaml":
			c.yaml += line
		case language == "sh":
			c.shell = append(c.shell, strings.TrimSpace(line))
		}
		if cells := strings.Split(line, " | "); len(cells) == 2 && strings.HasPrefix(line, "| ") {
			c.facts[strings.TrimPrefix(cells[0], "| ")] = strings.Trim(cells[1], "`| \n")
		}
	}
	return c
}

// do runs the card's commands in an empty folder with run.yaml, with the given
// words in the place of those that only a person can know, and returns what each
// printed.
func (c card) do(t *testing.T, words ...string) []string {
	t.Helper()
	t.Chdir(t.TempDir())
	replace := strings.NewReplacer(words...)
	if err := os.WriteFile("run.yaml", []byte(replace.Replace(c.yaml)), 0o644); err != nil {
		t.Fatal(err)
	}
	var printed []string
	for _, line := range c.shell {
		var out, errs bytes.Buffer
		args := strings.Fields(replace.Replace(line))
		if code := run(args[1:], &out, &errs); code != 0 {
			t.Errorf("%s: exit code %d\n%s", line, code, &errs)
		}
		printed = append(printed, out.String())
	}
	return printed
}

// shows compares what the card's commands print with its table.
func (c card) shows(t *testing.T, printed []string, facts ...string) {
	t.Helper()
	if len(printed) < len(facts) {
		t.Fatalf("%d commands, want %d or more: %q", len(printed), len(facts), c.shell)
	}
	for i, fact := range facts {
		if want := c.facts[fact]; len(want) != 64 || !strings.Contains(printed[i], want) {
			t.Errorf("%s prints no %s %q:\n%s", c.shell[i], fact, want, printed[i])
		}
	}
}

// has compares facts of the card with what they must be.
func (c card) has(t *testing.T, want map[string]string) {
	t.Helper()
	for fact, value := range want {
		if c.facts[fact] != value {
			t.Errorf("the card says %q for %s, want %q", c.facts[fact], fact, value)
		}
	}
}

// trainFromAHub publishes a model, trains from it, and returns the commit that
// the model had.
func trainFromAHub(t *testing.T) (r trained, commit string) {
	t.Helper()
	commit = publishBase(t)
	lockstep(t, &r, "train", "--model", "nano", "--init", "distilbert/nano@v1", "--seed", "18446744073709551615", "--batch", "3", "--warmup", "1",
		"--decay-steps", "10", "--min-lr", "1e-7", "--steps", "2", "--dir", filepath.Join(t.TempDir(), "run"), "--json")
	return r, commit
}

// publishBase publishes a model as distilbert/nano@v1 and returns its commit.
func publishBase(t *testing.T) (commit string) {
	t.Helper()
	weights := encode("F32", nanoTensors(t, func(x float32) float32 { return x / 2 }))
	lockstep(t, nil, "hub", "push", folderOf(t, map[string][]byte{"config.json": nanoConfig(), "model.safetensors": weights}), "distilbert/nano", "--tag", "v1")
	var base listing
	lockstep(t, &base, "hub", "ls", "distilbert/nano@v1", "--json")
	return base.Commit
}

// TestCardOfARunInOneProcess trains from a model of a Hub, publishes the epochs
// there, and does all that the card says with nothing but that.
func TestCardOfARunInOneProcess(t *testing.T) {
	newEndpoint(t)
	r, commit := trainFromAHub(t)
	publish(t, r.Repository, "me/run")
	c := cardOf(t, "me/run@2")
	const front = "base_model: \"distilbert/nano\"\nlibrary_name: transformers\npipeline_tag: text-generation\ntags:\n- gpt2\n- lockstep\n"
	if c.front != front {
		t.Errorf("front matter\n%s", c.front)
	}
	c.has(t, map[string]string{
		"epoch": "2", "base model": "distilbert/nano", "commit of the base model": commit, "run fingerprint": r.Fingerprint.String(),
		"state root after this epoch": r.StateRoot.String(), "loss before this epoch's step (mean over tokens)": fmt.Sprintf("%.6f", r.Losses[1]),
		"tokens so far": fmt.Sprint(r.Tokens), "text": "builtin/1",
	})
	for _, untrue := range []string{"miner", "validator", "evidence", "decentralized"} {
		if strings.Contains(c.text, untrue) {
			t.Errorf("the card of a group of one speaks of %q", untrue)
		}
	}
	printed := c.do(t, "REPOSITORY", "me/run")
	c.shows(t, printed, "root of the parameters", "run fingerprint", "state root after this epoch")
	// The first epoch's files are not those of the second.
	if first := cardOf(t, "me/run@1"); strings.Contains(printed[0], first.facts["root of the parameters"]) {
		t.Error("two epochs have one root of parameters")
	}
}

// TestCardOfARunOnOnesOwnFiles: what is in folders of the operator has a name on
// the card that the reader must fill in.
func TestCardOfARunOnOnesOwnFiles(t *testing.T) {
	weights := encode("F32", nanoTensors(t, func(x float32) float32 { return x / 4 }))
	model := filepath.Join(t.TempDir(), "mine")
	if err := os.Rename(folderOf(t, map[string][]byte{"config.json": nanoConfig(), "model.safetensors": weights}), model); err != nil {
		t.Fatal(err)
	}
	text := folderOf(t, map[string][]byte{"a.txt": []byte(strings.Repeat("The sea is wide and the night is long.\n\n", 50))})
	var r trained
	lockstep(t, &r, "train", "--model", model, "--data", text, "--segment-rows", "10", "--seq-len", "16", "--batch", "2", "--steps", "2", "--dir", filepath.Join(t.TempDir(), "run"), "--json")
	c := cardOf(t, r.Repository+"@2")
	if strings.Contains(c.front, "base_model") || strings.Contains(c.front, "datasets") || !strings.HasPrefix(c.facts["began with"], "given weights, root") {
		t.Errorf("\n%s", c.text)
	}
	c.shows(t, c.do(t, "REPOSITORY", r.Repository, "TEXT", text, "WEIGHTS", model), "root of the parameters", "run fingerprint", "state root after this epoch")
}

// TestCardNamesTheDataset trains on a dataset of a Hub, by a tag of it.
func TestCardNamesTheDataset(t *testing.T) {
	mirror(t)
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	var text listing
	lockstep(t, &text, "hub", "ls", "datasets/HuggingFaceFW/fineweb@v1", "--json")
	var r trained
	lockstep(t, &r, "train", "--data", mirrored, "--segment-rows", "10", "--batch", "2", "--steps", "1", "--dir", filepath.Join(t.TempDir(), "run"), "--json")
	publish(t, r.Repository, "me/run")
	c := cardOf(t, "me/run@1")
	if !strings.HasPrefix(c.front, "datasets:\n- \"HuggingFaceFW/fineweb\"\n") {
		t.Errorf("front matter\n%s", c.front)
	}
	c.has(t, map[string]string{
		"dataset": "HuggingFaceFW/fineweb", "revision of the dataset": text.Commit, "began with": "random weights",
		"text": "hf://datasets/HuggingFaceFW/fineweb@" + text.Commit + "/sample/350BT",
	})
	c.shows(t, c.do(t, "REPOSITORY", "me/run"), "root of the parameters", "run fingerprint", "state root after this epoch")
}

// TestCardOfTextFromTheRowsAPI: such a name has no revision, and the card says so.
func TestCardOfTextFromTheRowsAPI(t *testing.T) {
	_, h := mirror(t)
	t.Setenv("LOCKSTEP_FETCH_ROWS_ENDPOINT", h.URL)
	t.Setenv("LOCKSTEP_FETCH_CACHE", noCache)
	var r trained
	lockstep(t, &r, "train", "--data", "rows://HuggingFaceFW/fineweb/sample-350BT", "--segment-rows", "10", "--batch", "2", "--steps", "1", "--dir", filepath.Join(t.TempDir(), "run"), "--json")
	c := cardOf(t, r.Repository+"@1")
	c.has(t, map[string]string{"dataset": "HuggingFaceFW/fineweb", "revision of the dataset": "not in its name; the identity of the text covers it"})
	c.shows(t, c.do(t, "REPOSITORY", r.Repository), "root of the parameters", "run fingerprint", "state root after this epoch")
}

// TestCardOfANetwork does all that the card of a network's epoch says: with its
// files alone, and with the folder of its validator.
func TestCardOfANetwork(t *testing.T) {
	if testing.Short() {
		t.Skip("runs whole networks")
	}
	newEndpoint(t)
	settings := filepath.Join(t.TempDir(), "settings.yaml")
	if err := os.WriteFile(settings, []byte("protocol: {quotas: [{uid: 1, sequences: 5}]}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	commit := publishBase(t)
	s := runSwarm(t, "--config", settings, "--init", "distilbert/nano", "--miners", "2", "--epochs", "2")
	publish(t, filepath.Join(s.Dir, "hub", "models", "lockstep", "nano"), "me/run")
	c := cardOf(t, "me/run@1")
	if !strings.Contains(c.text, "in this epoch 2 miners computed gradients") || !strings.Contains(c.front, "- decentralized-training\n") || !strings.HasPrefix(c.front, "base_model: \"distilbert/nano\"\n") {
		t.Errorf("\n%s", c.text)
	}
	c.has(t, map[string]string{"base model": "distilbert/nano", "commit of the base model": commit, "run fingerprint": s.Fingerprint.String(), "state root after this epoch": s.Epochs[0].StateRoot.String()})
	printed := c.do(t, "REPOSITORY", "me/run", "DIR/", s.Dir+"/", "-UID", "-0")
	c.shows(t, printed, "root of the parameters", "run fingerprint", "state root after this epoch")
	if len(printed) != 5 || !strings.Contains(printed[3], "\nVERIFIED") {
		t.Errorf("%q printed %q", c.shell, printed)
	}
}

// TestEvidenceNamesTheBaseModel: who verifies the first epoch of a run without its
// folder learns which weights to name.
func TestEvidenceNamesTheBaseModel(t *testing.T) {
	const base = "distilbert/nano@0123456789abcdef0123456789abcdef01234567"
	run := &spec.Run{Init: spec.Init{Kind: "weights", Parameters: merkle.Digest{1}, BaseModel: base}}
	if _, err := parametersAfter(t.Context(), run, 0, "", ""); fault.KindOf(err) != fault.Undecided || !strings.Contains(err.Error(), base) {
		t.Errorf("%v", err)
	}
}

// TestHuggingFaceReadsTheCard has the Hub's library take the front matter apart.
func TestHuggingFaceReadsTheCard(t *testing.T) {
	python := cmp.Or(os.Getenv("TEST_PYTHON"), "python3")
	if err := exec.Command(python, "-c", "import huggingface_hub").Run(); err != nil {
		t.Skipf("skipped: %s has no huggingface_hub; TEST_PYTHON may name one that has", python)
	}
	newEndpoint(t)
	r, _ := trainFromAHub(t)
	path := filepath.Join(t.TempDir(), "README.md")
	if err := os.WriteFile(path, []byte(cardOf(t, r.Repository+"@2").text), 0o644); err != nil {
		t.Fatal(err)
	}
	const script = `import sys, huggingface_hub
d = huggingface_hub.ModelCard.load(sys.argv[1]).data
print(d.base_model, d.library_name, d.pipeline_tag, d.tags)`
	out, err := exec.CommandContext(t.Context(), python, "-c", script, path).CombinedOutput()
	if want := "distilbert/nano transformers text-generation ['gpt2', 'lockstep']\n"; err != nil || string(out) != want {
		t.Errorf("%v: %s", err, out)
	}
}
