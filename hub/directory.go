package hub

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"lockstep/internal/fault"
	"lockstep/internal/merkle"
)

// Directory is a Repository in a local folder:
//
//	lockstep-repository.json  says that this is one, and in which format
//	blobs/SHA256              file contents, each once
//	commits/ID.json           commit files: parent, message, paths and digests
//	refs/heads/BRANCH         the id of the branch's newest commit
//	refs/tags/NAME            the id that a tag names
//	unfinished/               files being written
//	writers.lock, refs.lock   taken while writing contents, while moving refs
//
// Every file appears under its name whole and synced, and in this order: blobs,
// commit file, ref. So whatever a crash leaves is the old state or the new one,
// plus files that nothing refers to: unfinished ones, which the next commit clears
// away, and blobs, which it uses or Sweep removes.
// Readers take no locks and need no write access.
type Directory struct {
	root string
	disk disk
	tags sync.Map // name -> listedTag
}

// listedTag is a tag that was read, and the file that it was read from: as tags
// never change, neither does that.
type listedTag struct {
	Tag
	file fs.FileInfo
}

const (
	markerFile     = "lockstep-repository.json"
	markerText     = "{\"format\": \"lockstep-repository-1\"}\n"
	blobsDir       = "blobs"
	commitsDir     = "commits"
	headsDir       = "refs/heads"
	tagsDir        = "refs/tags"
	unfinishedDir  = "unfinished"
	writersLock    = "writers.lock"
	refsLock       = "refs.lock"
	refBytes       = idDigits + 1 // a ref file: the id and a line feed
	maxMarkerBytes = 4096
)

var _ Repository = (*Directory)(nil)

// OpenDirectory opens the repository in the folder root.
func OpenDirectory(root string) (*Directory, error) {
	text, err := readSmall(filepath.Join(root, markerFile), maxMarkerBytes)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, &NotFoundError{What: "repository", Name: root, Where: "open"}
	case err != nil:
		return nil, err
	case string(text) != markerText:
		return nil, fault.Errorf(fault.Damaged, "%s: it says %q, this program reads %q; use the version that made it", filepath.Join(root, markerFile), clip(string(text)), markerText)
	}
	return &Directory{root: root, disk: osDisk{}}, nil
}

// CreateDirectory makes root, which must be empty or missing, an empty
// repository. If it is a repository already it is opened: several processes may
// create the same one at once.
func CreateDirectory(root string) (*Directory, error) {
	return createDirectory(context.Background(), root, osDisk{})
}

func createDirectory(ctx context.Context, root string, d disk) (_ *Directory, err error) {
	defer func() { err = explainFull(d, filepath.Dir(root), maxSmallWrite, err) }()
	r, err := OpenDirectory(root)
	if err == nil {
		r.disk = d
		return r, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err := checkVacant(root); err != nil {
		return nil, err
	}
	if err := makeFolders(d, root); err != nil {
		return nil, fmt.Errorf("creating the repository %s: %w", root, err)
	}
	writers, err := lock(ctx, filepath.Join(root, writersLock), true)
	if err != nil {
		return nil, err
	}
	defer writers.unlock()
	marker := Bytes(markerFile, []byte(markerText))
	_, err = writeFile(ctx, d, filepath.Join(root, unfinishedDir), marker, func(merkle.Digest) string { return filepath.Join(root, markerFile) })
	if err != nil {
		return nil, fmt.Errorf("creating the repository %s: %w", root, err)
	}
	return &Directory{root: root, disk: d}, nil
}

// checkVacant refuses a folder that holds anything but an unfinished repository.
func checkVacant(root string) error {
	entries, err := os.ReadDir(root)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	ours := []string{blobsDir, commitsDir, "refs", unfinishedDir, markerFile, writersLock, refsLock}
	for _, e := range entries {
		if !slices.Contains(ours, e.Name()) {
			return fault.Errorf(fault.Usage, "%s is not empty (it holds %s): a repository needs a folder of its own", root, e.Name())
		}
	}
	return nil
}

func makeFolders(d disk, root string) error {
	for _, dir := range []string{blobsDir, commitsDir, headsDir, tagsDir, unfinishedDir} {
		if err := makeDir(d, filepath.Join(root, filepath.FromSlash(dir))); err != nil {
			return err
		}
	}
	return nil
}

// IsRepository reports whether the folder holds a local repository.
func IsRepository(folder string) bool {
	_, err := Marker(folder)
	return err == nil
}

// Marker describes the file that makes a folder a repository. Another one in its
// place is the sign of another repository.
func Marker(folder string) (fs.FileInfo, error) { return os.Stat(filepath.Join(folder, markerFile)) }

func (d *Directory) path(elem ...string) string {
	return filepath.Join(append([]string{d.root}, elem...)...)
}

// Resolve implements Repository.
func (d *Directory) Resolve(ctx context.Context, revision string) (Commit, error) {
	id, r, err := d.load(ctx, revision)
	return Commit{ID: id, Parent: r.parent, Message: r.message}, err
}

// List implements Repository.
func (d *Directory) List(ctx context.Context, revision string) ([]FileInfo, error) {
	_, r, err := d.load(ctx, revision)
	return r.files, err
}

// Tags implements Repository.
func (d *Directory) Tags(ctx context.Context) ([]Tag, error) {
	entries, err := os.ReadDir(d.path(tagsDir))
	if err != nil {
		return nil, err
	}
	tags := make([]Tag, 0, len(entries))
	for _, e := range entries {
		if checkTag(e.Name()) != nil {
			continue // litter of the file system, such as .DS_Store
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		tag, err := d.listTag(e)
		if err != nil {
			return nil, err
		}
		tags = append(tags, tag)
	}
	SortTags(tags)
	return tags, nil
}

// listTag reads a tag, unless that was done.
func (d *Directory) listTag(e fs.DirEntry) (Tag, error) {
	info, err := e.Info()
	if err != nil {
		return Tag{}, err
	}
	if known, ok := d.tags.Load(e.Name()); ok {
		was := known.(listedTag)
		if os.SameFile(was.file, info) && was.file.ModTime().Equal(info.ModTime()) && was.file.Size() == info.Size() {
			return was.Tag, nil
		}
	}
	id, err := d.ref(tagsDir, e.Name())
	if err != nil {
		return Tag{}, err
	}
	tag := Tag{Name: e.Name(), Commit: id}
	d.tags.Store(e.Name(), listedTag{tag, info})
	return tag, nil
}

// Open implements Repository.
func (d *Directory) Open(ctx context.Context, revision, path string) (File, error) {
	_, r, err := d.load(ctx, revision)
	if err != nil {
		return nil, err
	}
	info, ok := r.find(path)
	if !ok {
		return nil, &NotFoundError{What: "file", Name: path, Where: d.root + ", revision " + cmp.Or(revision, mainBranch)}
	}
	return openVerified(ctx, d.path(blobsDir, info.SHA256.String()), info)
}

// load resolves a revision and reads its commit file.
func (d *Directory) load(ctx context.Context, revision string) (string, record, error) {
	if err := ctx.Err(); err != nil {
		return "", record{}, err
	}
	id, err := d.lookup(revision)
	if err != nil {
		return "", record{}, err
	}
	r, err := d.record(id)
	if isNotFound(err) && id != revision {
		err = fault.Errorf(fault.Damaged, "%s: %q names a commit whose file %s is missing; restore it from another copy of the repository", d.root, cmp.Or(revision, mainBranch), d.path(commitsDir, id+".json"))
	}
	return id, r, err
}

// lookup turns a revision into a commit id.
func (d *Directory) lookup(revision string) (string, error) {
	notFound := &NotFoundError{What: "revision", Name: clip(revision), Where: d.root}
	switch {
	case revision == "", revision == "HEAD", revision == mainBranch:
		id, err := d.head(mainBranch)
		if err == nil && id == "" {
			return "", &NotFoundError{What: "revision", Name: mainBranch, Where: d.root + ": the repository is empty"}
		}
		return id, err
	case isCommitID(revision):
		return revision, nil
	case checkTag(revision) != nil:
		return "", notFound
	}
	for _, dir := range []string{tagsDir, headsDir} {
		id, err := d.ref(dir, revision)
		if err == nil || !errors.Is(err, fs.ErrNotExist) {
			return id, err
		}
	}
	if len(revision) < minIDDigits || len(revision) > idDigits || !isHex(revision) {
		return "", notFound
	}
	return d.expand(revision)
}

// expand finds the one commit whose id begins with prefix.
func (d *Directory) expand(prefix string) (string, error) {
	entries, err := os.ReadDir(d.path(commitsDir))
	if err != nil {
		return "", err
	}
	var found []string
	for _, e := range entries {
		id, isRecord := strings.CutSuffix(e.Name(), ".json")
		if isRecord && isCommitID(id) && strings.HasPrefix(id, prefix) {
			found = append(found, id)
		}
	}
	switch len(found) {
	case 0:
		return "", &NotFoundError{What: "revision", Name: prefix, Where: d.root}
	case 1:
		return found[0], nil
	}
	return "", fault.Errorf(fault.Usage, "%s: %d commits begin with %s, among them %s and %s; give more digits", d.root, len(found), prefix, found[0], found[1])
}

// head returns where a branch is, "" if it is not there; so is main in an empty
// repository.
func (d *Directory) head(branch string) (string, error) {
	id, err := d.ref(headsDir, branch)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return id, err
}

// ref reads a ref file.
func (d *Directory) ref(dir, name string) (string, error) {
	path := d.path(filepath.FromSlash(dir), name)
	text, err := readSmall(path, refBytes)
	if err != nil {
		return "", err
	}
	id := strings.TrimSuffix(string(text), "\n")
	if len(text) != refBytes || !isCommitID(id) {
		return "", fault.Errorf(fault.Damaged, "%s is damaged: it must hold a commit id of %d hex digits; restore it from another copy of the repository", path, idDigits)
	}
	return id, nil
}

// record reads and verifies a commit file.
func (d *Directory) record(id string) (record, error) {
	path := d.path(commitsDir, id+".json")
	data, err := readSmall(path, maxRecord)
	if errors.Is(err, fs.ErrNotExist) {
		return record{}, &NotFoundError{What: "revision", Name: id, Where: d.root}
	}
	if err != nil {
		return record{}, err
	}
	if got := commitID(data); got != id {
		return record{}, fault.Errorf(fault.Damaged, "the commit file %s is damaged: its contents have the id %s; restore it from another copy of the repository", path, got)
	}
	r, err := decodeRecord(data)
	if err != nil {
		return record{}, fault.Errorf(fault.Damaged, "the commit file %s is not valid: %w", path, err)
	}
	return r, nil
}

// blob is an open, verified file.
type blob struct {
	*os.File
	size int64
}

func (b blob) Size() int64 { return b.size }

// openVerified opens a file after comparing its size and digest.
func openVerified(ctx context.Context, path string, info FileInfo) (File, error) {
	const remedy = "remove it and push the file again, or restore it from another copy"
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.Errorf(fault.Damaged, "the blob %s of %s is missing; restore it from another copy of the repository", path, info.Path)
	}
	if err != nil {
		return nil, err
	}
	sum, n, err := digestOf(ctx, f)
	if err == nil {
		switch {
		case n != info.Size:
			err = fault.Errorf(fault.Damaged, "the blob %s of %s is damaged: it has %d bytes instead of %d; %s", path, info.Path, n, info.Size, remedy)
		case sum != info.SHA256:
			err = fault.Errorf(fault.Damaged, "the blob %s of %s is damaged: its SHA-256 is %s; %s", path, info.Path, sum, remedy)
		default:
			_, err = f.Seek(0, io.SeekStart)
		}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return blob{f, n}, nil
}

// digestOf hashes what is left of r.
func digestOf(ctx context.Context, r io.Reader) (merkle.Digest, int64, error) {
	h := sha256.New()
	buf := make([]byte, 1<<20)
	var total int64
	for {
		if err := ctx.Err(); err != nil {
			return merkle.Digest{}, total, err
		}
		n, err := r.Read(buf)
		h.Write(buf[:n])
		total += int64(n)
		if err == io.EOF {
			return merkle.Digest(h.Sum(nil)), total, nil
		}
		if err != nil {
			return merkle.Digest{}, total, err
		}
	}
}

// readSmall reads a file of at most limit bytes; one more byte of a longer file
// is returned too, so that the caller's own check fails.
func readSmall(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, limit+1))
}
