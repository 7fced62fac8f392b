package transport

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"lockstep/internal/durable"
	"lockstep/internal/fault"
	"lockstep/internal/merkle"
	"lockstep/reduce"
	"lockstep/reduce/commit"
)

// averageMagic opens the file of an average: magic ‖ u64 epoch ‖ u64 elements ‖
// root ‖ leaf digests ‖ encoded elements.
const (
	averageMagic  = "lockstep/average/1\n"
	averageHeader = len(averageMagic) + 8 + 8 + 32
	averageSuffix = ".average"
	temporary     = ".unfinished-"
)

// keptEpochs is how many epochs' averages are kept: long enough for a peer that
// lost one in a crash, and for audits.
const keptEpochs = 2

// Averages keeps the newest averages in a folder, so that this node can apply
// one after a crash and serve it to others. Safe for concurrent use.
type Averages struct {
	dir   string
	shape commit.Shape

	create func(dir string) (durable.File, error) // replaced in tests

	mu      sync.Mutex
	entries []average // in the order of saving
}

type average struct {
	epoch  uint64
	root   merkle.Digest
	leaves []merkle.Digest
	path   string
}

// OpenAverages opens a folder of averages, creating it where needed. Files that
// a crash left unfinished, and any whose digests do not fit, are removed.
func OpenAverages(dir string, shape commit.Shape) (*Averages, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("averages: %w", durable.Explain(dir, err))
	}
	names, err := os.ReadDir(dir) // sorted, so epochs of equal width ascend
	if err != nil {
		return nil, fmt.Errorf("averages: %w", err)
	}
	a := &Averages{dir: dir, shape: shape, create: createAverage}
	for _, n := range names {
		path := filepath.Join(dir, n.Name())
		if e, err := readAverage(path, shape); err == nil {
			a.entries = append(a.entries, e)
		} else if strings.HasSuffix(n.Name(), averageSuffix) || strings.HasPrefix(n.Name(), temporary) {
			os.Remove(path)
		}
	}
	slices.SortStableFunc(a.entries, func(x, y average) int { return int(int64(x.epoch) - int64(y.epoch)) })
	return a, nil
}

// readAverage reads a file's header and leaf digests.
func readAverage(path string, shape commit.Shape) (average, error) {
	f, err := os.Open(path)
	if err != nil {
		return average{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return average{}, err
	}
	want := int64(averageHeader + 32*shape.Leaves() + shape.Bytes(shape.Elements))
	head := make([]byte, averageHeader+32*shape.Leaves())
	if info.Size() != want || !info.Mode().IsRegular() {
		return average{}, fault.Errorf(fault.Damaged, "%s: %d bytes instead of %d", path, info.Size(), want)
	}
	if _, err := io.ReadFull(f, head); err != nil {
		return average{}, err
	}
	b := head[len(averageMagic):]
	e := average{epoch: binary.LittleEndian.Uint64(b), root: merkle.Digest(b[16:48]), path: path}
	for d := range slices.Chunk(b[48:], 32) {
		e.leaves = append(e.leaves, merkle.Digest(d))
	}
	if string(head[:len(averageMagic)]) != averageMagic || binary.LittleEndian.Uint64(b[8:]) != uint64(shape.Elements) || merkle.Root(e.leaves) != e.root {
		return average{}, fault.Errorf(fault.Damaged, "%s is not an average of this run", path)
	}
	return e, nil
}

func createAverage(dir string) (durable.File, error) { return os.CreateTemp(dir, temporary+"*") }

// Put saves an average and forgets those of older epochs. An average that is
// there already becomes the newest of its epoch. Where a COMMIT may rest on this
// copy it must be lasting, on the disk before Put returns; one that only serves
// others need not be.
func (a *Averages) Put(s reduce.Save, lasting bool) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	known := slices.IndexFunc(a.entries, func(e average) bool { return e.epoch == s.Epoch && e.root == s.Root })
	if known >= 0 {
		e := a.entries[known]
		a.entries = append(slices.Delete(a.entries, known, known+1), e)
		return nil
	}
	path := filepath.Join(a.dir, fmt.Sprintf("%020d-%s%s", s.Epoch, s.Root.Short(), averageSuffix))
	if err := a.write(path, s, lasting); err != nil {
		return fmt.Errorf("average of epoch %d: %w", s.Epoch, durable.Explain(path, err))
	}
	a.entries = append(a.entries, average{s.Epoch, s.Root, slices.Clone(s.Leaves), path})
	return a.prune()
}

// write writes the file of an average under a temporary name and renames it.
func (a *Averages) write(path string, s reduce.Save, lasting bool) error {
	f, err := a.create(a.dir)
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	w := bufio.NewWriterSize(f, 1<<20)
	head := binary.LittleEndian.AppendUint64([]byte(averageMagic), s.Epoch)
	head = binary.LittleEndian.AppendUint64(head, uint64(len(s.Average)))
	head = append(head, s.Root[:]...)
	w.Write(appendDigests(head, s.Leaves)) // a bufio.Writer keeps its first error for Flush
	buf := make([]byte, a.shape.Bytes(merkle.LeafElements))
	for x := range slices.Chunk(s.Average, merkle.LeafElements) {
		commit.Encode(buf[:a.shape.Bytes(len(x))], x)
		w.Write(buf[:a.shape.Bytes(len(x))])
	}
	err = w.Flush()
	if err == nil && lasting {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err == nil && lasting {
		err = durable.SyncDir(a.dir)
	}
	return err
}

// prune removes the averages of epochs that nobody needs any more.
func (a *Averages) prune() error {
	newest := uint64(0)
	for _, e := range a.entries {
		newest = max(newest, e.epoch)
	}
	var err error
	a.entries = slices.DeleteFunc(a.entries, func(e average) bool {
		old := e.epoch+keptEpochs <= newest
		if old {
			err = errors.Join(err, os.Remove(e.path))
		}
		return old
	})
	return err
}

// newest returns the average saved last of an epoch.
func (a *Averages) newest(epoch uint64, fits func(average) bool) (average, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, e := range slices.Backward(a.entries) {
		if e.epoch == epoch && fits(e) {
			return e, true
		}
	}
	return average{}, false
}

func anyRoot(average) bool { return true }

// Leaves returns the leaf digests of an epoch's average.
func (a *Averages) Leaves(epoch uint64) ([]merkle.Digest, bool) {
	e, ok := a.newest(epoch, anyRoot)
	return e.leaves, ok
}

// Chunk returns the encoded bytes of one chunk of an epoch's average. Whoever
// gets them checks them against Leaves.
func (a *Averages) Chunk(epoch uint64, c int) ([]byte, bool) {
	e, ok := a.newest(epoch, anyRoot)
	if !ok || c < 0 || c >= a.shape.Chunks() {
		return nil, false
	}
	f, err := os.Open(e.path)
	if err != nil {
		return nil, false
	}
	defer f.Close()
	lo, hi := a.shape.ChunkSpan(c)
	b := make([]byte, a.shape.Bytes(hi-lo))
	_, err = f.ReadAt(b, int64(averageHeader+32*a.shape.Leaves()+a.shape.Bytes(lo)))
	return b, err == nil
}

// Load returns an epoch's average with the given root, every leaf checked.
func (a *Averages) Load(epoch uint64, root merkle.Digest) ([]float32, bool) {
	e, ok := a.newest(epoch, func(e average) bool { return e.root == root })
	if !ok {
		return nil, false
	}
	raw, err := os.ReadFile(e.path)
	at := averageHeader + 32*a.shape.Leaves()
	if err != nil || len(raw) != at+a.shape.Bytes(a.shape.Elements) {
		return nil, false
	}
	x := make([]float32, a.shape.Elements)
	finite := commit.Decode(x, raw[at:])
	return x, finite && merkle.FirstDifference(a.shape.Digests(merkle.KindAverage, x), e.leaves) < 0
}
