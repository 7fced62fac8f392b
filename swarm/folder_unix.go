//go:build unix

package swarm

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"lockstep/internal/fault"
)

// filePrivacy reports whether file modes say who may read a file.
const filePrivacy = true

// lockFolder takes a folder for this process by a lock on a file in it. The
// lock ends with the process, however that ends.
func lockFolder(path string) (release func(), err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	for {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if errors.Is(err, unix.EWOULDBLOCK) {
		f.Close()
		return nil, fault.Errorf(fault.Config, "%s: another process uses this folder", filepath.Dir(path))
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return func() { f.Close() }, nil
}
