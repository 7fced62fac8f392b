package transport

import (
	"os"
	"strings"
	"syscall"
	"testing"

	"lockstep/internal/durable"
	"lockstep/internal/fault"
	"lockstep/internal/merkle"
	"lockstep/reduce"
	"lockstep/reduce/commit"
)

func TestAveragesAreKeptAndChecked(t *testing.T) {
	shape := commit.StandardShape(merkle.LeafElements + 5)
	dir := t.TempDir()
	a, err := OpenAverages(dir, shape)
	if err != nil {
		t.Fatal(err)
	}
	save := func(epoch uint64, v float32) merkle.Digest {
		x := make([]float32, shape.Elements)
		for i := range x {
			x[i] = v
		}
		leaves := shape.Digests(merkle.KindAverage, x)
		s := reduce.Save{Epoch: epoch, Root: merkle.Root(leaves), Average: x, Leaves: leaves}
		for i := range 2 {
			if err := a.Put(s, i == 0); err != nil {
				t.Fatal(err)
			}
		}
		return s.Root
	}
	save(1, 1)
	two := save(2, 2)
	three := save(3, 3)
	if a, err = OpenAverages(dir, shape); err != nil {
		t.Fatal(err)
	}
	if _, ok := a.Leaves(1); ok {
		t.Error("epoch 1 is still kept")
	}
	if _, ok := a.Load(3, two); ok {
		t.Error("an average loads under another root")
	}
	x, ok := a.Load(2, two)
	if !ok || x[0] != 2 {
		t.Errorf("epoch 2 does not load: %v", ok)
	}
	leaves, _ := a.Leaves(3)
	b, ok := a.Chunk(3, 0)
	if got := shape.ChunkDigests(merkle.KindAverage, 0, b); !ok || merkle.FirstDifference(got, leaves) >= 0 || merkle.Root(leaves) != three {
		t.Error("the chunk of epoch 3 does not fit its leaves")
	}
	if _, ok := a.Chunk(3, 1); ok {
		t.Error("a chunk that is not there")
	}
}

// fullDisk is a file that takes nothing.
type fullDisk struct{ durable.File }

func (fullDisk) Write([]byte) (int, error) { return 0, syscall.ENOSPC }

func TestAveragesOnAFullDisk(t *testing.T) {
	shape := commit.StandardShape(100)
	dir := t.TempDir()
	a, err := OpenAverages(dir, shape)
	if err != nil {
		t.Fatal(err)
	}
	a.create = func(dir string) (durable.File, error) {
		f, err := createAverage(dir)
		return fullDisk{f}, err
	}
	x := make([]float32, shape.Elements)
	leaves := shape.Digests(merkle.KindAverage, x)
	err = a.Put(reduce.Save{Epoch: 1, Root: merkle.Root(leaves), Average: x, Leaves: leaves}, true)
	if fault.KindOf(err) != fault.Environment || !strings.Contains(err.Error(), "no space is left for "+dir) {
		t.Errorf("a full disk gives %v", err)
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if _, ok := a.Leaves(1); ok {
		t.Error("an average that was not saved is shown")
	}
}
