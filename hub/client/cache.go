package client

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"lockstep/hub"
	"lockstep/internal/fault"
)

// cache is the part of the shared cache that belongs to one repository:
//
//	blobs/ETAG                 contents: SHA-256 of large files, git's name of others
//	refs/REVISION              the commit that a branch or tag named last
//	snapshots/COMMIT/PATH      a link to ../../blobs/ETAG; the file itself where there are no links
//	.no_exist/COMMIT/PATH      empty: this file is not in that commit
//	../.locks/FOLDER/ETAG.lock held while a blob is written
type cache struct {
	root   string // of all repositories
	folder string // models--owner--name
}

func (r *Repo) cache() cache {
	return cache{r.client.config.Cache, string(r.kind) + "--" + strings.ReplaceAll(r.id, "/", "--")}
}

func (c cache) path(elem ...string) string {
	return filepath.Join(append([]string{c.root, c.folder}, elem...)...)
}

func (c cache) blob(etag string) string { return c.path("blobs", etag) }

func (c cache) snapshot(commit, path string) string {
	return c.path("snapshots", commit, filepath.FromSlash(path))
}

// Folder is where the cache shows the files of a commit that it has.
func (r *Repo) Folder(commit string) string { return r.cache().path("snapshots", commit) }

// ref reads the commit that a revision named last; "" if none is known.
func (c cache) ref(revision string) string {
	if isCommit(revision) {
		return revision
	}
	if !safeRevision(revision) {
		return ""
	}
	text, err := os.ReadFile(c.path("refs", filepath.FromSlash(revision)))
	if err != nil || !isCommit(strings.TrimSpace(string(text))) {
		return ""
	}
	return strings.TrimSpace(string(text))
}

// safeRevision keeps names of revisions that stay inside refs.
func safeRevision(revision string) bool { return hub.CheckPath(revision) == nil }

// setRef notes what a revision names.
func (c cache) setRef(revision, commit string) error {
	if revision == commit || !safeRevision(revision) || c.ref(revision) == commit {
		return nil
	}
	return replaceFile(c.path("refs", filepath.FromSlash(revision)), []byte(commit))
}

// setAbsent notes that a commit has no such file.
func (c cache) setAbsent(commit, path string) error {
	return replaceFile(c.path(".no_exist", commit, filepath.FromSlash(path)), nil)
}

func (c cache) isAbsent(commit, path string) bool {
	_, err := os.Stat(c.path(".no_exist", commit, filepath.FromSlash(path)))
	return err == nil
}

// replaceFile puts a small file in place in one step.
func replaceFile(path string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return err
	}
	temp := tempName(path)
	err := os.WriteFile(temp, data, 0o666)
	if err == nil {
		err = os.Rename(temp, path)
	}
	if err != nil {
		os.Remove(temp)
	}
	return err
}

func randomHex() string {
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// tempName is where a file is made before it gets the name path.
func tempName(path string) string { return path + "." + randomHex() + ".tmp" }

// isTemp recognizes such names.
func isTemp(name string) bool {
	rest, ok := strings.CutSuffix(name, ".tmp")
	return ok && isHex(strings.TrimPrefix(filepath.Ext(rest), "."), 8)
}

// etagOf returns the blob behind a file of a snapshot: links are named by it. It
// is "" for a file that is no link, whose digest nothing tells.
func (c cache) etagOf(commit, path string) (string, error) {
	info, err := os.Lstat(c.snapshot(commit, path))
	if err != nil || info.Mode().IsRegular() {
		return "", err
	}
	target, err := os.Readlink(c.snapshot(commit, path))
	if err != nil {
		return "", err
	}
	etag := filepath.Base(target)
	if !isDigest(etag) {
		return "", fault.Errorf(fault.Damaged, "%s links to %s, which is no blob", c.snapshot(commit, path), target)
	}
	return etag, nil
}

// isDigest accepts the names of blobs: git's or SHA-256.
func isDigest(etag string) bool { return isHex(etag, 40) || isHex(etag, 64) }

// What a file system may not have, which tests take away, and when a wait for
// another process is worth a word.
var (
	symlink    = os.Symlink
	takeLock   = hub.Lock
	lockNotice = 4 * time.Second
)

// link makes a file of a snapshot: a relative link to its blob or, where there
// are no links, a copy.
func (c cache) link(ctx context.Context, commit, path, etag string) error {
	at := c.snapshot(commit, path)
	have, err := c.etagOf(commit, path)
	if err == nil && have == etag {
		return nil
	}
	if err == nil && have == "" {
		if f, err := openVerified(ctx, at, etag); err == nil {
			return f.Close() // a copy made before
		}
	}
	if err := os.MkdirAll(filepath.Dir(at), 0o777); err != nil {
		return err
	}
	target, err := filepath.Rel(filepath.Dir(at), c.blob(etag))
	if err != nil {
		return err
	}
	temp := tempName(c.blob(etag)) // among files that nobody lists
	if err = symlink(target, temp); err != nil {
		err = copyFile(c.blob(etag), temp)
	}
	if err == nil {
		err = os.Rename(temp, at)
	}
	if err != nil {
		os.Remove(temp)
	}
	return err
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// locked runs f while no other process of either language writes this blob, and
// tells of a long wait. Where the file system has no locks, f is not alone.
func (c cache) locked(ctx context.Context, etag string, notice func(string), f func(alone bool) error) error {
	dir := filepath.Join(c.root, ".locks", c.folder)
	for _, d := range []string{dir, c.path("blobs")} {
		if err := os.MkdirAll(d, 0o777); err != nil {
			return fault.Wrap(fault.Environment, err)
		}
	}
	tag := filepath.Join(c.root, "CACHEDIR.TAG")
	if _, err := os.Stat(tag); errors.Is(err, fs.ErrNotExist) {
		_ = replaceFile(tag, []byte("Signature: 8a477f597d28d172789f06886806bc55\n# This folder is a cache of the Hugging Face Hub.\n")) // for backup programs only
	}
	lock := filepath.Join(dir, etag+".lock")
	patience := time.AfterFunc(lockNotice, func() { notice("waiting for another process that fetches the same file and holds " + lock) })
	unlock, err := takeLock(ctx, lock)
	patience.Stop()
	if errors.Is(err, errors.ErrUnsupported) {
		return f(false)
	}
	if err != nil {
		return err
	}
	defer unlock()
	return f(true)
}

// openBlob opens a blob after comparing its bytes with its name.
func (c cache) openBlob(ctx context.Context, etag string) (hub.File, error) {
	return openVerified(ctx, c.blob(etag), etag)
}

// openVerified opens a file after comparing its bytes with their digest; "" is
// none, and what is there is taken, as the Python library does.
func openVerified(ctx context.Context, name, etag string) (hub.File, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && etag != "" {
		err = checkDigest(ctx, f, info.Size(), etag)
	}
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("the cached file %s: %w", f.Name(), err)
	}
	return file{f, info.Size()}, nil
}

// file is an open, verified file of the cache.
type file struct {
	*os.File
	size int64
}

func (f file) Size() int64 { return f.size }

// checkDigest compares content with the digest that names it.
func checkDigest(ctx context.Context, r io.Reader, size int64, etag string) error {
	h := digester(etag, size)
	n, err := io.Copy(h, contextReader{ctx, r})
	if err != nil {
		return err
	}
	if n != size || hex.EncodeToString(h.Sum(nil)) != etag {
		return fault.Errorf(fault.Damaged, "its bytes do not have the digest %s", etag)
	}
	return nil
}

type contextReader struct {
	ctx context.Context
	io.Reader
}

func (r contextReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.Reader.Read(p)
}
