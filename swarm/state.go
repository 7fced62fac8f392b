package swarm

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"lockstep/hub"
	"lockstep/internal/fault"
	"lockstep/internal/merkle"
	"lockstep/internal/signed"
	"lockstep/internal/spec"
	"lockstep/model"
	"lockstep/swarm/control"
)

// vector is one of the three vectors of a state, by all its names.
type vector struct {
	name string // in routes
	kind merkle.Kind
	file hub.Vector
}

// vectors lists them in the order of the state root.
var vectors = [3]vector{
	{"parameters", merkle.KindParameters, hub.Parameters},
	{"m", merkle.KindMomentM, hub.MomentM},
	{"v", merkle.KindMomentV, hub.MomentV},
}

// vectorsOf returns the memory of a state in that order.
func vectorsOf(s *model.State) [3][]float32 { return [3][]float32{s.Theta, s.M, s.V} }

// digests are a state as its root sees it: enough to say which state a node
// has, and to check any part of it.
type digests struct {
	control.State
	root   merkle.Digest
	leaves [3][]merkle.Digest
}

// digestsOf hashes a state.
func digestsOf(fingerprint merkle.Digest, id spec.RunID, s *model.State) *digests {
	d := &digests{State: control.State{Fingerprint: fingerprint, RunID: id, Epoch: s.Epoch, Step: s.Step}}
	roots := [3]*merkle.Digest{&d.Parameters, &d.M, &d.V}
	for i, x := range vectorsOf(s) {
		d.leaves[i] = s.Layout.Grid(vectors[i].kind).Digests(x)
		*roots[i] = merkle.Root(d.leaves[i])
	}
	d.root = rootOf(d.State)
	return d
}

// rootOf returns the state root of what a node says about its state.
func rootOf(s control.State) merkle.Digest {
	return headerOf(s).Root()
}

// headerOf returns what the state root covers.
func headerOf(s control.State) model.Header {
	return model.Header{Epoch: s.Epoch, Step: s.Step, Parameters: s.Parameters, M: s.M, V: s.V}
}

// rootsOf returns the roots of the three vectors.
func rootsOf(s control.State) [3]merkle.Digest { return [3]merkle.Digest{s.Parameters, s.M, s.V} }

// shown is a state that others may read, from its file.
type shown struct {
	*digests
	signed signed.Envelope // the node's word for it
	file   *hub.StateFile
}

// chunk reads chunk i of vector v, encoded.
func (s *shown) chunk(v, i int) ([]byte, error) {
	g := merkle.Grid{Kind: vectors[v].kind, Codec: merkle.CodecF32, Elements: s.file.Elements}
	lo, hi := g.ChunkSpan(i)
	x := make([]float32, hi-lo)
	if err := s.file.ReadRange(vectors[v].file, lo, x); err != nil {
		return nil, err
	}
	return merkle.AppendFloat32(make([]byte, 0, 4*len(x)), x), nil
}

// saveState is hub.SaveState, replaced in tests by one whose disk is full.
type saveState func(ctx context.Context, dir string, s hub.State, keep int) (string, error)

// archive keeps the states of the last epochs in files and shows them to others
// while the node changes its own copy in memory: what is shown never changes.
// It is safe for concurrent use.
type archive struct {
	dir     string
	save    saveState
	backlog int // most states that are kept for the repository

	note  func() map[string]string // what else a saved state says; nil: nothing
	noted map[string]string        // what the loaded one says

	mu     sync.RWMutex
	states []*shown // ascending by epoch
}

// Keys in the Extra of a state file.
const (
	extraFingerprint = "fingerprint"
	extraRoot        = "root"
)

// keepStates is how many states are shown, and kept at least: a node that
// catches up must be able to finish although an epoch ends meanwhile.
const keepStates = 2

// put saves a state and shows it. The states of epochs after tagged are kept
// until they are in the repository, as far as there is room: the oldest ones are
// given up first, and returned. The state is durable when put returns.
func (a *archive) put(ctx context.Context, s *model.State, d *digests, word signed.Envelope, tagged uint64) (lost []uint64, err error) {
	keep := keepStates
	if s.Epoch > tagged {
		keep = max(keep, int(min(s.Epoch-tagged+1, uint64(a.backlog))))
	}
	before, err := a.stored()
	if err != nil {
		return nil, err
	}
	extra := map[string]string{extraFingerprint: d.Fingerprint.String(), extraRoot: d.root.String()}
	if a.note != nil {
		maps.Copy(extra, a.note())
	}
	path := ""
	for {
		path, err = a.save(ctx, a.dir, hub.State{
			Epoch: s.Epoch, Step: s.Step, Parameters: s.Theta, M: s.M, V: s.V, Extra: extra,
		}, keep)
		if !isFull(err) || !a.giveUpOldest() {
			break
		}
	}
	if err != nil {
		return nil, fmt.Errorf("state of epoch %d: %w", s.Epoch, err)
	}
	after, err := a.stored()
	if err != nil {
		return nil, err
	}
	for _, epoch := range before {
		if epoch > tagged && epoch < s.Epoch && !slices.Contains(after, epoch) {
			lost = append(lost, epoch)
		}
	}
	return lost, a.show(path, d, word)
}

// isFull reports whether a save failed for want of room.
func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// stored lists the epochs of the saved states, ascending.
func (a *archive) stored() ([]uint64, error) {
	paths, err := filepath.Glob(filepath.Join(a.dir, statePattern("*")))
	var out []uint64
	for _, p := range paths {
		if epoch, err := strconv.ParseUint(strings.Split(filepath.Base(p), "-")[1], 10, 64); err == nil {
			out = append(out, epoch)
		}
	}
	slices.Sort(out)
	return slices.Compact(out), err
}

// statePattern matches the files of an epoch's states; see package hub.
func statePattern(epoch string) string { return "state-" + epoch + "-*.safetensors" }

// giveUpOldest removes the oldest state that is only kept for the repository. It
// reports whether there was one.
func (a *archive) giveUpOldest() bool {
	epochs, err := a.stored()
	if err != nil || len(epochs) <= keepStates {
		return false
	}
	paths, _ := filepath.Glob(filepath.Join(a.dir, statePattern(fmt.Sprint(epochs[0]))))
	for _, p := range paths {
		err = errors.Join(err, os.Remove(p))
	}
	return err == nil
}

// show opens a saved state for others, and closes the oldest one.
func (a *archive) show(path string, d *digests, word signed.Envelope) error {
	file, err := hub.OpenState(path)
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for len(a.states) > 0 && a.states[len(a.states)-1].Epoch >= d.Epoch {
		a.drop(len(a.states) - 1)
	}
	a.states = append(a.states, &shown{d, word, file})
	for len(a.states) > keepStates {
		a.drop(0)
	}
	return nil
}

// drop closes a file. Readers that still have it get an error, and ask another
// node.
func (a *archive) drop(i int) {
	a.states[i].file.Close()
	a.states = append(a.states[:i], a.states[i+1:]...)
}

// get returns the state of an epoch.
func (a *archive) get(epoch uint64) (*shown, bool) {
	a.mu.RLock()
	defer a.mu.RUnlock()
	for _, s := range a.states {
		if s.Epoch == epoch {
			return s, true
		}
	}
	return nil, false
}

// newest returns the newest state that is shown.
func (a *archive) newest() (*shown, bool) {
	a.mu.RLock()
	defer a.mu.RUnlock()
	if len(a.states) == 0 {
		return nil, false
	}
	return a.states[len(a.states)-1], true
}

func (a *archive) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for len(a.states) > 0 {
		a.drop(0)
	}
}

// load reads the newest intact saved state into s and shows it. It returns nil
// digests where nothing was saved yet, and what was skipped as damaged.
func (a *archive) load(ctx context.Context, fingerprint merkle.Digest, id spec.RunID, s *model.State, sign func(control.State) signed.Envelope) (*digests, []error, error) {
	h := hub.State{Parameters: s.Theta, M: s.M, V: s.V}
	loaded, err := hub.LoadState(ctx, a.dir, &h)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, loaded.Skipped, err
	}
	s.Epoch, s.Step = h.Epoch, h.Step
	d := digestsOf(fingerprint, id, s)
	if h.Extra[extraFingerprint] != fingerprint.String() {
		return nil, loaded.Skipped, fault.Errorf(fault.Fingerprint, "%s belongs to run %.8s; this is run %s: use another folder", loaded.Path, h.Extra[extraFingerprint], fingerprint.Short())
	}
	if h.Extra[extraRoot] != d.root.String() {
		return nil, loaded.Skipped, fault.Errorf(fault.Damaged, "%s has state root %s, but was saved as %.8s: remove it", loaded.Path, d.root.Short(), h.Extra[extraRoot])
	}
	a.noted = h.Extra
	return d, loaded.Skipped, a.show(loaded.Path, d, sign(d.State))
}

// LostEpoch says that a node does not keep the state of an epoch any more. Where
// that is not in the repository, it and what follows it can be published only by
// a node that still has it.
type LostEpoch struct{ Epoch uint64 }

func (e *LostEpoch) Error() string {
	return fmt.Sprintf("the state of epoch %d is not kept any more: make room on the nodes' disks, or bring the repository back sooner", e.Epoch)
}

// Fault says that this machine had no room for it.
func (e *LostEpoch) Fault() fault.Kind { return fault.Environment }

// weights reads the parameters of an epoch's saved state, shown or not.
func (a *archive) weights(ctx context.Context, epoch uint64, dst []float32) error {
	paths, err := filepath.Glob(filepath.Join(a.dir, statePattern(fmt.Sprint(epoch))))
	if err != nil || len(paths) == 0 {
		return &LostEpoch{epoch}
	}
	f, err := hub.OpenState(paths[0])
	if err != nil {
		return err
	}
	defer f.Close()
	if f.Elements != len(dst) {
		return fault.Errorf(fault.Damaged, "%s has %d parameters, the model %d", paths[0], f.Elements, len(dst))
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return f.ReadRange(hub.Parameters, 0, dst)
}
