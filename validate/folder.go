package validate

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"lockstep/internal/durable"
	"lockstep/internal/fault"
)

// Names in the folder of all evidence: of what is being written, and of what is
// being replaced.
const (
	evidenceDir = "evidence"
	newPrefix   = ".new-"
	oldPrefix   = ".old-"
)

// Folder returns where the evidence about a seat in an epoch belongs under a
// node's folder: dir/evidence/EPOCH-UID.
func Folder(dir string, epoch uint64, uid uint32) string {
	return filepath.Join(dir, evidenceDir, fmt.Sprintf("%d-%d", epoch, uid))
}

// Write puts the evidence into folder, whole or not at all: the files are
// written and synced beside it and then renamed. What was there before is
// replaced; the same evidence again changes nothing.
func (e *Evidence) Write(folder string) error { return e.write(folder, createFile) }

// create opens a new file of the folder; tests fill the disk with it.
type create func(path string) (diskFile, error)

type diskFile interface {
	io.WriteCloser
	Sync() error
}

func createFile(path string) (diskFile, error) {
	return os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o644)
}

func (e *Evidence) write(folder string, open create) error {
	if old, err := readFiles(folder); err == nil && slices.EqualFunc(old, e.files, equalFiles) {
		return nil
	}
	parent, name := filepath.Split(filepath.Clean(folder))
	fresh := filepath.Join(parent, newPrefix+name)
	if err := e.writeFiles(fresh, open); err != nil {
		os.RemoveAll(fresh)
		return fmt.Errorf("evidence: %w", durable.Explain(folder, err))
	}
	if err := replace(folder, fresh, filepath.Join(parent, oldPrefix+name)); err != nil {
		return fmt.Errorf("evidence: %w", durable.Explain(folder, err))
	}
	return nil
}

func equalFiles(a, b file) bool { return a.name == b.name && string(a.data) == string(b.data) }

// writeFiles fills a new folder. The verdict comes last, so that even a copy
// that was cut short is told from a whole one.
func (e *Evidence) writeFiles(folder string, open create) error {
	if err := os.RemoveAll(folder); err != nil {
		return err
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	summary, err := e.summary()
	if err != nil {
		return err
	}
	for _, f := range append([]file{{summaryFile, summary}}, e.files...) {
		if err := writeFile(open, filepath.Join(folder, f.name), f.data); err != nil {
			return err
		}
	}
	return durable.SyncDir(folder)
}

func writeFile(open create, path string, data []byte) error {
	f, err := open(path)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// replace puts the fresh folder in the place of another, if there is one.
func replace(folder, fresh, old string) error {
	if err := os.RemoveAll(old); err != nil {
		return err
	}
	if err := os.Rename(folder, old); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Rename(fresh, folder); err != nil {
		return err
	}
	if err := durable.SyncDir(filepath.Dir(folder)); err != nil {
		return err
	}
	return os.RemoveAll(old)
}

// RestoreFolders brings the evidence under a node's folder into order after a
// crash: a folder that was about to be replaced comes back, and what was never
// put in place is removed. Call it before the first Write.
func RestoreFolders(dir string) error {
	dir = filepath.Join(dir, evidenceDir)
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if name, old := strings.CutPrefix(e.Name(), oldPrefix); old {
			_, missing := os.Stat(filepath.Join(dir, name))
			if errors.Is(missing, fs.ErrNotExist) {
				err = errors.Join(err, os.Rename(path, filepath.Join(dir, name)))
				continue
			}
		} else if !strings.HasPrefix(e.Name(), newPrefix) {
			continue
		}
		err = errors.Join(err, os.RemoveAll(path))
	}
	if err != nil {
		return fmt.Errorf("evidence: %w", durable.Explain(dir, err))
	}
	return nil
}

// ReadEvidence reads a folder that Write made, or a copy of it. A part that is
// missing, too large, changed or badly signed is fault.Undecided; a folder that
// is not there is an ordinary error.
func ReadEvidence(folder string) (*Evidence, error) {
	if _, err := os.Stat(folder); err != nil {
		return nil, fmt.Errorf("evidence: %w", err)
	}
	files, err := readFiles(folder)
	if err != nil {
		return nil, err
	}
	e, err := parseEvidence(files)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", folder, err)
	}
	return e, nil
}

// readFiles reads the parts that are there.
func readFiles(folder string) ([]file, error) {
	var files []file
	for _, name := range partFiles {
		data, err := readCapped(filepath.Join(folder, name), capOf(name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fault.Wrap(fault.Undecided, fmt.Errorf("evidence: %w", err))
		}
		files = append(files, file{name, data})
	}
	return files, nil
}

func readCapped(path string, most int) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, int64(most)+1))
	if err == nil && len(data) > most {
		err = fmt.Errorf("%s has more than %d bytes", path, most)
	}
	return data, err
}
