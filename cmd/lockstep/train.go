package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/spf13/cobra"

	"lockstep/config"
	"lockstep/hub"
	"lockstep/internal/f32"
	"lockstep/internal/fault"
	"lockstep/internal/merkle"
	"lockstep/model"
	"lockstep/observe"
	"lockstep/optim"
	"lockstep/swarm"
	"lockstep/validate"
)

// trained is the result of `lockstep train --json`.
type trained struct {
	Model           string        `json:"model"`
	Data            string        `json:"data"`
	Fingerprint     merkle.Digest `json:"fingerprint"`
	Steps           uint64        `json:"steps"`
	Losses          []float64     `json:"losses"` // token mean of each step, before it
	Tokens          uint64        `json:"tokens"`
	TokensPerSecond float64       `json:"tokens_per_second"`
	StateRoot       merkle.Digest `json:"state_root"`
	Tags            []string      `json:"tags"`
	Repository      string        `json:"repository,omitempty"`
	ISA             string        `json:"isa"`
	Threads         int           `json:"threads"`
}

func (a *app) train() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "train",
		Short:   "Train in one process, without a network",
		GroupID: "run",
		Args:    cobra.NoArgs,
		Long: `Train a model in one process: a group of one, with the bits that a network of
one miner would have. With --dir the model is committed to DIR/hub/MODEL and
tagged with the step, and the state is saved at the end.`,
		Example: `  lockstep train --steps 50 --dir run
  lockstep train --model distilgpt2 --data ./fineweb --seq-len 256 --batch 4 --steps 5 --dir run
  lockstep train --model tiny --data book.txt --segment-rows 10 --json`,
	}
	config.AddFlags(cmd.Flags(), "model", "init", "data", "seed", "seq-len", "segments", "segment-rows",
		"lr", "min-lr", "warmup", "decay-steps", "beta1", "beta2", "epsilon", "weight-decay", "clip-norm",
		"steps", "batch", "push-every", "micro-batch", "threads", "dir", "hub-dir", "repo", "json")
	cmd.RunE = a.runs(func(ctx context.Context, c config.Config, t *observe.Terminal) error {
		b, err := assemble(ctx, &c, func(config.Config) int { return 1 }, func(c config.Config) int { return c.Train.Batch })
		if err != nil {
			return err
		}
		defer b.close()
		ints := catch(ctx, t)
		defer ints.release()
		tr, err := newTrainer(ints.Context, c, b, t)
		if err != nil {
			return err
		}
		if err := tr.run(ints); err != nil {
			return err
		}
		if err := a.printTrained(c, tr.result); err != nil {
			return err
		}
		return ints.outcome(nil, fmt.Sprintf("stopped after step %d of %d", tr.result.Steps, c.Train.Steps))
	})
	return cmd
}

func (a *app) printTrained(c config.Config, r trained) error {
	if c.Output.JSON {
		return a.printJSON(r)
	}
	if r.Steps > 0 {
		fmt.Fprintf(a.stdout, "loss %.4f -> %.4f in %d steps  %s  %s tokens/s\n", r.Losses[0], r.Losses[len(r.Losses)-1],
			r.Steps, observe.Sparkline(r.Losses), observe.Count(int64(r.TokensPerSecond)))
	}
	fmt.Fprintf(a.stdout, "state root %s\n", r.StateRoot)
	if len(r.Tags) > 0 {
		last := r.Tags[len(r.Tags)-1]
		fmt.Fprintf(a.stdout, "model in %s, newest tag %s:  lockstep generate --model %s@%s --prompt \"The\"\n", r.Repository, last, r.Repository, last)
	}
	return nil
}

// trainer is a run in one process.
type trainer struct {
	config   config.Config
	bench    *bench
	terminal *observe.Terminal
	computer *validate.Computer
	state    *model.State
	repo     hub.Repository // nil without --dir
	meter    observe.Meter
	seconds  float64 // spent in steps, without saving
	result   trained
}

func newTrainer(ctx context.Context, c config.Config, b *bench, t *observe.Terminal) (*trainer, error) {
	computer, err := validate.NewComputer(&b.run, b.source, c.Node.MicroBatch)
	if err != nil {
		return nil, err
	}
	tr := &trainer{
		config: c, bench: b, terminal: t, computer: computer, state: model.NewState(b.weights),
		result: trained{
			Model: c.Protocol.Model, Data: b.source.Name(), Fingerprint: b.run.Fingerprint(),
			Losses: []float64{}, Tags: []string{}, ISA: f32.Active().String(), Threads: threads(c),
		},
	}
	computer.Progress = func(done, total int) {
		t.Status("step %d: sequence %d of %d", tr.state.Step+1, done, total)
	}
	if c.Output.Dir != "" {
		err = tr.openFolder()
	}
	return tr, err
}

func threads(c config.Config) int {
	if c.Node.Threads > 0 {
		return c.Node.Threads
	}
	return runtime.GOMAXPROCS(0)
}

// openFolder makes the run folder, which must not hold another run, and makes
// sure that the disk has room for all that is to come.
func (tr *trainer) openFolder() error {
	dir := tr.config.Output.Dir
	if _, err := os.Stat(filepath.Join(dir, "run.json")); err == nil {
		return fault.Errorf(fault.Config, "--dir %s holds a run already; choose another folder", dir)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("--dir %s: %w", dir, err)
	}
	size := int64(4 * tr.state.Layout.Elements)
	if err := hub.RequireSpace(dir, size*int64(3+tr.pushes())); err != nil {
		return fmt.Errorf("%d tags and one saved state: %w; raise --push-every", tr.pushes(), err)
	}
	text, err := json.MarshalIndent(tr.bench.run, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "run.json"), append(text, '\n'), 0o644); err != nil {
		return err
	}
	tr.result.Repository = repositoryPath(tr.config)
	tr.repo, err = hub.CreateDirectory(tr.result.Repository)
	return err
}

// repositoryPath is where a run's models go: DIR/hub/MODEL unless said.
func repositoryPath(c config.Config) string {
	parent, name := c.Hub.Dir, c.Hub.Repo
	if parent == "" {
		parent = filepath.Join(c.Output.Dir, "hub")
	}
	if name == "" {
		name = modelName(&c)
	}
	return filepath.Join(parent, name)
}

// pushes returns how many tags the run will make.
func (tr *trainer) pushes() int {
	if tr.config.Train.PushEvery == 0 {
		return 1
	}
	return (tr.config.Train.Steps + tr.config.Train.PushEvery - 1) / tr.config.Train.PushEvery
}

// run trains until the last step or the first signal, and saves.
func (tr *trainer) run(ints *interrupts) error {
	total := tr.config.Train.Steps
	a := tr.bench.run.Assignment
	tr.terminal.Line("train %s on %s: %d steps of %d x %d tokens, fingerprint %s, %s, %d threads",
		tr.config.Protocol.Model, tr.bench.source.Name(), total, a.Sequences, a.SeqLen,
		tr.result.Fingerprint.Short(), tr.result.ISA, tr.result.Threads)
	for tr.state.Step < uint64(total) && !ints.stopped() {
		err := tr.step(ints.Context)
		if ints.Context.Err() != nil {
			break // the second signal: what the last whole step left is saved
		}
		if err != nil {
			return err
		}
	}
	tr.terminal.Status("")
	tr.result.StateRoot = tr.state.Root()
	if tr.seconds > 0 {
		tr.result.TokensPerSecond = float64(tr.result.Tokens) / tr.seconds
	}
	return tr.save(context.WithoutCancel(ints.Context))
}

// step computes one gradient, applies it and shows the step line.
func (tr *trainer) step(ctx context.Context) error {
	start := time.Now()
	work, err := tr.computer.Compute(ctx, tr.state.Parameters(tr.bench.weights.Config), tr.state.Epoch+1, 0)
	if err != nil {
		return err
	}
	if err := model.Average(work.Gradient, work.Facts.Tokens); err != nil {
		return err
	}
	info, err := tr.state.ApplyAverage(work.Gradient, optim.Config(tr.bench.run.Optimizer))
	if err != nil {
		return err
	}
	took := time.Since(start)
	loss := work.Facts.Loss() / float64(work.Facts.Tokens)
	tr.meter.Add(took)
	tr.seconds += took.Seconds()
	tr.result.Steps = tr.state.Step
	tr.result.Losses = append(tr.result.Losses, loss)
	tr.result.Tokens += work.Facts.Tokens
	line := observe.Step{
		Number: int(tr.state.Step), Total: tr.config.Train.Steps, Loss: loss, Norm: info.Norm, LearningRate: info.Rate,
		TokensPerSecond: float64(work.Facts.Tokens) / took.Seconds(),
		ETA:             tr.meter.ETA(tr.config.Train.Steps - int(tr.state.Step)),
	}
	if tr.repo != nil && tr.due() {
		root := tr.state.Root()
		line.StateRoot = root.Short()
		if err := tr.push(ctx, root, loss); err != nil {
			return err
		}
	}
	tr.terminal.Line("%s", tr.terminal.Fit(line.Line()))
	return nil
}

func (tr *trainer) due() bool {
	every := uint64(tr.config.Train.PushEvery)
	return tr.state.Step == uint64(tr.config.Train.Steps) || (every > 0 && tr.state.Step%every == 0)
}

// push commits the model and tags it with the step.
func (tr *trainer) push(ctx context.Context, root merkle.Digest, loss float64) error {
	tr.terminal.Status("step %d: writing tag %d", tr.state.Step, tr.state.Epoch)
	p := swarm.Published{
		Run: &tr.bench.run, Parameters: tr.state.Parameters(tr.bench.weights.Config), Tokenizer: tr.bench.tokens,
		Epoch: tr.state.Epoch, State: root, Loss: loss, Tokens: tr.result.Tokens,
	}
	files, err := p.Files()
	if err != nil {
		return err
	}
	once := hub.Backoff{Attempts: 1, Sleep: hub.Sleep}
	pushed, err := hub.PushEpoch(ctx, tr.repo, tr.state.Epoch, files, fmt.Sprintf("Step %d, loss %.4f", tr.state.Step, loss), once)
	if err != nil {
		return err
	}
	tr.result.Tags = append(tr.result.Tags, pushed.Tag)
	return nil
}

// save writes the state to DIR/state.
func (tr *trainer) save(ctx context.Context) error {
	if tr.repo == nil || tr.state.Step == 0 {
		return nil
	}
	s := tr.state
	_, err := hub.SaveState(ctx, filepath.Join(tr.config.Output.Dir, "state"), hub.State{
		Epoch: s.Epoch, Step: s.Step, Parameters: s.Theta, M: s.M, V: s.V,
		Extra: map[string]string{"fingerprint": tr.result.Fingerprint.String(), "state_root": tr.result.StateRoot.String()},
	}, 1)
	return err
}
