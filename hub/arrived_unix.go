//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package hub

import (
	"io/fs"
	"time"

	"golang.org/x/sys/unix"
)

// arrived returns when a file came to be what it is where it is. Programs that
// copy folders keep the time of modification; the time of change nobody sets.
func arrived(path string, info fs.FileInfo) time.Time {
	var s unix.Stat_t
	if err := unix.Lstat(path, &s); err != nil {
		return info.ModTime()
	}
	return later(info.ModTime(), time.Unix(s.Ctim.Unix()))
}
