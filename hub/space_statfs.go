//go:build linux || darwin || freebsd || dragonfly

package hub

import "golang.org/x/sys/unix"

// FreeSpace returns how many bytes this user may still write on the disk of dir.
// known is false where the system does not tell.
func FreeSpace(dir string) (free uint64, known bool) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, false
	}
	blocks := int64(s.Bavail) // below zero on BSD when the reserve is in use
	return uint64(max(blocks, 0)) * uint64(s.Bsize), true
}
