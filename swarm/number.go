package swarm

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"lockstep/internal/durable"
	"lockstep/internal/fault"
)

// number is a file that holds one number, in decimal, and survives crashes with
// the old one or the new one.
type number string

// load returns the number, 0 where there is no file yet.
func (n number) load() (uint64, error) {
	b, err := os.ReadFile(string(n))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	x, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
	if err != nil {
		return 0, fault.Errorf(fault.Damaged, "%s holds no number: restore it", string(n))
	}
	return x, nil
}

// store makes x durable.
func (n number) store(x uint64) error {
	return durable.Replace(string(n), 0o644, fmt.Appendln(nil, x))
}
