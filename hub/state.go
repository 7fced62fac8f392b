package hub

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"lockstep/hub/safetensors"
	"lockstep/internal/fault"
	"lockstep/internal/merkle"
)

// State is what a node needs to go on after a stop. The three vectors are flat,
// in the order of the model's layout, of equal length.
type State struct {
	Epoch, Step uint64
	Parameters  []float32
	M, V        []float32         // AdamW's moments
	Extra       map[string]string // whatever else must come back, such as the run's fingerprint
}

// Names of the vectors in a state file.
const (
	parametersVector = "parameters"
	momentMVector    = "moment_m"
	momentVVector    = "moment_v"
)

func (s *State) vectors() []safetensors.Tensor {
	shape := []int{len(s.Parameters)}
	return []safetensors.Tensor{
		{Name: parametersVector, Shape: shape, Data: s.Parameters},
		{Name: momentMVector, Shape: shape, Data: s.M},
		{Name: momentVVector, Shape: shape, Data: s.V},
	}
}

// Metadata keys of a state file.
const (
	stateFormatKey = "lockstep.state"
	stateFormat    = "1"
	epochKey       = "lockstep.epoch"
	stepKey        = "lockstep.step"
	extraPrefix    = "extra."
)

// stateName is what a state file's name says: its place in the run, and the
// SHA-256 of its bytes. One rename thus puts contents and digest in place.
type stateName struct {
	epoch, step uint64
	digest      merkle.Digest
}

func (n stateName) String() string {
	return fmt.Sprintf("state-%d-%d-%s.safetensors", n.epoch, n.step, n.digest)
}

func parseStateName(name string) (stateName, bool) {
	rest, ok1 := strings.CutPrefix(name, "state-")
	rest, ok2 := strings.CutSuffix(rest, ".safetensors")
	parts := strings.Split(rest, "-")
	if !ok1 || !ok2 || len(parts) != 3 {
		return stateName{}, false
	}
	var n stateName
	var err1, err2, err3 error
	n.epoch, err1 = strconv.ParseUint(parts[0], 10, 64)
	n.step, err2 = strconv.ParseUint(parts[1], 10, 64)
	n.digest, err3 = merkle.ParseDigest(parts[2])
	return n, err1 == nil && err2 == nil && err3 == nil && n.String() == name
}

// compare orders names by their place in the run, newest first.
func (n stateName) compare(m stateName) int {
	return cmp.Or(cmp.Compare(m.epoch, n.epoch), cmp.Compare(m.step, n.step), strings.Compare(n.String(), m.String()))
}

// SaveState writes s into the folder dir, which one process at a time may use.
// It appears under its name whole and synced, or not at all; only then are
// others removed: the oldest, so that keep are left in all, and any at the same
// place in the run or later, which the node has turned away from. It returns the
// path of the file.
func SaveState(ctx context.Context, dir string, s State, keep int) (string, error) {
	return saveState(ctx, osDisk{}, dir, s, keep)
}

func saveState(ctx context.Context, d disk, dir string, s State, keep int) (string, error) {
	if keep < 1 {
		return "", fault.Errorf(fault.Usage, "state files: at least one must be kept, not %d", keep)
	}
	metadata := map[string]string{stateFormatKey: stateFormat, epochKey: strconv.FormatUint(s.Epoch, 10), stepKey: strconv.FormatUint(s.Step, 10)}
	for key, value := range s.Extra {
		metadata[extraPrefix+key] = value
	}
	e, err := safetensors.NewEncoder(metadata, s.vectors())
	if err != nil {
		return "", err
	}
	if err := makeDir(d, dir); err != nil {
		return "", err
	}
	if err := removeUnfinished(d, dir); err != nil {
		return "", err
	}
	if err := requireSpace(d, dir, e.Size()); err != nil {
		return "", err
	}
	name := stateName{epoch: s.Epoch, step: s.Step}
	name.digest, err = writeFile(ctx, d, dir, Stream("state", e), func(sum merkle.Digest) string {
		return filepath.Join(dir, stateName{s.Epoch, s.Step, sum}.String())
	})
	if err != nil {
		return "", fmt.Errorf("saving the state of epoch %d: %w", s.Epoch, explainFull(d, dir, e.Size(), err))
	}
	return filepath.Join(dir, name.String()), pruneStates(d, dir, name, keep)
}

// removeUnfinished removes what a crash in SaveState has left.
func removeUnfinished(d disk, dir string) error {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), tempPrefix) {
			err = errors.Join(err, d.Remove(filepath.Join(dir, e.Name())))
		}
	}
	return err
}

// pruneStates keeps the file just saved and the newest before it, keep in all.
func pruneStates(d disk, dir string, saved stateName, keep int) error {
	names, err := listStates(dir)
	if err != nil {
		return err
	}
	for _, n := range names {
		switch {
		case n == saved:
		case keep > 1 && cmp.Or(cmp.Compare(n.epoch, saved.epoch), cmp.Compare(n.step, saved.step)) < 0:
			keep--
		default:
			err = errors.Join(err, d.Remove(filepath.Join(dir, n.String())))
		}
	}
	return err
}

// listStates returns the state files in dir, newest first.
func listStates(dir string) ([]stateName, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var names []stateName
	for _, e := range entries {
		if n, ok := parseStateName(e.Name()); ok {
			names = append(names, n)
		}
	}
	slices.SortFunc(names, stateName.compare)
	return names, nil
}

// Loaded says which state file was used.
type Loaded struct {
	Path    string
	Skipped []error // newer files that were not used, and why
}

// LoadState reads the newest intact state file in dir into s, whose vectors have
// the model's length already and whose other fields are set. A file whose bytes
// do not have the digest in its name, or that cannot be parsed, is skipped and
// reported. *NotFoundError if there is no state file at all; an error of kind
// Damaged if none is intact; one of kind Config if an intact one has vectors of
// another length. After an error s is unspecified.
func LoadState(ctx context.Context, dir string, s *State) (Loaded, error) {
	names, err := listStates(dir)
	if err != nil {
		return Loaded{}, err
	}
	if len(names) == 0 {
		return Loaded{}, &NotFoundError{What: "state file", Name: "state-*", Where: dir}
	}
	var loaded Loaded
	for _, n := range names {
		loaded.Path = filepath.Join(dir, n.String())
		err := loadFile(ctx, loaded.Path, s)
		if err == nil || fault.KindOf(err) != fault.Damaged {
			return loaded, err
		}
		loaded.Skipped = append(loaded.Skipped, err)
	}
	return Loaded{Skipped: loaded.Skipped}, fault.Errorf(fault.Damaged, "none of the %d state files in %s is intact: %w", len(names), dir, errors.Join(loaded.Skipped...))
}

func loadFile(ctx context.Context, path string, s *State) error {
	f, err := OpenState(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Verify(ctx); err != nil {
		return err
	}
	if f.Elements != len(s.Parameters) {
		return fault.Errorf(fault.Config, "%s holds a model of %d parameters, this one has %d; use the configuration it was saved with, or another folder", path, f.Elements, len(s.Parameters))
	}
	s.Epoch, s.Step, s.Extra = f.Epoch, f.Step, f.Extra
	return f.weights.Read(ctx, s.vectors()...)
}
