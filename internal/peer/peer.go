//go:build linux

// Package peer runs another program in turn with ours, for tests that compare
// their speeds.
package peer

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"testing"
	"time"
	"unsafe"
)

// Peer is a running program that answers each line with the seconds of
// processor time and of wall time that the work named by it took.
type Peer struct {
	in  io.Writer
	out *bufio.Reader
}

// Start runs a command, until the test ends. What it writes to stderr is shown.
func Start(t *testing.T, command string, args ...string) Peer {
	t.Helper()
	cmd := exec.Command(command, args...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = in.Close(); _ = cmd.Wait() })
	return Peer{in, bufio.NewReader(out)}
}

// Do has the program do some work.
func (p Peer) Do(t *testing.T, work ...any) Time {
	t.Helper()
	if _, err := fmt.Fprintln(p.in, work...); err != nil {
		t.Fatal(err)
	}
	var took Time
	if _, err := fmt.Fscan(p.out, &took.Processor, &took.Wall); err != nil {
		t.Fatal(err)
	}
	return took
}

// Time is what a piece of work took, in seconds.
type Time struct {
	Processor float64 // of all threads together
	Wall      float64
}

// Of returns one of the two. Wall time needs an idle machine.
func (t Time) Of(wall bool) float64 {
	if wall {
		return t.Wall
	}
	return t.Processor
}

// Measure times f.
func Measure(f func()) Time {
	processor, wall := processorSeconds(), time.Now()
	f()
	return Time{processorSeconds() - processor, time.Since(wall).Seconds()}
}

// processorSeconds is the processor time of this process.
func processorSeconds() float64 {
	var s syscall.Timespec
	const processClock = 2 // CLOCK_PROCESS_CPUTIME_ID
	syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, processClock, uintptr(unsafe.Pointer(&s)), 0)
	return float64(s.Sec) + 1e-9*float64(s.Nsec)
}

// Median sorts x and returns its middle.
func Median(x []float64) float64 {
	slices.Sort(x)
	return x[len(x)/2]
}
