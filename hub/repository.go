package hub

import (
	"bytes"
	"context"
	"crypto/sha1"
	"fmt"
	"hash"
	"io"
	"io/fs"

	"lockstep/internal/fault"
	"lockstep/internal/merkle"
)

// Repository is a versioned set of files. Implementations are safe for
// concurrent use, also by other processes.
//
// A revision is "main" (or "", or "HEAD"), a tag, another branch, a full commit
// id, or at least seven hex digits of one that no other commit begins with. A tag
// wins over a branch and over abbreviated commit ids, since an epoch's number
// looks like one.
type Repository interface {
	// Resolve finds the commit of a revision; *NotFoundError if there is none.
	Resolve(ctx context.Context, revision string) (Commit, error)
	// Commit adds a commit to a branch; see CommitRequest.
	Commit(ctx context.Context, request CommitRequest) (Commit, error)
	// Tag names a commit for ever. Tagging the same commit again succeeds;
	// *TagExistsError if the tag names another.
	Tag(ctx context.Context, name, commit string) error
	// Tags lists all tags: numbers in numeric order, then names.
	Tags(ctx context.Context) ([]Tag, error)
	// List returns the files of a revision in byte order of their paths.
	List(ctx context.Context, revision string) ([]FileInfo, error)
	// Open opens a file whose size and digest have been verified.
	Open(ctx context.Context, revision, path string) (File, error)
}

// Commit is one state of a repository.
type Commit struct {
	ID      string // 40 hex digits
	Parent  string // the commit before, "" for the first
	Message string
}

// Tag is a name for a commit.
type Tag struct {
	Name   string
	Commit string
}

// FileInfo describes a file of a commit. A repository names its content by one
// of two digests.
type FileInfo struct {
	Path   string
	Size   int64
	SHA256 merkle.Digest // zero where the repository knows the content by GitID
	GitID  string        // git's name of the content, 40 hex digits, or ""
}

// Holds reports whether the file has exactly the bytes of c, whose digest is
// known.
func (f FileInfo) Holds(c Content) (bool, error) {
	if f.Size != c.Size {
		return false, nil
	}
	if !f.SHA256.IsZero() {
		return f.SHA256 == c.SHA256, nil
	}
	h := NewGitID(c.Size)
	if err := c.Write(h); err != nil {
		return false, err
	}
	return f.GitID != "" && f.GitID == fmt.Sprintf("%x", h.Sum(nil)), nil
}

// digest says by which digest the content is known, for people.
func (f FileInfo) digest() string {
	if f.SHA256.IsZero() {
		return "git's " + f.GitID
	}
	return "SHA-256 " + f.SHA256.String()
}

// NewGitID returns the hash that makes git's name of a content of size bytes.
func NewGitID(size int64) hash.Hash {
	h := sha1.New()
	fmt.Fprintf(h, "blob %d\x00", size)
	return h
}

// File is an open file. Its contents do not change while it is open.
type File interface {
	io.Reader
	io.ReaderAt
	io.Closer
	Size() int64
}

// CommitRequest asks for a commit on a branch whose files are the parent's, with
// some added or replaced and some deleted. If that changes nothing, the answer
// is the parent itself: no empty commits are made.
type CommitRequest struct {
	Branch string // "" for main
	// Parent is the head that the caller knows, "" for an empty repository. If
	// the branch is elsewhere by now, the answer is *HeadMovedError.
	Parent  string
	Message string
	Add     []Content
	Delete  []string // paths; each must exist
}

// Content is a file to be committed.
type Content struct {
	Path string
	Size int64 // exactly what Write writes
	// SHA256 may be zero when the digest is not known yet. A repository that
	// holds such bytes already need not call Write.
	SHA256 merkle.Digest
	// Write writes the file. It may be called several times and must write the
	// same bytes each time.
	Write func(w io.Writer) error
}

// Bytes is content that is at hand.
func Bytes(path string, data []byte) Content {
	return Content{Path: path, Size: int64(len(data)), Write: func(w io.Writer) error {
		_, err := io.Copy(w, bytes.NewReader(data))
		return err
	}}
}

// Stream is content that writes itself, such as a *safetensors.Encoder: weights
// are committed from where they lie, without a second copy.
func Stream(path string, source interface {
	Size() int64
	io.WriterTo
}) Content {
	return Content{Path: path, Size: source.Size(), Write: func(w io.Writer) error {
		_, err := source.WriteTo(w)
		return err
	}}
}

// NotFoundError says that a revision, file, repository or state is not there.
type NotFoundError struct {
	What  string // "revision", "file", ...
	Name  string
	Where string
}

func (e *NotFoundError) Error() string {
	return fmt.Sprintf("%s: no %s %q", e.Where, e.What, clip(e.Name))
}

// Is makes the error an fs.ErrNotExist.
func (e *NotFoundError) Is(target error) bool { return target == fs.ErrNotExist }

// Fault says that a name is wrong.
func (e *NotFoundError) Fault() fault.Kind { return fault.Config }

// HeadMovedError says that a branch is no longer where the caller believed it.
// Nothing was committed; look again and retry.
type HeadMovedError struct {
	Expected string // the caller's parent
	Head     string // where the branch is
}

func (e *HeadMovedError) Error() string {
	return fmt.Sprintf("the branch moved from %s to %s in the meantime; nothing was committed", short(e.Expected), short(e.Head))
}

// Fault says that the repository refused.
func (e *HeadMovedError) Fault() fault.Kind { return fault.Refused }

// TagExistsError says that a tag names another commit already.
type TagExistsError struct {
	Tag    string
	Commit string // what it names
}

func (e *TagExistsError) Error() string {
	return fmt.Sprintf("tag %s exists already, at commit %s; tags are never moved", e.Tag, short(e.Commit))
}

// Fault says that the repository refused.
func (e *TagExistsError) Fault() fault.Kind { return fault.Refused }

// short abbreviates a commit id for people.
func short(id string) string {
	switch {
	case id == "":
		return "(no commit)"
	case len(id) > 10:
		return id[:10]
	}
	return id
}
