package swarm

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"lockstep/hub"
	"lockstep/internal/spec"
	"lockstep/model"
)

// card returns README.md: what the epoch is, and how to check it.
func (p *Published) card() []byte {
	base, commit, _ := strings.Cut(p.Run.Init.BaseModel, "@")
	dataset, revision := datasetOf(p.Run.Data.Source)
	return hub.Card(hub.CardInfo{
		Name:            p.Run.Model.Name,
		BaseModel:       base,
		BaseCommit:      commit,
		Initial:         p.Run.Init.Parameters,
		Dataset:         dataset,
		DatasetRevision: revision,
		Members:         len(p.Members),
		Epoch:           p.Epoch,
		Loss:            p.Loss,
		Tokens:          p.Tokens,
		Fingerprint:     p.Run.Fingerprint(),
		Parameters:      p.Parameters.Root(),
		StateRoot:       p.State,
		DataSource:      p.Run.Data.Source,
		DataIdentity:    p.Run.Data.Identity,
		Checks:          p.checks(),
	})
}

// checks lists how to check an epoch, from what everybody can do with the files
// alone to what takes a validator's evidence.
func (p *Published) checks() []hub.Check {
	shell := func(text string, lines ...string) hub.Check {
		return hub.Check{Text: text, Language: "sh", Lines: lines}
	}
	out := []hub.Check{
		shell("The weights: this prints the root of the parameters in the table. (The state root covers the optimizer's moments, too, which are not among the files.)",
			fmt.Sprintf("lockstep eval --model REPOSITORY@%d", p.Epoch)),
		{Text: "The settings of the run, as a file run.yaml" + missing(p.Run), Language: "yaml", Lines: settings(p.Run)},
		shell("The run: this prints the fingerprint in the table.", "lockstep config fingerprint --config run.yaml"),
	}
	miners := len(p.Members)
	if miners == 0 {
		return append(out, shell("Training again comes to the state root in the table.",
			fmt.Sprintf("lockstep train --config run.yaml --batch %d --steps %d", p.Run.Assignment.Sequences, p.Epoch)))
	}
	if slices.Max(p.Members) == uint32(miners-1) { // uids 0 and on, as those of a local network are
		out = append(out, shell("If the same miners were averaged in every epoch so far, a network on one machine comes to the state root in the table.",
			fmt.Sprintf("lockstep swarm --config run.yaml --miners %d --epochs %d", miners, p.Epoch)))
	}
	return append(out, shell("A miner's gradient on this model, and who took part in which epoch: this takes the folder of a validator, DIR, with its evidence and its ledger, and --data with the name of the text unless that is builtin.",
		fmt.Sprintf("lockstep verify DIR/evidence/%d-UID --hub REPOSITORY", p.Epoch+1), "lockstep verify DIR/ledger"))
}

// settings writes a run spec as the file of settings from which every command
// makes it again. Strings and lists are in JSON, which YAML includes.
func settings(run *spec.Run) []string {
	a, o := &run.Assignment, &run.Optimizer
	quotas := []string{}
	for _, q := range a.Quotas {
		quotas = append(quotas, fmt.Sprintf("{uid: %d, sequences: %d}", q.UID, q.Sequences))
	}
	return []string{
		"# run.yaml",
		"protocol:",
		"  model: " + quoted(modelSetting(run)),
		"  init: " + quoted(initSetting(run)),
		"  data: " + quoted(dataSetting(run)),
		fmt.Sprintf("  seed: %d", a.Seed),
		fmt.Sprintf("  slots: %d", a.Slots),
		fmt.Sprintf("  segments: %d", a.SegmentsPerMiner),
		fmt.Sprintf("  segment-rows: %d", a.SegmentRows),
		fmt.Sprintf("  seq-len: %d", a.SeqLen),
		fmt.Sprintf("  sequences: %d", a.Sequences),
		fmt.Sprintf("  quotas: [%s]", strings.Join(quotas, ", ")),
		"optimizer:",
		"  lr: " + quoted(o.LearningRate),
		"  min-lr: " + quoted(o.MinRate),
		fmt.Sprintf("  warmup: %d", o.WarmupSteps),
		fmt.Sprintf("  decay-steps: %d", o.DecaySteps),
		"  beta1: " + quoted(o.Beta1),
		"  beta2: " + quoted(o.Beta2),
		"  epsilon: " + quoted(o.Epsilon),
		"  weight-decay: " + quoted(o.WeightDecay),
		"  clip-norm: " + quoted(o.ClipNorm),
	}
}

// quoted writes a string or a number as YAML.
func quoted(v any) string {
	b, _ := json.Marshal(v) // strings and finite numbers always encode
	return string(b)
}

// What only the operator of a run has, and a reader must put into the settings.
const (
	textPlace    = "TEXT"    // the folder of the text
	weightsPlace = "WEIGHTS" // the folder of the weights of epoch 0
)

// missing ends a sentence and says what the settings do not name.
func missing(run *spec.Run) string {
	var places []string
	if dataSetting(run) == textPlace {
		places = append(places, textPlace+" stands for the folder of the text")
	}
	if initSetting(run) == weightsPlace {
		places = append(places, weightsPlace+" stands for the folder of the weights that the run began with")
	}
	if len(places) == 0 {
		return "."
	}
	return ". " + strings.Join(places, ", ") + "."
}

// modelSetting is a built-in name, or one that leaves the architecture to init.
func modelSetting(run *spec.Run) string {
	if c, ok := model.Builtin(run.Model.Name); ok && c.Spec(run.Model.Name) == run.Model {
		return run.Model.Name
	}
	return "./" + run.Model.Name
}

func initSetting(run *spec.Run) string {
	if run.Init.Kind == "weights" && run.Init.BaseModel == "" {
		return weightsPlace
	}
	return run.Init.BaseModel
}

func dataSetting(run *spec.Run) string {
	switch source := run.Data.Source; {
	case strings.HasPrefix(source, "builtin/"):
		return "builtin"
	case strings.HasPrefix(source, "hf://"), strings.HasPrefix(source, "rows://"):
		return source
	}
	return textPlace
}

// datasetOf is the Hub id in the name of a source, if it has one, and the commit
// to which the name is pinned: of hf://datasets/OWNER/NAME@COMMIT/PATH, and
// without a commit of rows://OWNER/NAME/CONFIG/SPLIT.
func datasetOf(source string) (id, commit string) {
	rest, ok := strings.CutPrefix(source, "hf://datasets/")
	if !ok {
		rest, ok = strings.CutPrefix(source, "rows://")
	}
	parts := strings.SplitN(rest, "/", 3)
	if !ok || len(parts) < 2 {
		return "", ""
	}
	name, commit, _ := strings.Cut(parts[1], "@")
	return parts[0] + "/" + name, commit
}
