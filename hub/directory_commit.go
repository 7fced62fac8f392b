package hub

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"lockstep/internal/fault"
	"lockstep/internal/merkle"
)

// maxSmallWrite is about what refs, commit file and folders take on disk.
const maxSmallWrite = 64 << 10

// Commit implements Repository. Contents are written first, without keeping
// others from writing theirs; only the move of the branch is exclusive.
func (d *Directory) Commit(ctx context.Context, request CommitRequest) (_ Commit, err error) {
	need := int64(maxSmallWrite)
	for _, c := range request.Add {
		need += c.Size
	}
	defer func() { err = explainFull(d.disk, d.root, need, err) }()
	if err := d.check(request); err != nil {
		return Commit{}, err
	}
	writers, err := d.enterWriters(ctx)
	if err != nil {
		return Commit{}, err
	}
	defer writers.unlock()
	added, err := d.addBlobs(ctx, request.Add)
	if err != nil {
		return Commit{}, err
	}
	refs, err := lock(ctx, d.path(refsLock), false)
	if err != nil {
		return Commit{}, err
	}
	defer refs.unlock()
	if err := d.checkHead(request); err != nil {
		return Commit{}, err
	}
	return d.advance(ctx, request, added)
}

// check refuses what could not be committed, for whatever other reason than its
// contents, before anything is written.
func (d *Directory) check(request CommitRequest) error {
	if err := checkRequest(request); err != nil {
		return err
	}
	if err := d.checkHead(request); err != nil {
		return err
	}
	files := make([]FileInfo, len(request.Add))
	for i, c := range request.Add {
		files[i] = FileInfo{Path: c.Path, Size: c.Size}
	}
	_, _, err := d.next(request, files)
	return err
}

// checkRequest refuses what could never be committed.
func checkRequest(request CommitRequest) error {
	if request.Branch != "" && checkBranch(request.Branch) != nil {
		return checkBranch(request.Branch)
	}
	if request.Parent != "" && !isCommitID(request.Parent) {
		return fault.Errorf(fault.Usage, "the parent %q is not a full commit id", clip(request.Parent))
	}
	paths := slices.Clone(request.Delete)
	for _, c := range request.Add {
		paths = append(paths, c.Path)
		if c.Size < 0 {
			return fault.Errorf(fault.Usage, "%s: a size of %d bytes", c.Path, c.Size)
		}
	}
	slices.Sort(paths)
	for i, path := range paths {
		if err := CheckPath(path); err != nil {
			return fault.Wrap(fault.Usage, err)
		}
		if i > 0 && paths[i-1] == path {
			return fault.Errorf(fault.Usage, "%q appears twice in one commit", path)
		}
	}
	return nil
}

// checkHead compares the branch's head with the parent. A branch other than
// main is not made by a commit.
func (d *Directory) checkHead(request CommitRequest) error {
	branch := cmp.Or(request.Branch, mainBranch)
	head, err := d.head(branch)
	switch {
	case err != nil:
		return err
	case head == "" && branch != mainBranch:
		return &NotFoundError{What: "branch", Name: branch, Where: d.root}
	case head != request.Parent:
		return &HeadMovedError{Expected: request.Parent, Head: head}
	}
	return nil
}

// enterWriters takes the writers' lock, shared. Whoever finds it free altogether
// first clears away what crashed writers have left behind.
func (d *Directory) enterWriters(ctx context.Context) (*fileLock, error) {
	alone, ok, err := tryLock(d.path(writersLock), false)
	if err != nil {
		return nil, err
	}
	if ok {
		err := d.clearUnfinished()
		alone.unlock()
		if err != nil {
			return nil, err
		}
	}
	return lock(ctx, d.path(writersLock), true)
}

func (d *Directory) clearUnfinished() error {
	entries, err := os.ReadDir(d.path(unfinishedDir))
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := d.disk.Remove(d.path(unfinishedDir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// addBlobs writes the contents that are not there yet and returns what the
// commit file will say of them.
func (d *Directory) addBlobs(ctx context.Context, contents []Content) ([]FileInfo, error) {
	have := make([]bool, len(contents))
	var need int64
	for i, c := range contents {
		if have[i] = !c.SHA256.IsZero() && d.renew(c.SHA256, c.Size); !have[i] {
			need += c.Size
		}
	}
	if err := requireSpace(d.disk, d.root, need); err != nil {
		return nil, err
	}
	infos := make([]FileInfo, len(contents))
	for i, c := range contents {
		infos[i] = FileInfo{Path: c.Path, Size: c.Size, SHA256: c.SHA256}
		if have[i] {
			continue
		}
		sum, err := placeFile(ctx, d.disk, d.path(unfinishedDir), c, func(sum merkle.Digest) string {
			if d.renew(sum, c.Size) {
				return ""
			}
			return d.path(blobsDir, sum.String())
		})
		if err != nil {
			return nil, fmt.Errorf("committing %s to %s: %w", c.Path, d.root, err)
		}
		infos[i].SHA256 = sum
	}
	if len(contents) == 0 {
		return infos, nil
	}
	return infos, d.disk.SyncDir(d.path(blobsDir)) // also for blobs that were there: whoever wrote them may not have come to this yet
}

// renew reports whether a blob is stored, and keeps it from Sweep for another
// while. Only whole files are ever renamed into blobs, so the size is enough
// here; Open verifies the rest. Another user's blob is stored although its times
// are not ours to set. Its caller holds the writers' lock.
func (d *Directory) renew(sum merkle.Digest, size int64) bool {
	blob := d.path(blobsDir, sum.String())
	info, err := os.Stat(blob)
	if err != nil || !info.Mode().IsRegular() || info.Size() != size {
		return false
	}
	err = d.disk.Touch(blob)
	return err == nil || errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS)
}

// next is the record that a request makes of its parent.
func (d *Directory) next(request CommitRequest, added []FileInfo) (parent, next record, err error) {
	if request.Parent != "" {
		if parent, err = d.record(request.Parent); err != nil {
			return parent, next, err
		}
	}
	next = record{parent: request.Parent, message: request.Message}
	if next.files, err = parent.apply(added, request.Delete); err == nil {
		err = next.check()
	}
	if err == nil && parent.checkCase() == nil { // what was so before stays
		err = next.checkCase()
	}
	return parent, next, err
}

// advance writes the commit file and moves the branch to it. Its caller holds the
// refs' lock and has checked the parent.
func (d *Directory) advance(ctx context.Context, request CommitRequest, added []FileInfo) (Commit, error) {
	parent, next, err := d.next(request, added)
	if err != nil {
		return Commit{}, err
	}
	if request.Parent != "" && slices.Equal(next.files, parent.files) {
		return Commit{ID: request.Parent, Parent: parent.parent, Message: parent.message}, nil
	}
	encoded := next.encode()
	id := commitID(encoded)
	if err := d.put(ctx, Bytes(id+".json", encoded), commitsDir); err != nil {
		return Commit{}, fmt.Errorf("committing to %s: %w", d.root, err)
	}
	if err := d.putRef(ctx, headsDir, cmp.Or(request.Branch, mainBranch), id); err != nil {
		return Commit{}, fmt.Errorf("committing to %s: %w", d.root, err)
	}
	return Commit{ID: id, Parent: next.parent, Message: next.message}, nil
}

// put writes a small file into one of the repository's folders.
func (d *Directory) put(ctx context.Context, c Content, dir string) error {
	to := d.path(filepath.FromSlash(dir), c.Path)
	_, err := writeFile(ctx, d.disk, d.path(unfinishedDir), c, func(merkle.Digest) string { return to })
	return err
}

func (d *Directory) putRef(ctx context.Context, dir, name, id string) error {
	return d.put(ctx, Bytes(name, []byte(id+"\n")), dir)
}

// Tag implements Repository.
func (d *Directory) Tag(ctx context.Context, name, commit string) error {
	err := d.CreateTag(ctx, name, commit)
	var exists *TagExistsError
	if errors.As(err, &exists) && exists.Commit == commit {
		return nil
	}
	return err
}

// CreateTag is Tag, but *TagExistsError also if the tag names this very commit:
// of several callers at once one succeeds.
func (d *Directory) CreateTag(ctx context.Context, name, commit string) (err error) {
	defer func() { err = explainFull(d.disk, d.root, maxSmallWrite, err) }()
	if err := checkTag(name); err != nil {
		return err
	}
	if !isCommitID(commit) {
		return fault.Errorf(fault.Usage, "tag %s: %q is not a full commit id", name, clip(commit))
	}
	if _, err := d.record(commit); err != nil {
		return err
	}
	return d.moveRefs(ctx, func() error {
		switch id, err := d.ref(tagsDir, name); {
		case err == nil:
			return &TagExistsError{Tag: name, Commit: id}
		case !errors.Is(err, fs.ErrNotExist):
			return err
		}
		if err := d.putRef(ctx, tagsDir, name, commit); err != nil {
			return fmt.Errorf("tagging %s in %s: %w", name, d.root, err)
		}
		return nil
	})
}
