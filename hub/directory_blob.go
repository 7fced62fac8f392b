package hub

import (
	"context"
	"io/fs"
	"os"
	"time"

	"lockstep/internal/fault"
	"lockstep/internal/merkle"
)

// Store writes a file's content, with no commit to name it yet: a server takes
// large files before the commit that they belong to. A later Commit with this
// digest does not call Write. The answer's digest is that of the bytes written.
func (d *Directory) Store(ctx context.Context, c Content) (_ FileInfo, err error) {
	defer func() { err = explainFull(d.disk, d.root, c.Size, err) }()
	if c.Size < 0 {
		return FileInfo{}, fault.Errorf(fault.Usage, "%s: a size of %d bytes", clip(c.Path), c.Size)
	}
	writers, err := d.enterWriters(ctx)
	if err != nil {
		return FileInfo{}, err
	}
	defer writers.unlock()
	infos, err := d.addBlobs(ctx, []Content{c})
	if err != nil {
		return FileInfo{}, err
	}
	return infos[0], nil
}

// Stored returns the size of the content with this digest, if it is there.
func (d *Directory) Stored(sum merkle.Digest) (size int64, ok bool) {
	info, err := d.StatStored(sum)
	if err != nil || !info.Mode().IsRegular() {
		return 0, false
	}
	return info.Size(), true
}

// StatStored describes the file that has the content with this digest.
func (d *Directory) StatStored(sum merkle.Digest) (fs.FileInfo, error) {
	return os.Stat(d.path(blobsDir, sum.String()))
}

// OpenStored opens content by its digest after comparing its size alone: for
// callers that read a part of a large file, and remember with Verify what they
// have compared whole.
func (d *Directory) OpenStored(info FileInfo) (*os.File, error) {
	f, err := os.Open(d.path(blobsDir, info.SHA256.String()))
	if err != nil {
		return nil, fault.Errorf(fault.Damaged, "the blob of %s is missing; restore it from another copy of the repository: %w", info.Path, err)
	}
	stat, err := f.Stat()
	if err == nil && stat.Size() != info.Size {
		err = fault.Errorf(fault.Damaged, "the blob %s of %s is damaged: it has %d bytes instead of %d", f.Name(), info.Path, stat.Size(), info.Size)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// Verify compares stored content with its size and digest.
func (d *Directory) Verify(ctx context.Context, info FileInfo) error {
	f, err := openVerified(ctx, d.path(blobsDir, info.SHA256.String()), info)
	if err != nil {
		return err
	}
	return f.Close()
}

// Written returns when a commit came into this folder. Times are no part of a
// commit, so another copy of the repository may say otherwise.
func (d *Directory) Written(commit string) (time.Time, error) {
	if !isCommitID(commit) {
		return time.Time{}, &NotFoundError{What: "commit", Name: commit, Where: d.root}
	}
	info, err := os.Stat(d.path(commitsDir, commit+".json"))
	if err != nil {
		return time.Time{}, err
	}
	return info.ModTime(), nil
}
