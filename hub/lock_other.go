//go:build !(linux || darwin || freebsd || netbsd || openbsd || dragonfly || windows)

package hub

import (
	"errors"
	"os"
)

// lockFile fails: without locks a repository cannot be written safely.
func lockFile(*os.File, bool) (bool, error) { return false, errors.ErrUnsupported }
