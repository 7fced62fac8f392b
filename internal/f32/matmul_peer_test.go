//go:build linux

package f32

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os/exec"
	"slices"
	"syscall"
	"testing"
	"time"
	"unsafe"
)

var (
	peerCommand = flag.String("peer", "", "a program that multiplies matrices, to compare speeds with; docs/log.md has one for OpenBLAS")
	peerThreads = flag.Int("peer-threads", 1, "threads of ours in the comparison")
	peerWall    = flag.Bool("peer-wall", false, "compare wall time, which needs an idle machine, and not processor time")
	peerRounds  = flag.Int("peer-rounds", 11, "calls of each in turn")
)

// peerShapes are the products of distilgpt2 with 1,024 positions, each compared
// in all layouts.
var peerShapes = [][3]int{{1024, 2304, 768}, {1024, 3072, 768}, {1024, 768, 3072}, {1024, 50257, 768}, {768, 3072, 1024}, {50257, 768, 1024}}

// peer is a running program that takes "layout m n k" lines and answers each
// with the seconds of processor time and of wall time of that product.
type peer struct {
	in  io.Writer
	out *bufio.Reader
}

func startPeer(t *testing.T) peer {
	t.Helper()
	cmd := exec.Command(*peerCommand)
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
	return peer{in, bufio.NewReader(out)}
}

func (p peer) multiply(t *testing.T, layout string, m, n, k int) (processor, wall float64) {
	t.Helper()
	if _, err := fmt.Fprintln(p.in, layout, m, n, k); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fscan(p.out, &processor, &wall); err != nil {
		t.Fatal(err)
	}
	return processor, wall
}

// processorSeconds is the processor time of this process.
func processorSeconds() float64 {
	var s syscall.Timespec
	const processClock = 2 // CLOCK_PROCESS_CPUTIME_ID
	syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, processClock, uintptr(unsafe.Pointer(&s)), 0)
	return float64(s.Sec) + 1e-9*float64(s.Nsec)
}

// TestPeer prints how fast MatMul is beside another program: medians over
// calls of both in turn, and of the ratio of each pair.
func TestPeer(t *testing.T) {
	if *peerCommand == "" {
		t.Skip("compares speeds with the program that -peer names")
	}
	p := startPeer(t)
	setThreads(t, *peerThreads)
	total, count := 0.0, 0
	for _, shape := range peerShapes {
		for layout, name := range []string{"NN", "NT", "TN"} {
			c := matrixCase{layout: Layout(layout), m: shape[0], n: shape[1], k: shape[2]}
			ratio := c.compare(t, p, name)
			total, count = total+math.Log(ratio), count+1
		}
	}
	t.Logf("geometric mean of the ratios %.3f, %s, %d threads", math.Exp(total/float64(count)), Active(), *peerThreads)
}

// compare returns the median ratio of the peer's time to ours, each the second
// of two calls.
func (c matrixCase) compare(t *testing.T, p peer, name string) float64 {
	o := c.operands(rand.New(rand.NewPCG(6, 11)).Float32)
	flops := 2e-9 * float64(c.m) * float64(c.n) * float64(c.k)
	var ours, theirs, ratios []float64
	multiply := func() {
		MatMul(c.layout, o.out, o.ldc, o.a, o.lda, o.b, o.ldb, c.m, c.n, c.k, false)
	}
	for range *peerRounds {
		multiply() // wakes the threads, as the products before it do in a step
		cpu, start := processorSeconds(), time.Now()
		multiply()
		seconds := processorSeconds() - cpu
		wall := time.Since(start).Seconds()
		p.multiply(t, name, c.m, c.n, c.k)
		theirProcessor, theirWall := p.multiply(t, name, c.m, c.n, c.k)
		other := theirProcessor
		if *peerWall {
			seconds, other = wall, theirWall
		}
		if *peerThreads > 1 {
			time.Sleep(100 * time.Millisecond) // OpenBLAS's threads spin on
		}
		ours, theirs, ratios = append(ours, flops/seconds), append(theirs, flops/other), append(ratios, other/seconds)
	}
	ratio := median(ratios)
	t.Logf("%s %dx%dx%d: %.1f GFLOPS, the peer %.1f, ratio %.3f", name, c.m, c.n, c.k, median(ours), median(theirs), ratio)
	return ratio
}

func median(x []float64) float64 {
	slices.Sort(x)
	return x[len(x)/2]
}
