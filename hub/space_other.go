//go:build !(linux || darwin || freebsd || dragonfly)

package hub

// FreeSpace returns how many bytes this user may still write on the disk of dir.
// known is false where the system does not tell.
func FreeSpace(dir string) (free uint64, known bool) { return 0, false }
