package swarm

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"lockstep/internal/durable"
	"lockstep/internal/fault"
	"lockstep/internal/spec"
)

// Folder is a node's folder. See the package comment for what lies where.
type Folder string

// Key returns the path of the identity key.
func (f Folder) Key() string { return filepath.Join(string(f), "identity.key") }

// Run returns the path of the run spec.
func (f Folder) Run() string { return filepath.Join(string(f), "run.json") }

// RunID returns the path of the run id.
func (f Folder) RunID() string { return filepath.Join(string(f), "run.id") }

// States returns the folder of saved states.
func (f Folder) States() string { return filepath.Join(string(f), "state") }

// Journal returns the path of a machine's journal: "member", "observer" or
// "leader".
func (f Folder) Journal(machine string) string {
	return filepath.Join(string(f), "journal", machine)
}

// Averages returns the folder of the last averages.
func (f Folder) Averages() string { return filepath.Join(string(f), "averages") }

// Records returns the folder of the signed epoch records.
func (f Folder) Records() string { return filepath.Join(string(f), "records") }

// Dockets returns the folder of a validator's dockets.
func (f Folder) Dockets() string { return filepath.Join(string(f), "epochs") }

// Convictions returns the folder of evidence whose epoch is not settled yet.
func (f Folder) Convictions() string { return filepath.Join(string(f), "convictions") }

// Starts returns the file that counts a validator's starts.
func (f Folder) Starts() number { return number(filepath.Join(string(f), "starts")) }

// Tagged returns the file that counts the epochs that are in the repository.
func (f Folder) Tagged() number { return number(filepath.Join(string(f), "tagged")) }

// Ledger returns the folder of a validator's ledger.
func (f Folder) Ledger() string { return filepath.Join(string(f), "ledger") }

// maxRunFile caps run.json.
const maxRunFile = 1 << 20

// Lock creates the folder where it is missing and takes it for this process
// alone, until release is called or the process ends, however it ends.
func (f Folder) Lock() (release func(), err error) {
	if err := os.MkdirAll(string(f), 0o755); err != nil {
		return nil, fmt.Errorf("run folder: %w", durable.Explain(string(f), err))
	}
	return lockFolder(filepath.Join(string(f), "lock"))
}

// Open takes the folder as Lock does and checks that it belongs to the run: the
// first to use a folder leaves the run spec there, and a later one with another
// spec gets fault.Fingerprint.
func (f Folder) Open(run *spec.Run) (release func(), err error) {
	lock, err := f.Lock()
	if err != nil {
		return nil, err
	}
	if err := f.CheckRun(run); err != nil {
		lock()
		return nil, err
	}
	return lock, nil
}

// CheckRun compares the folder's run spec with run, and leaves run there if it
// has none. The error for another run is a *DifferentRun.
func (f Folder) CheckRun(run *spec.Run) error {
	before, err := f.LoadRun()
	if errors.Is(err, fs.ErrNotExist) {
		return f.saveRun(run)
	}
	if err != nil {
		return err
	}
	if before.Fingerprint() == run.Fingerprint() {
		return nil
	}
	return &DifferentRun{Where: string(f), Differences: spec.Diff(run, before)}
}

// KnownInit returns init as the folder's run spec has it where the weights are the
// same: a branch may have moved without changing them, and older specs do not
// name the base model.
func (f Folder) KnownInit(init spec.Init) (spec.Init, error) {
	before, err := f.LoadRun()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return init, nil
	case err != nil:
		return spec.Init{}, err
	case before.Init.Kind == init.Kind && before.Init.Parameters == init.Parameters:
		return before.Init, nil
	}
	return init, nil
}

// LoadRun reads the run spec of the folder.
func (f Folder) LoadRun() (*spec.Run, error) {
	file, err := os.Open(f.Run())
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() > maxRunFile {
		return nil, fault.Errorf(fault.Damaged, "run spec %s: %d bytes; at most %d are read", f.Run(), info.Size(), maxRunFile)
	}
	dec := json.NewDecoder(file)
	dec.DisallowUnknownFields()
	run := new(spec.Run)
	if err := dec.Decode(run); err != nil {
		return nil, fault.Errorf(fault.Damaged, "run spec %s: %w", f.Run(), err)
	}
	return run, run.Validate()
}

func (f Folder) saveRun(run *spec.Run) error {
	b, err := json.MarshalIndent(run, "", "  ")
	if err == nil {
		err = durable.Replace(f.Run(), 0o644, append(b, '\n'))
	}
	if err != nil {
		return fmt.Errorf("run spec %s: %w", f.Run(), err)
	}
	return nil
}

// DifferentRun says that a folder belongs to a run with another spec.
type DifferentRun struct {
	Where       string
	Differences []spec.Difference
}

func (e *DifferentRun) Error() string {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s belongs to another run", e.Where)
	for i, d := range e.Differences {
		sep := ": "
		if i > 0 {
			sep = "; "
		}
		b.WriteString(sep + d.String())
	}
	b.WriteString("; use the same settings, or another folder")
	return b.String()
}

// Fault makes it exit code 30.
func (e *DifferentRun) Fault() fault.Kind { return fault.Fingerprint }
