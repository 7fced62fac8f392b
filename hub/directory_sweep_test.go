package hub

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"lockstep/internal/fault"
	"lockstep/internal/merkle"
)

// TestSweep stores contents that are never committed, and commits others: only
// the former go, and not before their time.
func TestSweep(t *testing.T) {
	d := newDirectory(t)
	first := commit(t, d, "", "one", text("a", "in use"))
	commit(t, d, first.ID, "two", text("a", "newer"))
	store := func(content string) merkle.Digest {
		t.Helper()
		info, err := d.Store(ctx, text("x", content))
		if err != nil {
			t.Fatal(err)
		}
		old := time.Now().Add(-time.Hour)
		if err := os.Chtimes(d.path(blobsDir, info.SHA256.String()), old, old); err != nil {
			t.Fatal(err)
		}
		return info.SHA256
	}
	var before time.Time
	sweep := func(want int) {
		t.Helper()
		if n, err := d.Sweep(ctx, before); err != nil || n != want {
			t.Errorf("%d were removed, %v; want %d", n, err, want)
		}
	}
	used, lost, wanted, again := store("in use"), store("lost"), store("wanted"), store("again")
	before = time.Now().Add(-time.Minute)
	sweep(0) // whatever the time of modification is, they came here just now
	before = time.Now()
	if size, ok, err := d.Renew(ctx, wanted); err != nil || !ok || size != 6 {
		t.Errorf("renewing: %d, %v, %v", size, ok, err)
	}
	if _, err := d.Store(ctx, text("x", "again")); err != nil {
		t.Fatal(err)
	}
	writers, err := d.enterWriters(ctx)
	if err != nil {
		t.Fatal(err)
	}
	sweep(0) // somebody writes
	writers.unlock()
	sweep(1)
	sweep(0)
	for name, c := range map[string]struct {
		sum  merkle.Digest
		want bool
	}{"in use": {used, true}, "lost": {lost, false}, "renewed": {wanted, true}, "stored again": {again, true}} {
		if _, ok := d.Stored(c.sum); ok != c.want {
			t.Errorf("%s: there is %v", name, ok)
		}
	}
	if _, ok, err := d.Renew(ctx, lost); ok || err != nil {
		t.Errorf("renewing what is gone: %v, %v", ok, err)
	}
	if got, err := read(d, first.ID, "a"); err != nil || got != "in use" {
		t.Errorf("%q, %v", got, err)
	}
}

// TestSweepNeedsAllCommits damages a commit file: nothing is removed.
func TestSweepNeedsAllCommits(t *testing.T) {
	d := newDirectory(t)
	head := commit(t, d, "", "one", text("a", "in use"))
	if err := os.WriteFile(d.path(commitsDir, head.ID+".json"), []byte("{}"), 0o644); err != nil {
		t.Fatal(err)
	}
	if n, err := d.Sweep(ctx, time.Now().Add(time.Hour)); n != 0 || fault.KindOf(err) != fault.Damaged {
		t.Errorf("%d were removed, %v", n, err)
	}
}

// TestSweepWaitsForTheRest takes away what a copy in progress does not have yet:
// as long as it is missing nothing is removed.
func TestSweepWaitsForTheRest(t *testing.T) {
	d := newDirectory(t)
	first := commit(t, d, "", "one", text("a", "in use"))
	second := commit(t, d, first.ID, "two", text("a", "newer"))
	if err := d.CreateTag(ctx, "v1", second.ID); err != nil {
		t.Fatal(err)
	}
	branch := commit(t, d, second.ID, "three", text("a", "newest"))
	if err := errors.Join(d.CreateBranch(ctx, "side", branch.ID), d.putRef(ctx, headsDir, mainBranch, second.ID)); err != nil {
		t.Fatal(err)
	}
	lost, err := d.Store(ctx, text("x", "lost"))
	if err != nil {
		t.Fatal(err)
	}
	future := time.Now().Add(time.Hour)
	for missing, want := range map[string]fault.Kind{
		"commits/" + first.ID + ".json":  fault.Damaged, // a commit's parent
		"commits/" + second.ID + ".json": fault.Damaged,
		"commits/" + branch.ID + ".json": fault.Damaged, // only a branch names it
		"refs/heads/main":                fault.None,
	} {
		file := d.path(filepath.FromSlash(missing))
		if err := os.Rename(file, file+"~"); err != nil {
			t.Fatal(err)
		}
		if n, err := d.Sweep(ctx, future); n != 0 || fault.KindOf(err) != want {
			t.Errorf("without %s: %d were removed, %v", missing, n, err)
		}
		if err := os.Rename(file+"~", file); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := d.Sweep(ctx, future); n != 1 || err != nil {
		t.Errorf("with all: %d were removed, %v", n, err)
	}
	if _, ok := d.Stored(lost.SHA256); ok {
		t.Error("what nobody names is there")
	}
}

// stubbornDisk does not remove one file, nor set the times of any.
type stubbornDisk struct {
	osDisk
	keep string
}

func (d stubbornDisk) Remove(name string) error {
	if filepath.Base(name) == d.keep {
		return &fs.PathError{Op: "remove", Path: name, Err: syscall.EACCES}
	}
	return d.osDisk.Remove(name)
}

func (stubbornDisk) Touch(name string) error {
	return &fs.PathError{Op: "chtimes", Path: name, Err: syscall.EPERM}
}

// TestSweepOfAnotherUsersBlobs sweeps a folder in which one blob cannot be
// removed: it is reported, and the others go.
func TestSweepOfAnotherUsersBlobs(t *testing.T) {
	d := newDirectory(t)
	commit(t, d, "", "one", text("a", "in use"))
	first := merkle.Digest{255}
	for _, content := range []string{"1", "2", "3"} {
		info, err := d.Store(ctx, text("x", content))
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Compare(info.SHA256[:], first[:]) < 0 {
			first = info.SHA256
		}
	}
	d.disk = stubbornDisk{keep: first.String()}
	if n, err := d.Sweep(ctx, time.Now().Add(time.Hour)); n != 2 || !errors.Is(err, fs.ErrPermission) {
		t.Errorf("%d were removed, %v", n, err)
	}
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	s := sweep{}
	if n, err := s.remove(cancelled, d, time.Now().Add(time.Hour)); n != 0 || !errors.Is(err, context.Canceled) {
		t.Errorf("after the end: %d were removed, %v", n, err)
	}
}

// TestAnotherUsersBlobIsStored commits and renews a blob whose times may not be
// set: it is not written again.
func TestAnotherUsersBlobIsStored(t *testing.T) {
	d := newDirectory(t)
	head := commit(t, d, "", "one", text("a", "shared"))
	info, err := d.Store(ctx, text("a", "shared"))
	if err != nil {
		t.Fatal(err)
	}
	d.disk = stubbornDisk{}
	if size, ok, err := d.Renew(ctx, info.SHA256); size != 6 || !ok || err != nil {
		t.Errorf("renewing: %d, %v, %v", size, ok, err)
	}
	again := Content{Path: "b", Size: info.Size, SHA256: info.SHA256, Write: func(io.Writer) error {
		return errors.New("it is asked for again")
	}}
	commit(t, d, head.ID, "two", again)
}
