package hub

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"syscall"
)

// laxDisk does not wait for the hardware: tests that only stop processes, or
// only pretend that the power fails, do not depend on it.
type laxDisk struct{ osDisk }

type laxFile struct{ diskFile }

func (laxDisk) SyncDir(string) error { return nil }
func (laxFile) Sync() error          { return nil }

func (d laxDisk) Create(dir string) (diskFile, error) {
	f, err := d.osDisk.Create(dir)
	return laxFile{f}, err
}

// faultyDisk is a disk that fails at one step of the caller's choice. Steps are
// the calls that could change something: each Mkdir, Create, Write, Sync,
// Rename, Remove and SyncDir.
//
// With fail == crash it also is a disk that forgets. The machine loses power at
// that step, and what was not synced may be lost: the contents of a file since
// its last Sync, the names in a folder since its last SyncDir. After the crash
// every call fails without effect, as if the process were gone; settle then
// decides by seed what survived.
type faultyDisk struct {
	laxDisk
	at   int // the step that fails, counted from 1; 0 for none
	fail failure

	forgetSync, forgetSyncDir bool // mutants: syncs that do not reach the disk

	steps   int
	dead    bool
	pending []change
}

type failure uint8

const (
	full  failure = iota + 1 // this step says ENOSPC; a Write stops half-way
	crash                    // this step happens half-way or not at all, then nothing more
)

var errPowerLoss = errors.New("the power is gone")

// change is something that a power loss may undo.
type change struct {
	dir  string // becomes durable when this folder is synced, or
	file string // when this file is
	undo func()
}

// step counts one step and returns the error it ends with.
func (d *faultyDisk) step(op, path string) error {
	if d.dead {
		return errPowerLoss
	}
	d.steps++
	if d.steps != d.at {
		return nil
	}
	if d.fail == full {
		return &os.PathError{Op: op, Path: path, Err: syscall.ENOSPC}
	}
	d.dead = true
	return errPowerLoss
}

func (d *faultyDisk) Mkdir(dir string) error {
	if err := d.step("mkdir", dir); err != nil {
		return err
	}
	err := d.laxDisk.Mkdir(dir)
	if err == nil {
		d.note(change{dir: filepath.Dir(dir), undo: func() { os.RemoveAll(dir) }})
	}
	return err
}

func (d *faultyDisk) Create(dir string) (diskFile, error) {
	if err := d.step("open", dir); err != nil {
		return nil, err
	}
	f, err := d.laxDisk.Create(dir)
	if err != nil {
		return nil, err
	}
	d.note(change{dir: dir, undo: func() { os.Remove(f.Name()) }})
	return &faultyFile{diskFile: f, disk: d}, nil
}

func (d *faultyDisk) Rename(from, to string) error {
	if err := d.step("rename", to); err != nil {
		return err
	}
	before, missing := os.ReadFile(to)
	if err := d.laxDisk.Rename(from, to); err != nil {
		return err
	}
	d.rename(from, to)
	d.note(change{dir: filepath.Dir(to), undo: func() {
		if missing != nil {
			os.Remove(to)
		} else if err := os.WriteFile(to, before, 0o644); err != nil {
			panic(err)
		}
	}})
	return nil
}

// rename makes what is not yet synced of a file follow its name.
func (d *faultyDisk) rename(from, to string) {
	for i, c := range d.pending {
		if c.file == from {
			d.pending[i] = change{file: to, undo: func() { loseTail(to) }}
		}
	}
}

func (d *faultyDisk) Remove(name string) error {
	if err := d.step("remove", name); err != nil {
		return err
	}
	before, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	if err := d.laxDisk.Remove(name); err != nil {
		return err
	}
	d.note(change{dir: filepath.Dir(name), undo: func() { os.WriteFile(name, before, 0o644) }})
	return nil
}

func (d *faultyDisk) SyncDir(dir string) error {
	if err := d.step("sync", dir); err != nil || d.forgetSyncDir {
		return err
	}
	d.pending = slices.DeleteFunc(d.pending, func(c change) bool { return c.dir == dir })
	return nil
}

func (d *faultyDisk) note(c change) {
	if d.fail == crash {
		d.pending = append(d.pending, c)
	}
}

// settle decides what the power loss has left: each change that was not yet
// durable is kept or undone, newest first.
func (d *faultyDisk) settle(seed uint64) {
	r := rand.New(rand.NewPCG(seed, 1))
	for _, c := range slices.Backward(d.pending) {
		if r.IntN(2) == 0 {
			c.undo()
		}
	}
	d.pending = nil
}

// loseTail keeps half of a file.
func loseTail(name string) {
	if info, err := os.Stat(name); err == nil {
		if err := os.Truncate(name, info.Size()/2); err != nil {
			panic(err)
		}
	}
}

type faultyFile struct {
	diskFile
	disk *faultyDisk
}

func (f *faultyFile) Write(b []byte) (int, error) {
	name := f.Name()
	if err := f.disk.step("write", name); err != nil {
		n := 0
		if !errors.Is(err, errPowerLoss) || f.disk.steps == f.disk.at {
			n, _ = f.diskFile.Write(b[:len(b)/2])
		}
		return n, err
	}
	f.disk.note(change{file: name, undo: func() { loseTail(name) }})
	return f.diskFile.Write(b)
}

func (f *faultyFile) Sync() error {
	if err := f.disk.step("sync", f.Name()); err != nil || f.disk.forgetSync {
		return err
	}
	f.disk.pending = slices.DeleteFunc(f.disk.pending, func(c change) bool { return c.file == f.Name() })
	return nil
}

// everyStep runs work once for each step it takes, failing there, and calls
// check with the disk afterwards. It stops when work no longer reaches the step.
// Each crash is settled in several ways.
func everyStep(fail failure, mutate func(*faultyDisk), work func(name string, d *faultyDisk) (check func(seed uint64) error)) error {
	seeds := uint64(1)
	if fail == crash {
		seeds = 3
	}
	for at := 1; ; at++ {
		reached := false
		for seed := range seeds {
			d := &faultyDisk{at: at, fail: fail}
			if mutate != nil {
				mutate(d)
			}
			check := work(fmt.Sprintf("%d-%d", at, seed), d)
			reached = d.steps >= at
			d.settle(seed)
			if err := check(seed); err != nil {
				return fmt.Errorf("step %d, seed %d: %w", at, seed, err)
			}
		}
		if !reached {
			return nil
		}
	}
}
