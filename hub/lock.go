package hub

import (
	"context"
	"os"
	"time"

	"lockstep/internal/fault"
)

// fileLock is an advisory lock on a file. It belongs to the open file, so it
// excludes goroutines as well as processes, and ends with the process that
// holds it, however that ends.
type fileLock struct{ file *os.File }

// tryLock takes the lock if nobody's lock is in the way. Several may hold it
// shared, or one alone.
func tryLock(path string, shared bool) (*fileLock, bool, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return nil, false, err
	}
	ok, err := lockFile(f, shared)
	if err != nil {
		f.Close()
		return nil, false, fault.Errorf(fault.Environment, "locking %s: %w", path, err)
	}
	if !ok {
		return nil, false, f.Close()
	}
	return &fileLock{f}, true, nil
}

// lock waits for the lock until ctx ends. Locks are held for the time of a few
// small writes, so it asks again at short intervals rather than queue in the
// kernel, where a cancelled context could not reach it.
func lock(ctx context.Context, path string, shared bool) (*fileLock, error) {
	const first, longest = time.Millisecond, 20 * time.Millisecond
	for wait := first; ; wait = min(2*wait, longest) {
		l, ok, err := tryLock(path, shared)
		if ok || err != nil {
			return l, err
		}
		if err := Sleep(ctx, wait); err != nil {
			return nil, fault.Errorf(fault.KindOf(err), "waiting for another process to release %s: %w", path, err)
		}
	}
}

// unlock releases the lock.
func (l *fileLock) unlock() { l.file.Close() }

// Lock takes an exclusive advisory lock on a file, which is made if need be, and
// returns what gives it back. Python's filelock takes the same kind. It is an
// errors.ErrUnsupported where the file system has no locks.
func Lock(ctx context.Context, path string) (unlock func(), err error) {
	l, err := lock(ctx, path, false)
	if err != nil {
		return nil, err
	}
	return l.unlock, nil
}

// Sleep waits for d or for the end of ctx, whichever comes first.
func Sleep(ctx context.Context, d time.Duration) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
