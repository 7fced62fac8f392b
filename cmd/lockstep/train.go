package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/spf13/cobra"

	"lockstep/config"
	"lockstep/hub"
	"lockstep/internal/f32"
	"lockstep/internal/merkle"
	"lockstep/model"
	"lockstep/observe"
	"lockstep/optim"
	"lockstep/validate"
)

// trained is the result of `lockstep train --json`.
type trained struct {
	Model           string        `json:"model"`
	Data            string        `json:"data"`
	Fingerprint     merkle.Digest `json:"fingerprint"`
	Steps           uint64        `json:"steps"`
	ResumedAt       uint64        `json:"resumed_at,omitempty"` // steps that earlier processes did
	Losses          []float64     `json:"losses"`               // token mean of each later step, before it
	Tokens          uint64        `json:"tokens"`               // of all steps
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
tagged with the step, and the state is saved now and then, so that --resume goes
on with the run after an interrupt, a crash or its end, bit for bit.`,
		Example: `  lockstep train --steps 50 --dir run
  lockstep train --steps 80 --dir run --resume
  lockstep train --model distilgpt2 --data ./fineweb --seq-len 256 --batch 4 --steps 5 --dir run
  lockstep train --model tiny --data book.txt --segment-rows 10 --json`,
	}
	config.AddFlags(cmd.Flags(), append(textFlags, "model", "init", "seed", "seq-len", "segments", "segment-rows",
		"lr", "min-lr", "warmup", "decay-steps", "beta1", "beta2", "epsilon", "weight-decay", "clip-norm",
		"steps", "batch", "push-every", "save-every", "micro-batch", "threads", "dir", "hub-dir", "repo", "json")...)
	resume := addResume(cmd)
	cmd.RunE = a.runs(func(ctx context.Context, c config.Config, t *observe.Terminal) error {
		t.Status("preparing %s", c.Protocol.Model)
		b, err := assemble(ctx, &c, t, func(config.Config) int { return 1 }, func(c config.Config) int { return c.Train.Batch })
		t.Status("")
		if err != nil {
			return err
		}
		defer b.close()
		ints := catch(ctx, t)
		defer ints.release()
		tr, err := newTrainer(ints.Context, c, b, t, *resume)
		if err != nil {
			return err
		}
		defer tr.close()
		if err := tr.run(ints); err != nil {
			return err
		}
		if err := a.printTrained(c, tr.result); err != nil {
			return err
		}
		return ints.outcome(nil, tr.whereItStopped())
	})
	return cmd
}

func (a *app) printTrained(c config.Config, r trained) error {
	if c.Output.JSON {
		return a.printJSON(r)
	}
	if n := len(r.Losses); n > 0 {
		fmt.Fprintf(a.stdout, "loss %.4f -> %.4f in %d steps  %s  %s tokens/s\n", r.Losses[0], r.Losses[n-1],
			n, observe.Sparkline(r.Losses), observe.Count(int64(r.TokensPerSecond)))
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
	basis    *basis
	terminal *observe.Terminal
	computer *validate.Computer
	state    *model.State
	repo     hub.Repository // nil without --dir
	release  func()         // gives the folder back
	meter    observe.Meter
	seconds  float64 // spent in steps, without saving
	tokens   uint64  // of those steps
	loss     float64 // of the newest step
	newest   observe.Step
	saved    place // newest state on disk
	result   trained
}

// newTrainer prepares a run in --dir, if there is one: a new run, or with resume
// the one that the folder holds.
func newTrainer(ctx context.Context, c config.Config, b *basis, t *observe.Terminal, resume bool) (*trainer, error) {
	computer, err := validate.NewComputer(&b.run, b.source, c.Node.MicroBatch)
	if err != nil {
		return nil, err
	}
	tr := &trainer{
		config: c, basis: b, terminal: t, computer: computer, state: model.NewState(b.weights),
		result: trained{
			Model: c.Protocol.Model, Data: b.source.Name(), Fingerprint: b.run.Fingerprint(),
			Losses: []float64{}, Tags: []string{}, ISA: f32.Active().String(), Threads: threads(c),
		},
	}
	computer.Progress = tr.progress
	if c.Output.Dir == "" {
		return tr, nil
	}
	if err := tr.openFolder(ctx, resume); err != nil {
		tr.close()
		return nil, err
	}
	return tr, nil
}

func (tr *trainer) close() {
	if tr.release != nil {
		tr.release()
	}
}

func threads(c config.Config) int {
	if c.Node.Threads > 0 {
		return c.Node.Threads
	}
	return runtime.GOMAXPROCS(0)
}

// run trains until the last step, the first signal or an error, and saves what
// the last whole step left.
func (tr *trainer) run(ints *interrupts) error {
	tr.announce()
	var err error
	for err == nil && tr.state.Step < uint64(tr.config.Train.Steps) && !ints.stopped() {
		err = tr.step(ints.Context)
	}
	if ints.Context.Err() != nil && errors.Is(err, context.Canceled) {
		err = nil // the second signal ended the step
	}
	if err == nil && tr.state.Sound() {
		tr.result.Steps, tr.result.StateRoot = tr.state.Step, tr.state.Root()
		if tr.seconds > 0 {
			tr.result.TokensPerSecond = float64(tr.tokens) / tr.seconds
		}
	}
	if tr.state.Sound() && !errors.Is(err, errUnsaved) {
		err = errors.Join(err, tr.save(context.WithoutCancel(ints.Context)))
	}
	tr.terminal.Status("")
	if err != nil {
		err = fmt.Errorf("%w\n%s", err, tr.whereItStopped())
	}
	return err
}

// announce says what is about to happen.
func (tr *trainer) announce() {
	a := tr.basis.run.Assignment
	total := tr.config.Train.Steps
	tr.terminal.Line("%s  %s on %s, %d steps of %d x %d tokens",
		tr.terminal.Bold("lockstep train"), tr.config.Protocol.Model, tr.basis.source.Name(), total, a.Sequences, a.SeqLen)
	where := "without --dir, so nothing is kept"
	if tr.repo != nil {
		where = "in " + tr.config.Output.Dir
	}
	tr.terminal.Line("run %s %s; kernels %s, %d threads; Ctrl-C finishes the step",
		tr.result.Fingerprint.Short(), where, tr.result.ISA, tr.result.Threads)
	switch at := tr.state.Step; {
	case at >= uint64(total):
		tr.terminal.Line("it has %d steps already; --steps with a higher number goes on", at)
	case at > 0:
		tr.terminal.Line("going on after step %d", at)
	}
	tr.terminal.Line("")
}

// whereItStopped tells a person whose run ended early how to go on.
func (tr *trainer) whereItStopped() string {
	text := fmt.Sprintf("stopped after step %d of %d", tr.state.Step, tr.config.Train.Steps)
	if tr.repo == nil {
		return text + "; without --dir nothing was kept"
	}
	if tr.saved.step < tr.state.Step {
		text += fmt.Sprintf(", saved after step %d", tr.saved.step)
	}
	return text + "; go on with: lockstep train --resume --dir " + tr.config.Output.Dir
}

// step does one step of the optimizer, writes its tag and saves where that is
// due, and shows the step line.
func (tr *trainer) step(ctx context.Context) error {
	start := time.Now()
	line, err := tr.learn(ctx)
	if err != nil {
		return err
	}
	if tr.repo != nil && tr.due() {
		root := tr.state.Root()
		line.StateRoot = root.Short()
		if err := tr.push(ctx, root); err != nil {
			return err
		}
	}
	if time.Since(tr.saved.at) >= tr.config.Train.SaveEvery {
		if err := tr.save(ctx); err != nil {
			return err
		}
	}
	tr.meter.Add(time.Since(start))
	line.ETA = tr.meter.ETA(tr.config.Train.Steps - int(tr.state.Step))
	tr.newest = line
	tr.progress(0, int(tr.basis.run.Assignment.Sequences))
	if tr.stays(line.Number) {
		tr.terminal.Line("%s", tr.terminal.Fit(line.Line()))
	}
	return nil
}

// learn computes one gradient and applies it.
func (tr *trainer) learn(ctx context.Context) (observe.Step, error) {
	start := time.Now()
	work, err := tr.computer.Compute(ctx, tr.state.Parameters(tr.basis.weights.Config), tr.state.Epoch+1, 0)
	if err != nil {
		return observe.Step{}, err
	}
	if err := model.Average(work.Gradient, work.Facts.Tokens); err != nil {
		return observe.Step{}, err
	}
	info, err := tr.state.ApplyAverage(work.Gradient, optim.Config(tr.basis.run.Optimizer))
	if err != nil {
		return observe.Step{}, err
	}
	seconds := time.Since(start).Seconds()
	tr.seconds += seconds
	tr.tokens += work.Facts.Tokens
	tr.loss = work.Facts.Loss() / float64(work.Facts.Tokens)
	tr.result.Losses = append(tr.result.Losses, tr.loss)
	tr.result.Tokens += work.Facts.Tokens
	return observe.Step{
		Number: int(tr.state.Step), Total: tr.config.Train.Steps, Loss: tr.loss, Norm: info.Norm, LearningRate: info.Rate,
		TokensPerSecond: float64(work.Facts.Tokens) / seconds,
	}, nil
}

// linesThatStay is about how many step lines a run leaves on a terminal, where
// the bar shows each.
const linesThatStay = 20

// stays reports whether a step's line is written: each in a log; on a terminal
// the first, the last, and some at equal distances.
func (tr *trainer) stays(step int) bool {
	total := tr.config.Train.Steps
	every := (total + linesThatStay - 1) / linesThatStay
	return !tr.terminal.Live() || step == 1 || step == total || step%every == 0
}

// progress shows how far the run is, with done of total sequences of the step in
// hand.
func (tr *trainer) progress(done, total int) {
	what := ""
	if tr.meter.ETA(1) > time.Second || tr.newest.Number == 0 {
		what = fmt.Sprintf("sequence %d of %d", done, total)
	}
	tr.show(float64(done)/float64(total), what)
}

// show draws the bar, with a part of the step in hand done, and what is being
// done.
func (tr *trainer) show(part float64, what string) {
	steps, now := float64(tr.config.Train.Steps), float64(tr.state.Step)+part
	words := []string{fmt.Sprintf("%d/%d", tr.state.Step, tr.config.Train.Steps)}
	if n := tr.newest; n.Number > 0 {
		words = append(words, fmt.Sprintf("loss %.4f", n.Loss), observe.Count(int64(n.TokensPerSecond))+" tok/s")
	}
	if eta := tr.meter.ETA(1); eta > 0 {
		words = append(words, "eta "+observe.Duration(time.Duration((steps-now)*float64(eta))))
	}
	tr.terminal.Progress(now/steps, append(words, what)...)
}
