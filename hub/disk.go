package hub

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"lockstep/internal/durable"
	"lockstep/internal/fault"
	"lockstep/internal/merkle"
)

// disk is everything through which this package changes a file system. Tests put
// one in its place that fills up, or dies, at a step of their choice.
type disk interface {
	Mkdir(dir string) error
	// Create makes a new, empty file with a name of its own in dir.
	Create(dir string) (diskFile, error)
	Rename(from, to string) error
	Remove(name string) error
	// Touch sets the time of modification to now.
	Touch(name string) error
	// SyncDir makes the names in dir durable.
	SyncDir(dir string) error
	// Free is FreeSpace.
	Free(dir string) (free uint64, known bool)
}

type diskFile interface {
	io.Writer
	Name() string
	Sync() error
	Close() error
}

// osDisk is the operating system's.
type osDisk struct{}

// tempPrefix begins the names of files that are being written.
const tempPrefix = "unfinished-"

func (osDisk) Mkdir(dir string) error              { return os.Mkdir(dir, 0o777) }
func (osDisk) Create(dir string) (diskFile, error) { return createTemp(dir) }
func (osDisk) Rename(from, to string) error        { return os.Rename(from, to) }
func (osDisk) Remove(name string) error            { return os.Remove(name) }
func (osDisk) Touch(name string) error             { return os.Chtimes(name, time.Time{}, time.Now()) }
func (osDisk) Free(dir string) (uint64, bool)      { return FreeSpace(dir) }

// createTemp is os.CreateTemp with the permissions of an ordinary file, which it
// is going to be.
func createTemp(dir string) (diskFile, error) {
	f, err := os.CreateTemp(dir, tempPrefix+"*")
	if err != nil {
		return nil, err
	}
	if err := f.Chmod(0o644); err != nil && runtime.GOOS != "windows" {
		f.Close()
		os.Remove(f.Name())
		return nil, err
	}
	return f, nil
}

func (osDisk) SyncDir(dir string) error { return durable.SyncDir(dir) }

// makeDir makes dir and the folders above it, and their names durable.
func makeDir(d disk, dir string) error {
	if info, err := os.Stat(dir); err == nil && info.IsDir() {
		return nil
	}
	parent := filepath.Dir(filepath.Clean(dir))
	if parent != dir {
		if err := makeDir(d, parent); err != nil {
			return err
		}
	}
	if err := d.Mkdir(dir); err != nil {
		if info, serr := os.Stat(dir); !errors.Is(err, fs.ErrExist) || serr != nil || !info.IsDir() {
			return err
		}
	}
	return d.SyncDir(parent)
}

// SpaceError says that a disk is full, or would be.
type SpaceError struct {
	Path  string // a folder on that disk
	Need  int64  // bytes
	Free  uint64 // bytes available
	Known bool   // whether Free is known
}

func (e *SpaceError) Error() string {
	s := fmt.Sprintf("no space left on the disk of %s: %d bytes are needed", e.Path, e.Need)
	if e.Known {
		s += fmt.Sprintf(", %d are free", e.Free)
	}
	return s + "; make room and try again, nothing was half-written"
}

// Unwrap returns syscall.ENOSPC.
func (e *SpaceError) Unwrap() error { return syscall.ENOSPC }

// Fault says that this machine cannot do it.
func (e *SpaceError) Fault() fault.Kind { return fault.Environment }

// RequireSpace fails if the disk of dir is known to have fewer than need bytes
// free: better before a large write than in the middle of it.
func RequireSpace(dir string, need int64) error { return requireSpace(osDisk{}, dir, need) }

func requireSpace(d disk, dir string, need int64) error {
	if free, known := d.Free(dir); known && free < uint64(max(need, 0)) {
		return &SpaceError{Path: dir, Need: need, Free: free, Known: true}
	}
	return nil
}

// writeFile puts a file in place in one step: content goes to a new file in
// temp, which must be in the same file system; it is synced, renamed to what
// place returns for its digest, and the new name is synced. After a failure or
// a crash the old file, if any, is whole. Returns the digest of what was written.
func writeFile(ctx context.Context, d disk, temp string, c Content, place func(merkle.Digest) string) (merkle.Digest, error) {
	to := ""
	sum, err := placeFile(ctx, d, temp, c, func(sum merkle.Digest) string {
		to = place(sum)
		return to
	})
	if err == nil {
		err = d.SyncDir(filepath.Dir(to))
	}
	return sum, err
}

// placeFile is writeFile without the sync of the new name, for many files in one
// folder. Where place returns "", nothing is put anywhere.
func placeFile(ctx context.Context, d disk, temp string, c Content, place func(merkle.Digest) string) (sum merkle.Digest, err error) {
	f, err := d.Create(temp)
	if err != nil {
		return sum, err
	}
	name, to := f.Name(), ""
	if sum, err = fill(ctx, f, c); err == nil {
		to = place(sum)
	}
	if to != "" {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil && to != "" {
		if err = d.Rename(name, to); err == nil {
			return sum, nil
		}
	}
	_ = d.Remove(name) // the first error tells more
	return sum, err
}

// fill writes c to f and checks that it is what it said it was.
func fill(ctx context.Context, f io.Writer, c Content) (merkle.Digest, error) {
	w := &meter{ctx: ctx, out: f, hash: sha256.New(), left: c.Size, path: c.Path}
	if err := c.Write(w); err != nil {
		return merkle.Digest{}, err
	}
	if w.left != 0 {
		return merkle.Digest{}, &ContentError{c.Path, fmt.Sprintf("%d bytes were promised, %d fewer were written", c.Size, w.left)}
	}
	sum := merkle.Digest(w.hash.Sum(nil))
	if !c.SHA256.IsZero() && sum != c.SHA256 {
		return sum, &ContentError{c.Path, fmt.Sprintf("the content written has SHA-256 %s, %s was promised", sum, c.SHA256)}
	}
	return sum, nil
}

// ContentError says that a Content is not what it said it was.
type ContentError struct{ Path, Why string }

func (e *ContentError) Error() string { return e.Path + ": " + e.Why }

// meter hashes and counts what passes, up to what was promised.
type meter struct {
	ctx  context.Context
	out  io.Writer
	hash hash.Hash
	left int64
	path string
}

func (m *meter) Write(b []byte) (int, error) {
	if err := m.ctx.Err(); err != nil {
		return 0, err
	}
	if int64(len(b)) > m.left {
		return 0, &ContentError{m.path, "more bytes were written than promised"}
	}
	n, err := m.out.Write(b)
	m.hash.Write(b[:n])
	m.left -= int64(n)
	return n, err
}

// explainFull turns a full disk, at whatever step of a larger write it showed,
// into a SpaceError.
func explainFull(d disk, dir string, need int64, err error) error {
	var known *SpaceError
	if err == nil || errors.As(err, &known) || !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, syscall.EDQUOT) {
		return err
	}
	free, ok := d.Free(dir)
	return &SpaceError{Path: dir, Need: need, Free: free, Known: ok}
}
