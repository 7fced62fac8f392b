package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"
	"strconv"
	"time"

	"lockstep/hub"
	"lockstep/internal/fault"
	"lockstep/internal/merkle"
	"lockstep/swarm"
)

// place is where a run stood when its state was saved.
type place struct {
	step uint64
	at   time.Time
}

// keepStates is how many states a run in one process keeps: the newest, and the
// one before it in case that one is damaged.
const keepStates = 2

// openFolder takes the run folder, leaves settings and run spec there, or with
// resume compares the spec and reads the newest state, and makes sure that the
// disk has room for all that is to come.
func (tr *trainer) openFolder(ctx context.Context, resume bool) (err error) {
	dir := tr.config.Output.Dir
	folder := swarm.Folder(dir)
	if !resume && exists(folder.Run()) {
		return refuseSecondRun(dir)
	}
	if tr.release, err = folder.Lock(); err != nil {
		return err
	}
	if !exists(folder.Run()) { // settings first: who finds a run finds its settings
		if err := saveSettings(dir, tr.config); err != nil {
			return err
		}
	}
	if err := folder.CheckRun(&tr.basis.run); err != nil {
		return err
	}
	if err := tr.load(ctx); err != nil {
		return err
	}
	tr.saved = place{tr.state.Step, time.Now()}
	if err := tr.requireSpace(); err != nil {
		return err
	}
	if err := saveSettings(dir, tr.config); err != nil {
		return err
	}
	tr.result.Repository = repositoryPath(tr.config)
	if tr.repo, err = hub.CreateDirectory(tr.result.Repository); err != nil {
		return err
	}
	if tr.state.Step > 0 && tr.due() { // the process may have ended before its tag was written
		return tr.push(ctx, tr.state.Root())
	}
	return nil
}

// requireSpace looks ahead to the last step: the tags that are still to come,
// and the states, of three vectors each, one more while it is written.
func (tr *trainer) requireSpace() error {
	rest := tr.config.Train.Steps - int(tr.state.Step)
	if rest <= 0 {
		return nil
	}
	tags := 1
	if every := tr.config.Train.PushEvery; every > 0 {
		tags = (rest + every - 1) / every
	}
	size := int64(4 * tr.state.Layout.Elements)
	if err := hub.RequireSpace(tr.config.Output.Dir, size*int64(3*(keepStates+1)+tags)); err != nil {
		return fmt.Errorf("%d tags and %d saved states: %w; raise --push-every", tags, keepStates, err)
	}
	return nil
}

// due reports whether the step that was just done gets a tag.
func (tr *trainer) due() bool {
	every := uint64(tr.config.Train.PushEvery)
	return tr.state.Step == uint64(tr.config.Train.Steps) || (every > 0 && tr.state.Step%every == 0)
}

// push commits the model and tags it with the step. Done again with the same
// state it changes nothing.
func (tr *trainer) push(ctx context.Context, root merkle.Digest) error {
	tr.show(0, fmt.Sprintf("writing tag %d", tr.state.Epoch))
	p := swarm.Published{
		Run: &tr.basis.run, Parameters: tr.state.Parameters(tr.basis.weights.Config), Tokenizer: tr.basis.tokens,
		Epoch: tr.state.Epoch, State: root, Loss: tr.loss, Tokens: tr.result.Tokens,
	}
	files, err := p.Files()
	if err != nil {
		return err
	}
	once := hub.Backoff{Attempts: 1, Sleep: hub.Sleep}
	pushed, err := hub.PushEpoch(ctx, tr.repo, tr.state.Epoch, files, fmt.Sprintf("Step %d, loss %.4f", tr.state.Step, tr.loss), once)
	if err != nil {
		return err
	}
	tr.result.Tags = append(tr.result.Tags, pushed.Tag)
	return nil
}

// Keys in the Extra of a state file.
const (
	extraFingerprint = "fingerprint"
	extraRoot        = "state_root"
	extraTokens      = "tokens"    // of all steps
	extraLoss        = "loss_bits" // of the newest step, float64
)

func (tr *trainer) states() string { return swarm.Folder(tr.config.Output.Dir).States() }

// errUnsaved is among the errors of save.
var errUnsaved = errors.New("the state was not saved")

// save writes the state to DIR/state, unless that is there already.
func (tr *trainer) save(ctx context.Context) error {
	s := tr.state
	if tr.repo == nil || s.Step == tr.saved.step {
		return nil
	}
	tr.show(0, "saving the state")
	_, err := hub.SaveState(ctx, tr.states(), hub.State{
		Epoch: s.Epoch, Step: s.Step, Parameters: s.Theta, M: s.M, V: s.V,
		Extra: map[string]string{
			extraFingerprint: tr.result.Fingerprint.String(),
			extraRoot:        s.Root().String(),
			extraTokens:      strconv.FormatUint(tr.result.Tokens, 10),
			extraLoss:        strconv.FormatUint(math.Float64bits(tr.loss), 16),
		},
	}, keepStates)
	if err != nil {
		return fmt.Errorf("%w: %w", errUnsaved, err)
	}
	tr.saved = place{s.Step, time.Now()}
	return nil
}

// load reads the newest intact state in DIR/state, if there is one, and checks
// that it is what was saved, by this run.
func (tr *trainer) load(ctx context.Context) error {
	s := tr.state
	h := hub.State{Parameters: s.Theta, M: s.M, V: s.V}
	loaded, err := hub.LoadState(ctx, tr.states(), &h)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, skipped := range loaded.Skipped {
		tr.terminal.Line("warning: %v; going back to %s", skipped, filepath.Base(loaded.Path))
	}
	if h.Extra[extraFingerprint] != tr.result.Fingerprint.String() {
		return fault.Errorf(fault.Fingerprint, "%s belongs to run %.8s; this is run %s", loaded.Path, h.Extra[extraFingerprint], tr.result.Fingerprint.Short())
	}
	s.Epoch, s.Step = h.Epoch, h.Step
	if root := s.Root(); h.Extra[extraRoot] != root.String() {
		return fault.Errorf(fault.Damaged, "%s has state root %s, but was saved as %.8s; remove it", loaded.Path, root.Short(), h.Extra[extraRoot])
	}
	tokens, err1 := strconv.ParseUint(h.Extra[extraTokens], 10, 64)
	bits, err2 := strconv.ParseUint(h.Extra[extraLoss], 16, 64)
	if err := errors.Join(err1, err2); err != nil {
		return fault.Errorf(fault.Damaged, "%s does not say how many tokens it has seen: %w; it is of another version", loaded.Path, err)
	}
	tr.result.Tokens, tr.loss = tokens, math.Float64frombits(bits)
	tr.result.ResumedAt = s.Step
	return nil
}
