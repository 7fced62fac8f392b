package durable

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"lockstep/internal/fault"
)

// full is a file whose disk refuses from some step on.
type full struct {
	File
	write, sync error
}

func (f full) Write(b []byte) (int, error) {
	if f.write != nil {
		return 0, f.write
	}
	return f.File.Write(b)
}

func (f full) Sync() error {
	if f.sync != nil {
		return f.sync
	}
	return f.File.Sync()
}

func TestReplace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "made", "here")
	for _, content := range []string{"old", "new"} {
		if err := Replace(path, 0o644, []byte(content)); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != content {
			t.Fatalf("%q, %v", got, err)
		}
	}
	if err := Replace(filepath.Join(path, "below"), 0o644, nil); err == nil {
		t.Error("a file was taken for a folder")
	}
}

func TestReplaceOnAFullDisk(t *testing.T) {
	for name, broken := range map[string]full{
		"write": {write: &fs.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}},
		"sync":  {sync: &fs.PathError{Op: "sync", Path: "x", Err: syscall.EDQUOT}},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "file")
			if err := Replace(path, 0o644, []byte("old")); err != nil {
				t.Fatal(err)
			}
			err := replace(path, 0o644, []byte("new"), func(dir string) (File, error) {
				f, err := Create(dir)
				broken.File = f
				return broken, err
			})
			if fault.KindOf(err) != fault.Environment || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "make room") {
				t.Errorf("%v (%v)", err, fault.KindOf(err))
			}
			if got, _ := os.ReadFile(path); string(got) != "old" {
				t.Errorf("the old content became %q", got)
			}
			if left, _ := os.ReadDir(filepath.Dir(path)); len(left) != 1 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

func TestExplain(t *testing.T) {
	if Explain("x", nil) != nil {
		t.Error("nil became an error")
	}
	plain := errors.New("something else")
	if Explain("x", plain) != plain {
		t.Error("an error that tells nothing of the disk was changed")
	}
	known := fault.Errorf(fault.Network, "far away: %w", syscall.ENOSPC)
	if Explain("x", known) != known {
		t.Error("an error with a kind was changed")
	}
	for err, words := range map[error]string{
		syscall.ENOSPC: "make room", syscall.EDQUOT: "make room", syscall.EROFS: "read-only", fs.ErrPermission: "no right",
	} {
		got := Explain("/here", err)
		if fault.KindOf(got) != fault.Environment || !strings.Contains(got.Error(), "/here") || !strings.Contains(got.Error(), words) || !errors.Is(got, err) {
			t.Errorf("%v becomes %v (%v)", err, got, fault.KindOf(got))
		}
	}
}
