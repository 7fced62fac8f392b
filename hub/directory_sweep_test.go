package hub

import (
	"os"
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
	sweep := func(want int) {
		t.Helper()
		if n, err := d.Sweep(ctx, time.Now().Add(-time.Minute)); err != nil || n != want {
			t.Errorf("%d were removed, %v; want %d", n, err, want)
		}
	}
	used, lost, wanted, again := store("in use"), store("lost"), store("wanted"), store("again")
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
