package hub

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"lockstep/hub/internal/strictjson"
	"lockstep/hub/safetensors"
	"lockstep/internal/fault"
)

const (
	indexFile  = "model.safetensors.index.json"
	maxIndex   = 16 << 20 // bytes of an index
	maxTensors = 200_000  // named in an index
	maxShards  = 1000     // files named in an index
)

// Weights are the tensors of a model: those of one safetensors file, or of
// several that an index puts together. It is safe for concurrent use.
type Weights struct {
	files []*shard
	names []string          // in the order of the files, then of their bytes
	in    map[string]*shard // by tensor
}

// shard is one file of weights.
type shard struct {
	*safetensors.File
	name string
	file File
}

// OpenWeights opens the weights of a model: model.safetensors or, without that,
// the files that model.safetensors.index.json names. Each file must hold exactly
// the tensors that the index says: one that is in two files, in none, or not in
// the index makes the model ambiguous, and is refused.
func OpenWeights(ctx context.Context, s Snapshot) (_ *Weights, err error) {
	w := &Weights{in: map[string]*shard{}}
	defer func() {
		if err != nil {
			w.Close()
		}
	}()
	err = w.add(ctx, s, WeightsFile)
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return w, err
	}
	index, ierr := readIndex(ctx, s)
	if errors.Is(ierr, fs.ErrNotExist) {
		return w, fmt.Errorf("%w, nor %s; other formats of weights are not read", err, indexFile)
	}
	if ierr != nil {
		return w, ierr
	}
	for _, name := range index.files {
		if err := w.add(ctx, s, name); err != nil {
			return w, err
		}
	}
	return w, w.matches(s, index)
}

// add opens one file.
func (w *Weights) add(ctx context.Context, s Snapshot, name string) error {
	f, err := s.Open(ctx, name)
	if err != nil {
		return err
	}
	part := &shard{name: name, file: f}
	w.files = append(w.files, part)
	if part.File, err = safetensors.Open(f, f.Size(), s.Name()+"/"+name); err != nil {
		return err
	}
	for _, t := range part.Tensors() {
		if other, twice := w.in[t.Name]; twice {
			return fault.Errorf(fault.Damaged, "%s: tensor %s is in %s and in %s", s.Name(), clip(t.Name), other.name, name)
		}
		w.in[t.Name] = part
		w.names = append(w.names, t.Name)
	}
	return nil
}

// matches compares the files with their index.
func (w *Weights) matches(s Snapshot, x index) error {
	for _, name := range w.names {
		if x.in[name] != w.in[name].name {
			return fault.Errorf(fault.Damaged, "%s: %s holds tensor %s, which the index does not say", s.Name(), w.in[name].name, clip(name))
		}
	}
	for _, name := range x.names {
		if w.in[name] == nil {
			return fault.Errorf(fault.Damaged, "%s: the index promises tensor %s in %s, where it is not", s.Name(), clip(name), x.in[name])
		}
	}
	return nil
}

// Names lists the tensors.
func (w *Weights) Names() []string { return w.names }

// Shape returns the shape of a tensor in Names.
func (w *Weights) Shape(name string) []int {
	part, ok := w.in[name]
	if !ok {
		return nil
	}
	info, _ := part.Lookup(name)
	shape := make([]int, len(info.Shape))
	for i, n := range info.Shape {
		shape[i] = int(n)
	}
	return shape
}

// Read fills dst, which has the tensor's size, converting to float32.
func (w *Weights) Read(ctx context.Context, name string, dst []float32) error {
	part, ok := w.in[name]
	if !ok {
		return &NotFoundError{What: "tensor", Name: name, Where: "the weights"}
	}
	return part.File.Read(ctx, safetensors.Tensor{Name: name, Shape: w.Shape(name), Data: dst})
}

// Close closes the files.
func (w *Weights) Close() error {
	var errs []error
	for _, f := range w.files {
		errs = append(errs, f.file.Close())
	}
	return errors.Join(errs...)
}

// index says which file holds which tensor.
type index struct {
	names []string // tensors, in its order
	files []string // each once, in order of first mention
	in    map[string]string
}

func readIndex(ctx context.Context, s Snapshot) (index, error) {
	f, err := s.Open(ctx, indexFile)
	if err != nil {
		return index{}, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxIndex+1))
	if err != nil {
		return index{}, err
	}
	x, err := parseIndex(text)
	if err != nil {
		err = fault.Errorf(fault.Damaged, "%s/%s: %w", s.Name(), indexFile, err)
	}
	return x, err
}

// parseIndex reads {"metadata": ..., "weight_map": {TENSOR: FILE, ...}}. A file
// lies beside the index: names that lead elsewhere are refused.
func parseIndex(text []byte) (index, error) {
	x := index{in: map[string]string{}}
	if len(text) > maxIndex {
		return x, fmt.Errorf("more than %d bytes", maxIndex)
	}
	r, err := strictjson.NewReader(text)
	if err != nil {
		return x, err
	}
	err = r.Object(func(field string) error {
		if field == "weight_map" {
			return r.Object(func(tensor string) error { return x.entry(r, tensor) })
		}
		return r.Skip()
	})
	if err == nil {
		err = r.End()
	}
	if err == nil && len(x.names) == 0 {
		err = errors.New("it names no tensors in a weight_map")
	}
	return x, err
}

func (x *index) entry(r *strictjson.Reader, tensor string) error {
	file, err := r.Text()
	switch {
	case err != nil:
		return err
	case len(x.names) == maxTensors:
		return fmt.Errorf("more than %d tensors", maxTensors)
	case CheckPath(file) != nil || strings.Contains(file, "/") || !strings.HasSuffix(file, ".safetensors"):
		return fmt.Errorf("tensor %s is said to be in %q; want the name of a .safetensors file beside the index", clip(tensor), clip(file))
	}
	if !slices.Contains(x.files, file) {
		if len(x.files) == maxShards {
			return fmt.Errorf("more than %d files", maxShards)
		}
		x.files = append(x.files, file)
	}
	x.names = append(x.names, tensor)
	x.in[tensor] = file
	return nil
}
