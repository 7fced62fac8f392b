//go:build linux

// Package peer runs another program in turn with ours, for tests that compare
// their speeds. docs/log.md has programs for OpenBLAS and PyTorch.
package peer

import (
	"bufio"
	"flag"
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

var (
	command = flag.String("peer", "", "a program to compare speeds with, as docs/log.md has them")
	threads = flag.Int("peer-threads", 1, "threads of ours in the comparison")
	wall    = flag.Bool("peer-wall", false, "compare wall time, which needs an idle machine, and not processor time")
	rounds  = flag.Int("peer-rounds", 11, "calls of each in turn")
)

// Threads is how many threads of ours the comparison is for.
func Threads() int { return *threads }

// Rounds is how often each is to be measured, in turn.
func Rounds() int { return *rounds }

// Peer is a running program that answers each line with the seconds of
// processor time and of wall time that the work named by it took.
type Peer struct {
	in  io.Writer
	out *bufio.Reader
}

// Start runs the program that -peer names, until the test ends, and skips the
// test if there is none. What it writes to stderr is shown.
func Start(t *testing.T) Peer {
	t.Helper()
	if *command == "" {
		t.Skip("compares speeds with the program that -peer names")
	}
	cmd := exec.Command(*command)
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

// Do has the program do some work and returns the seconds it took.
func (p Peer) Do(t *testing.T, work ...any) float64 {
	t.Helper()
	if _, err := fmt.Fprintln(p.in, work...); err != nil {
		t.Fatal(err)
	}
	var processor, elapsed float64
	if _, err := fmt.Fscan(p.out, &processor, &elapsed); err != nil {
		t.Fatal(err)
	}
	if *wall {
		return elapsed
	}
	return processor
}

// Measure returns the seconds that f takes: of wall time with -peer-wall, else
// of processor time, that of all threads together.
func Measure(f func()) float64 {
	processor, start := processorSeconds(), time.Now()
	f()
	if *wall {
		return time.Since(start).Seconds()
	}
	return processorSeconds() - processor
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
