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
		"unknown key":         {"train: {stepz: 5}", "did you mean train.steps?"},
		"unknown section":     {"trian: {steps: 5}", "unknown key trian.steps"},
		"empty section":       {"trian: {}", "unknown key trian"},
		"key without section": {"seed: 1", "lockstep.yaml:1: unknown key seed; did you mean protocol.seed?"},
		"key beside sections": {"train: {steps: 2}\nminers: 3", "lockstep.yaml:2: unknown key miners; did you mean swarm.miners?"},
		"fraction":            {"train: {steps: 1.9}", "1.9 is not a whole number"},
		"bare duration":       {"node: {round-deadline: 30}", "without a unit"},
		"bare duration text":  {"node: {round-deadline: '30'}", "without a unit"},
		"twin of other case":  {"train: {Steps: 5, steps: 6}", "unknown key train.Steps"},
		"same key twice":      {"train: {steps: 5, steps: 6}", "already defined"},
		"not yaml":            {"train: [", "did not find"},
		"too large":           {"train: {steps: 99999999999}", "train.steps is 99999999999"},
		"below the limit":     {"train: {steps: 0}", "train.steps is 0; it must be 1 to"},
		"word for a number":   {"train: {steps: many}", "not a whole number"},
		"octal":               {"train: {steps: '010'}", "starts with 0"},
		"nan":                 {"optimizer: {lr: .nan}", "optimizer.lr is NaN"},
		"cheaters":            {"swarm: {miners: 2, cheaters: 2}", "at least one must be honest"},
		"unknown key in list": {"node: {admit: [{uid: 1, peer: x}]}", "invalid keys: peer"},
	}
	for name, tt := range tests {
		_, err := Load(nil, nil, write(t, tt.yaml))
		if err == nil || fault.KindOf(err) != fault.Config || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", name, err, tt.want)
		} else if strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: more than one line: %q", name, err)
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
	t.Setenv("LOCKSTEP_TRAIN_STEPS", "1.5")
	if _, err := Load(nil, os.Environ(), ""); fault.KindOf(err) != fault.Config {
		t.Errorf("a fraction from the environment gives %v", err)
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
