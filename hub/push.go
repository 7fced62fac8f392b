package hub

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"lockstep/internal/fault"
)

// Backoff says how often to try and how long to wait in between.
type Backoff struct {
	Attempts int           // at least 1
	First    time.Duration // wait after the first failure; doubled after each more
	Longest  time.Duration // bound of the wait
	// Sleep waits, or returns an error if ctx ends before; Sleep of this package
	// uses the system's clock.
	Sleep func(ctx context.Context, d time.Duration) error
}

// Validate refuses policies that would not try or not wait.
func (b Backoff) Validate() error {
	switch {
	case b.Attempts < 1:
		return fault.Errorf(fault.Config, "backoff: %d attempts; at least one is needed", b.Attempts)
	case b.First < 0 || b.Longest < b.First:
		return fault.Errorf(fault.Config, "backoff: waits from %v to %v", b.First, b.Longest)
	case b.Sleep == nil:
		return fault.Errorf(fault.Config, "backoff: no Sleep")
	}
	return nil
}

// wait returns the pause after the given failed attempt, counted from 1.
func (b Backoff) wait(attempt int) time.Duration {
	d := b.First
	for range attempt - 1 {
		if d >= b.Longest/2 {
			return b.Longest
		}
		d *= 2
	}
	return min(d, b.Longest)
}

// Pushed says how an epoch came into the repository.
type Pushed struct {
	Commit   Commit
	Tag      string
	Attempts int
	Existed  bool // the tag was there already, with our files
}

// PushError says that an epoch could not be published and why; another pusher
// may try. It has the kind of its cause.
type PushError struct {
	Epoch    uint64
	Attempts int
	Err      error // of the last attempt
}

func (e *PushError) Error() string {
	return fmt.Sprintf("epoch %d was not pushed after %d attempts: %v", e.Epoch, e.Attempts, e.Err)
}

// Unwrap returns the last attempt's error.
func (e *PushError) Unwrap() error { return e.Err }

// TagConflictError says that an epoch's tag exists with other content than
// ours: somebody published another model under this number. Trying again, or by
// someone else, does not help.
type TagConflictError struct {
	Tag    string
	Commit string
	Path   string // the first of our files that differs
	Detail string
}

func (e *TagConflictError) Error() string {
	return fmt.Sprintf("tag %s exists already, at commit %s, with other content: %s %s", e.Tag, short(e.Commit), e.Path, e.Detail)
}

// Fault says that the repository refused.
func (e *TagConflictError) Fault() fault.Kind { return fault.Refused }

// PushEpoch publishes the files of an epoch: a commit on main and a tag with the
// epoch's number. It is idempotent, also when an answer was lost or another
// miner does the same: if the tag exists and each of the files is there with
// equal bytes, that is success (files that others keep in the repository, such
// as a licence, do not matter); with other bytes it is a *TagConflictError.
//
// A moved head and failures that may pass are retried as backoff says, or later
// if the repository asks for it; a longer wait than backoff.Longest ends the push,
// for its caller to plan with. What waiting cannot cure (a conflict, a refusal, a full disk, damage, bad
// arguments, a cancelled ctx) ends it at once. Both ways the error is a
// *PushError, so that the next miner can take over.
//
// main is the last pushed commit; push epochs in order to make it the newest.
func PushEpoch(ctx context.Context, repo Repository, epoch uint64, files []Content, message string, backoff Backoff) (Pushed, error) {
	if err := backoff.Validate(); err != nil {
		return Pushed{}, err
	}
	files, err := withDigests(ctx, files)
	if err != nil {
		return Pushed{}, &PushError{Epoch: epoch, Err: err}
	}
	for attempt := 1; ; attempt++ {
		pushed, err := pushOnce(ctx, repo, EpochTag(epoch), files, message)
		if err == nil {
			pushed.Attempts = attempt
			return pushed, nil
		}
		if attempt == backoff.Attempts || !mayPass(ctx, err) {
			return Pushed{}, &PushError{Epoch: epoch, Attempts: attempt, Err: err}
		}
		pause := max(backoff.wait(attempt), askedToWait(err))
		if pause > backoff.Longest { // trying before is in vain
			return Pushed{}, &PushError{Epoch: epoch, Attempts: attempt, Err: err}
		}
		if err := backoff.Sleep(ctx, pause); err != nil {
			return Pushed{}, &PushError{Epoch: epoch, Attempts: attempt, Err: err}
		}
	}
}

// askedToWait is what the repository asked to wait: a quota that is used up tells
// when it is renewed.
func askedToWait(err error) time.Duration {
	var asked interface{ RetryAfter() time.Duration }
	if errors.As(err, &asked) {
		return asked.RetryAfter()
	}
	return 0
}

// withDigests computes the digests that are not known yet, so that an existing
// tag can be compared and a retry need not send what is stored.
func withDigests(ctx context.Context, files []Content) ([]Content, error) {
	files = slices.Clone(files)
	for i, c := range files {
		if !c.SHA256.IsZero() {
			continue
		}
		sum, err := fill(ctx, io.Discard, c)
		if err != nil {
			return nil, err
		}
		files[i].SHA256 = sum
	}
	return files, nil
}

// pushOnce looks, commits and tags, once each. It notes where main is before it
// looks for the tag: whatever others push after that look moves main, so that
// the commit fails and nothing old can end up on top of something new.
func pushOnce(ctx context.Context, repo Repository, tag string, files []Content, message string) (Pushed, error) {
	request := CommitRequest{Message: message, Add: files}
	switch head, err := repo.Resolve(ctx, mainBranch); {
	case err == nil:
		request.Parent = head.ID
	case !isNotFound(err):
		return Pushed{}, err
	}
	pushed, found, err := findPushed(ctx, repo, tag, files)
	if found || err != nil {
		return pushed, err
	}
	commit, err := repo.Commit(ctx, request)
	if err != nil {
		return Pushed{}, err
	}
	err = repo.Tag(ctx, tag, commit.ID)
	var exists *TagExistsError
	if errors.As(err, &exists) { // somebody was faster; was it with our files?
		pushed, found, ferr := findPushed(ctx, repo, tag, files)
		if found || ferr != nil {
			return pushed, ferr
		}
	}
	return Pushed{Commit: commit, Tag: tag}, err
}

func isNotFound(err error) bool {
	var e *NotFoundError
	return errors.As(err, &e)
}

// FindEpoch looks for the tag of an epoch. found says that it is there with each
// of the files; with other bytes it is a *TagConflictError.
func FindEpoch(ctx context.Context, repo Repository, epoch uint64, files []Content) (pushed Pushed, found bool, err error) {
	if files, err = withDigests(ctx, files); err != nil {
		return Pushed{}, false, err
	}
	return findPushed(ctx, repo, EpochTag(epoch), files)
}

// findPushed looks for the tag and compares what it names with our files.
func findPushed(ctx context.Context, repo Repository, tag string, files []Content) (Pushed, bool, error) {
	tags, err := repo.Tags(ctx)
	if err != nil {
		return Pushed{}, false, err
	}
	i := slices.IndexFunc(tags, func(t Tag) bool { return t.Name == tag })
	if i < 0 {
		return Pushed{}, false, nil
	}
	commit, err := repo.Resolve(ctx, tags[i].Commit)
	if err != nil {
		return Pushed{}, false, err
	}
	theirs, err := repo.List(ctx, commit.ID)
	if err != nil {
		return Pushed{}, false, err
	}
	for _, c := range files {
		detail := ""
		switch j := slices.IndexFunc(theirs, func(f FileInfo) bool { return f.Path == c.Path }); {
		case j < 0:
			detail = "is missing"
		default:
			same, err := theirs[j].Holds(c)
			if err != nil {
				return Pushed{}, false, err
			}
			if same {
				continue
			}
			detail = fmt.Sprintf("has %d bytes, %s; ours %d, SHA-256 %s", theirs[j].Size, theirs[j].digest(), c.Size, c.SHA256)
		}
		return Pushed{}, false, &TagConflictError{Tag: tag, Commit: commit.ID, Path: c.Path, Detail: detail}
	}
	return Pushed{Commit: commit, Tag: tag, Existed: true}, true, nil
}

// mayPass reports whether trying again can help.
func mayPass(ctx context.Context, err error) bool {
	var moved *HeadMovedError
	if errors.As(err, &moved) {
		return true
	}
	if ctx.Err() != nil {
		return false
	}
	switch fault.KindOf(err) {
	case fault.Network, fault.Unexpected:
		return true
	}
	return false
}
