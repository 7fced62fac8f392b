package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"lockstep/internal/fault"
)

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "lockstep.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestPrecedence(t *testing.T) {
	path := write(t, "train: {steps: 5}\nnode: {round-deadline: 90s}\n")
	load := func(args ...string) Config {
		t.Helper()
		fs := pflag.NewFlagSet("test", pflag.ContinueOnError)
		AddFlags(fs, "steps", "model", "round-deadline")
		if err := fs.Parse(args); err != nil {
			t.Fatal(err)
		}
		c, err := Load(fs, os.Environ(), path)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	if c := load(); c.Train.Steps != 5 || c.Node.RoundDeadline != 90*time.Second || c.Protocol.Model != "nano" {
		t.Errorf("file over default: %+v", c)
	}
	t.Setenv("LOCKSTEP_TRAIN_STEPS", "6")
	if c := load(); c.Train.Steps != 6 {
		t.Errorf("environment over file: %d", c.Train.Steps)
	}
	if c := load("--steps=7"); c.Train.Steps != 7 {
		t.Errorf("flag over environment: %d", c.Train.Steps)
	}
}

func TestFileIsStrict(t *testing.T) {
	tests := map[string]struct{ yaml, want string }{
		"unknown key":         {"train: {stepz: 5}", ":1: unknown key train.stepz; did you mean train.steps?"},
		"unknown section":     {"\ntrian: {steps: 5}", ":2: unknown key trian.steps"},
		"empty section":       {"trian: {}", ":1: unknown key trian"},
		"key without section": {"seed: 1", ":1: unknown key seed; did you mean protocol.seed?"},
		"key beside sections": {"train: {steps: 2}\nminers: 3", ":2: unknown key miners; did you mean swarm.miners?"},
		"value for a section": {"train: 5", ":1: train is a section"},
		"list for a section":  {"train: [5]", ":1: train is a section"},
		"list at the top":     {"- 5", ":1: sections with settings are wanted"},
		"fraction":            {"train:\n  steps: 1.9", ":2: train.steps: 1.9 is not a whole number"},
		"exponent":            {"train: {steps: 1e3}", ":1: train.steps: 1e3 is not a whole number"},
		"negative":            {"protocol: {seed: -1}", ":1: protocol.seed: -1 is not a whole number from 0"},
		"bare duration":       {"node: {round-deadline: 30}", ":1: node.round-deadline: 30 is a duration without a unit"},
		"bare duration text":  {"node: {round-deadline: '30'}", "without a unit"},
		"no duration":         {"node: {round-deadline: soon}", "is not a duration"},
		"twin of other case":  {"train: {Steps: 5, steps: 6}", "unknown key train.Steps"},
		"same key twice":      {"train: {steps: 5,\n steps: 6}", ":2: key steps is already defined above"},
		"same section twice":  {"train: {steps: 5}\ntrain: {batch: 6}", ":2: key train is already defined above"},
		"not yaml":            {"train: {steps: 2}\nswarm: [", ":2: did not find"},
		"two documents":       {"train: {steps: 2}\n---\ntrain: {steps: 3}", "a second document begins here"},
		"too large":           {"\n\ntrain: {steps: 99999999999}", ":3: train.steps is 99999999999; it must be 1 to"},
		"below the limit":     {"train: {steps: 0}", ":1: train.steps is 0; it must be 1 to"},
		"no value":            {"protocol: {model: }", ":1: protocol.model has no value"},
		"word for a number":   {"train: {steps: many}", ":1: train.steps: many is not a whole number"},
		"number for a word":   {"protocol: {data: 5}", ":1: protocol.data: 5 is not read as text; put it in quotes"},
		"word for a switch":   {"output: {json: maybe}", ":1: output.json: maybe is neither true nor false"},
		"list for a value":    {"protocol: {model: [a]}", ":1: protocol.model is a single value"},
		"value for a list":    {"node: {admit: x}", ":1: node.admit is a list"},
		"alias":               {"protocol: {model: &a x, data: *a}", ":1: protocol.data is a single value"},
		"octal":               {"train: {steps: 010}", "starts with 0"},
		"octal text":          {"train: {steps: '010'}", "starts with 0"},
		"nan":                 {"optimizer: {lr: .nan}", ":1: optimizer.lr: .nan is not a number"},
		"nan text":            {"optimizer: {lr: nan}", ":1: optimizer.lr is NaN"},
		"infinity":            {"optimizer: {lr: 1e999}", ":1: optimizer.lr: 1e999 is not a number"},
		"cheaters":            {"swarm: {miners: 2, cheaters: 2}", "at least one must be honest"},
		"unknown key in list": {"node:\n  admit:\n    - {uid: 1, peer: x}", ":3: unknown key node.admit[0].peer; it has uid, peer-id, role"},
		"fraction in a list":  {"protocol: {quotas: [{uid: 0, sequences: 1}, {uid: 1.5, sequences: 2}]}", ":1: protocol.quotas[1].uid: 1.5 is not a whole number"},
		"word in a list":      {"protocol: {quotas: [x]}", ":1: protocol.quotas[0] must be {uid, sequences}"},
	}
	for name, tt := range tests {
		path := write(t, tt.yaml)
		_, err := Load(nil, nil, path)
		if err == nil || fault.KindOf(err) != fault.Config || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", name, err, tt.want)
			continue
		}
		if strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: more than one line: %q", name, err)
		}
		if name != "cheaters" && !strings.HasPrefix(err.Error(), path+":") {
			t.Errorf("%s: %q does not begin with the file", name, err)
		}
	}
}

// TestFileIsCheckedWhole finds a mistake in the file also where a flag has the
// last word.
func TestFileIsCheckedWhole(t *testing.T) {
	fs := pflag.NewFlagSet("test", pflag.ContinueOnError)
	AddFlags(fs, "steps")
	if err := fs.Parse([]string{"--steps=5"}); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(fs, nil, write(t, "train: {steps: many}")); fault.KindOf(err) != fault.Config {
		t.Errorf("got %v", err)
	}
}

func TestEmptyFile(t *testing.T) {
	for _, text := range []string{"", "# nothing\n", "train:\nswarm:\n", "---\n"} {
		if c, err := Load(nil, nil, write(t, text)); err != nil || c.Train.Steps != Default().Train.Steps {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestExplain(t *testing.T) {
	path := write(t, "# a run\nprotocol:\n  seed: 7\ntrain: {steps: 5, batch: 3}\n")
	fs := pflag.NewFlagSet("test", pflag.ContinueOnError)
	AddFlags(fs, "steps", "model")
	if err := fs.Parse([]string{"--steps=6"}); err != nil {
		t.Fatal(err)
	}
	t.Setenv("LOCKSTEP_TRAIN_BATCH", "4")
	settings, err := Explain(fs, os.Environ(), path)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]Setting{}
	for _, s := range settings {
		got[s.Key] = s
	}
	for _, want := range []Setting{
		{"protocol.seed", uint64(7), path + ":3"}, {"train.steps", 6, "--steps"},
		{"train.batch", 4, "LOCKSTEP_TRAIN_BATCH"}, {"protocol.model", "nano", "default"},
	} {
		if got[want.Key] != want {
			t.Errorf("got %+v, want %+v", got[want.Key], want)
		}
	}
}

func TestEnvironmentIsStrict(t *testing.T) {
	for _, name := range []string{"LOCKSTEP_TRAIN", "LOCKSTEP_TRAIN_STEP", "LOCKSTEP_STEPS"} {
		_, err := Load(nil, []string{name + "=5"}, "")
		if fault.KindOf(err) != fault.Config || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if _, err := Load(nil, []string{"LOCKSTEP_ISA=avx2", "HOME=/"}, ""); err != nil {
		t.Error(err)
	}
	if _, err := Load(nil, []string{"LOCKSTEP_MINERS=2"}, ""); err == nil || !strings.Contains(err.Error(), "did you mean LOCKSTEP_SWARM_MINERS?") {
		t.Errorf("got %v", err)
	}
	for name, want := range map[string]string{
		"LOCKSTEP_TRAIN_STEPS=1.5": "1.5 is not a whole number", "LOCKSTEP_NODE_ADMIT=x": "a list can only be given in the file",
		"LOCKSTEP_TRAIN_SAVE_EVERY=5": "without a unit", "LOCKSTEP_OUTPUT_JSON=yes": "neither true nor false",
	} {
		if _, err := Load(nil, []string{name}, ""); fault.KindOf(err) != fault.Config || !strings.Contains(err.Error(), want) {
			t.Errorf("%s gives %v", name, err)
		}
	}
	t.Setenv("LOCKSTEP_TRAIN_STEPS", "0")
	if _, err := Load(nil, os.Environ(), ""); err == nil || !strings.HasPrefix(err.Error(), "LOCKSTEP_TRAIN_STEPS is 0; it must be 1 to") {
		t.Errorf("a number out of range gives %v", err)
	}
}

func TestListsFromFile(t *testing.T) {
	c, err := Load(nil, nil, write(t, "protocol: {quotas: [{uid: 1, sequences: 4}]}\nnode: {admit: [{uid: 0, peer-id: aB, role: miner}]}"))
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Protocol.Quotas) != 1 || c.Protocol.Quotas[0] != (Quota{1, 4}) {
		t.Errorf("quotas %+v", c.Protocol.Quotas)
	}
	if len(c.Node.Admit) != 1 || c.Node.Admit[0] != (Seat{0, "aB", "miner"}) {
		t.Errorf("admit %+v", c.Node.Admit)
	}
}

func TestMissingFile(t *testing.T) {
	if _, err := Load(nil, nil, filepath.Join(t.TempDir(), "no.yaml")); fault.KindOf(err) != fault.Config {
		t.Errorf("got %v", err)
	}
}

// TestEveryFieldIsDocumented keeps help, key and default together.
func TestEveryFieldIsDocumented(t *testing.T) {
	c := Default()
	if err := c.Validate(); err != nil {
		t.Errorf("the defaults are not valid: %v", err)
	}
	seen := map[string]bool{}
	for _, f := range fields(&c) {
		if f.Help == "" {
			t.Errorf("%s has no help", f.Key)
		}
		if seen[f.Flag] {
			t.Errorf("two settings are called --%s", f.Flag)
		}
		seen[f.Flag] = true
	}
}

func FuzzFile(f *testing.F) {
	f.Add("train: {steps: 5}")
	f.Add("node: {admit: [{uid: 1}]}")
	f.Fuzz(func(t *testing.T, text string) {
		if _, err := Load(nil, nil, write(t, text)); err != nil && fault.KindOf(err) != fault.Config {
			t.Errorf("%q: %v", text, err)
		}
	})
}
