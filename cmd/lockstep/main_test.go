package main

import (
	"io"
	"strings"
	"syscall"
	"testing"
)

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, syscall.ENOSPC }

// TestLostResults writes results to a full disk: the command has not succeeded.
func TestLostResults(t *testing.T) {
	for _, line := range []string{"version", "version --json", "hash --epochs 1", "--help"} {
		if code := run(strings.Fields(line), fullDisk{}, io.Discard); code != 4 {
			t.Errorf("lockstep %s: exit code %d, want 4", line, code)
		}
	}
}
