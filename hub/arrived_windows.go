package hub

import (
	"io/fs"
	"syscall"
	"time"
)

// arrived returns when a file came to be what it is where it is. Programs that
// copy folders keep the time of modification; a copy has its own creation time.
func arrived(_ string, info fs.FileInfo) time.Time {
	s, ok := info.Sys().(*syscall.Win32FileAttributeData)
	if !ok {
		return info.ModTime()
	}
	return later(info.ModTime(), time.Unix(0, s.CreationTime.Nanoseconds()))
}
