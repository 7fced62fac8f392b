package server

import (
	"context"
	"io/fs"
	"os"

	"lockstep/hub"
	"lockstep/internal/fault"
	"lockstep/internal/merkle"
)

// content opens stored content, compared whole once since the server started:
// reading a file by ranges must not hash it for each.
func (r *repo) content(ctx context.Context, info hub.FileInfo) (*os.File, error) {
	if err := r.compare(ctx, info); err != nil {
		return nil, err
	}
	return r.OpenStored(info)
}

// compare compares stored content whole, unless that was done; of several
// callers one does it. It goes on when that one's client has left: who asks
// again for a large file finds it done. Damage is remembered as well, until the
// file is another one: to ask for it must not cost the time to hash it each time.
func (r *repo) compare(ctx context.Context, info hub.FileInfo) error {
	done := make(chan struct{})
	for {
		if _, ok := r.checked.Load(info.SHA256); ok {
			return nil
		}
		other, busy := r.checking.LoadOrStore(info.SHA256, done)
		if !busy {
			break
		}
		select {
		case <-other.(chan struct{}):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	defer close(done)
	defer r.checking.Delete(info.SHA256)
	return r.verify(context.WithoutCancel(ctx), info)
}

// comparison is one that failed: of which file, and how.
type comparison struct {
	file fs.FileInfo
	err  error
}

// verify compares stored content, unless this very file failed before.
func (r *repo) verify(ctx context.Context, info hub.FileInfo) error {
	file, ferr := r.StatStored(info.SHA256)
	if was, ok := r.damaged.Load(info.SHA256); ok && ferr == nil {
		if was := was.(comparison); sameFile(was.file, file) {
			return was.err
		}
	}
	err := r.Verify(ctx, info)
	switch {
	case err == nil:
		r.trust(info.SHA256)
	case ferr == nil && fault.KindOf(err) == fault.Damaged:
		r.damaged.Store(info.SHA256, comparison{file, err})
	}
	return err
}

// trust notes that content with this digest was compared whole.
func (r *repo) trust(sum merkle.Digest) {
	r.checked.Store(sum, true)
	r.damaged.Delete(sum)
}
