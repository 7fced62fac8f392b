package hub

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"lockstep/hub/safetensors"
	"lockstep/internal/fault"
)

// Vector names one of a state's three vectors.
type Vector uint8

// The vectors. The zero Vector is none.
const (
	Parameters Vector = iota + 1
	MomentM
	MomentV
)

// String returns the vector's name in the file.
func (v Vector) String() string {
	switch v {
	case Parameters:
		return parametersVector
	case MomentM:
		return momentMVector
	case MomentV:
		return momentVVector
	}
	return "none"
}

// StateFile is an open state file, for serving parts of it while the node goes
// on with its own copy in memory. It is safe for concurrent use and stays
// readable after the file was removed.
type StateFile struct {
	Epoch, Step uint64
	Elements    int // of each vector
	Extra       map[string]string

	name    stateName
	file    *os.File
	weights *safetensors.File
}

// OpenState opens a state file and checks its form. It does not read the
// vectors: those who need to know that they are intact call Verify, or check
// each part against a root.
func OpenState(path string) (*StateFile, error) {
	name, ok := parseStateName(filepath.Base(path))
	if !ok {
		return nil, fault.Errorf(fault.Usage, "%s is not the name of a state file", path)
	}
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &NotFoundError{What: "state file", Name: filepath.Base(path), Where: filepath.Dir(path)}
	}
	if err != nil {
		return nil, err
	}
	f := &StateFile{name: name, file: file}
	if err := f.readHeader(); err != nil {
		file.Close()
		return nil, err
	}
	return f, nil
}

func (f *StateFile) readHeader() error {
	info, err := f.file.Stat()
	if err != nil {
		return err
	}
	if f.weights, err = safetensors.Open(f.file, info.Size(), f.file.Name()); err != nil {
		return err
	}
	bad := func(why string) error {
		return fault.Errorf(fault.Damaged, "the state file %s is not valid: %s", f.file.Name(), why)
	}
	f.Extra = make(map[string]string)
	metadata := f.weights.Metadata()
	for key, value := range metadata {
		if own, ok := strings.CutPrefix(key, extraPrefix); ok {
			f.Extra[own] = value
		}
	}
	var err1, err2 error
	f.Epoch, err1 = strconv.ParseUint(metadata[epochKey], 10, 64)
	f.Step, err2 = strconv.ParseUint(metadata[stepKey], 10, 64)
	switch {
	case metadata[stateFormatKey] != stateFormat:
		return bad("its format is " + strconv.Quote(clip(metadata[stateFormatKey])) + ", this program reads " + strconv.Quote(stateFormat))
	case err1 != nil || err2 != nil || f.Epoch != f.name.epoch || f.Step != f.name.step:
		return bad("epoch or step differ from the file's name")
	case len(f.weights.Tensors()) != 3:
		return bad("it does not have three vectors")
	}
	first, _ := f.weights.Lookup(parametersVector)
	for _, v := range []Vector{Parameters, MomentM, MomentV} {
		t, ok := f.weights.Lookup(v.String())
		if !ok || t.Dtype != safetensors.F32 || len(t.Shape) != 1 || t.Shape[0] != first.Shape[0] {
			return bad("its vectors are not three of equal length, in F32")
		}
	}
	f.Elements = int(first.Shape[0])
	return nil
}

// Verify compares the file's bytes with the digest in its name.
func (f *StateFile) Verify(ctx context.Context) error {
	info, err := f.file.Stat()
	if err != nil {
		return err
	}
	sum, _, err := digestOf(ctx, io.NewSectionReader(f.file, 0, info.Size()))
	if err != nil {
		return err
	}
	if sum != f.name.digest {
		return fault.Errorf(fault.Damaged, "the state file %s is damaged: its SHA-256 is %s; remove it", f.file.Name(), sum)
	}
	return nil
}

// ReadRange fills dst with elements lo to lo+len(dst) of a vector.
func (f *StateFile) ReadRange(v Vector, lo int, dst []float32) error {
	return f.weights.ReadRange(v.String(), int64(lo), dst)
}

// Close closes the file.
func (f *StateFile) Close() error { return f.file.Close() }
