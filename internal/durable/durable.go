// Package durable puts small files in place so that a crash leaves the old
// content or the new one, and says in a sentence what a person can do when the
// disk does not take them. Large files, and many at once, have their own ways in
// the packages that write them, and share SyncDir and Explain.
package durable

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"syscall"

	"lockstep/internal/fault"
)

// SyncDir makes the names in a folder durable. Windows cannot sync a folder; its
// file systems journal renames.
func SyncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// File is what Replace needs of a new file; tests put one in its place whose
// disk is full.
type File interface {
	io.WriteCloser
	Name() string
	Sync() error
}

// Create makes a new file with a name of its own in dir, to be renamed later.
func Create(dir string) (File, error) { return os.CreateTemp(dir, ".new-*") }

// Replace writes a file so that after a crash it has the old content or the new
// one. Its folder is made where it is missing. Errors are explained.
func Replace(path string, mode fs.FileMode, content []byte) error {
	return replace(path, mode, content, Create)
}

func replace(path string, mode fs.FileMode, content []byte, create func(dir string) (File, error)) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return Explain(dir, err)
	}
	name, err := Write(dir, content, create)
	if err != nil {
		return Explain(path, err)
	}
	if err = os.Chmod(name, mode); err == nil {
		err = os.Rename(name, path)
	}
	if err != nil {
		return Explain(path, errors.Join(err, os.Remove(name)))
	}
	return Explain(dir, SyncDir(dir))
}

// Write fills a new file in dir, made by create, and syncs it. It returns the
// file's name, or nothing left behind and the error as the system gave it.
func Write(dir string, content []byte, create func(dir string) (File, error)) (name string, err error) {
	f, err := create(dir)
	if err != nil {
		return "", err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		_ = os.Remove(f.Name()) // the first error tells more
		return "", err
	}
	return f.Name(), nil
}

// Explain gives an error of writing path the sentence that a person needs where
// the machine refuses: the disk is full or read-only, or a right is missing. It
// is then of kind fault.Environment. Other errors, and those that have a kind
// already, come back as they are; nil stays nil.
func Explain(path string, err error) error {
	var known fault.Faulter
	if err == nil || errors.As(err, &known) {
		return err
	}
	advice := ""
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		advice = "no space is left for %s: make room on its disk and start again; what was saved before is whole (%w)"
	case errors.Is(err, syscall.EROFS):
		advice = "the disk of %s is read-only: mount it for writing, or choose another folder (%w)"
	case errors.Is(err, fs.ErrPermission):
		advice = "no right to write %s: change its owner or mode, or choose another folder (%w)"
	default:
		return err
	}
	return fault.Errorf(fault.Environment, advice, path, err)
}
