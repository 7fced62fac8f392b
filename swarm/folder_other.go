//go:build !unix

package swarm

import "os"

// filePrivacy reports whether file modes say who may read a file.
const filePrivacy = false

// lockFolder marks a folder as used. Systems without flock do not stop a second
// process from using it too.
func lockFolder(path string) (release func(), err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	return func() { f.Close() }, nil
}
