//go:build linux

package f32

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"lockstep/internal/peer"
)

// peerShapes are the products of distilgpt2 with 1,024 positions, each compared
// in all layouts.
var peerShapes = [][3]int{{1024, 2304, 768}, {1024, 3072, 768}, {1024, 768, 3072}, {1024, 50257, 768}, {768, 3072, 1024}, {50257, 768, 1024}}

// TestPeer prints how fast MatMul is beside another program: medians over
// calls of both in turn, and of the ratio of each pair.
func TestPeer(t *testing.T) {
	p := peer.Start(t)
	setThreads(t, peer.Threads())
	total, count := 0.0, 0
	for _, shape := range peerShapes {
		for layout, name := range []string{"NN", "NT", "TN"} {
			c := matrixCase{layout: Layout(layout), m: shape[0], n: shape[1], k: shape[2]}
			ratio := c.compare(t, p, name)
			total, count = total+math.Log(ratio), count+1
		}
	}
	t.Logf("geometric mean of the ratios %.3f, %s, %d threads", math.Exp(total/float64(count)), Active(), peer.Threads())
}

// compare returns the median ratio of the peer's time to ours. Of two calls the
// second counts: the first wakes the threads, which a product in a step finds
// awake.
func (c matrixCase) compare(t *testing.T, p peer.Peer, name string) float64 {
	o := c.operands(rand.New(rand.NewPCG(6, 11)).Float32)
	multiply := func() {
		MatMul(c.layout, o.out, o.ldc, o.a, o.lda, o.b, o.ldb, c.m, c.n, c.k, false)
	}
	flops := 2e-9 * float64(c.m) * float64(c.n) * float64(c.k)
	var ours, theirs, ratios []float64
	for range peer.Rounds() {
		multiply()
		us := peer.Measure(multiply)
		p.Do(t, name, c.m, c.n, c.k)
		them := p.Do(t, name, c.m, c.n, c.k)
		if peer.Threads() > 1 {
			time.Sleep(100 * time.Millisecond) // OpenBLAS's threads spin on
		}
		ours, theirs, ratios = append(ours, flops/us), append(theirs, flops/them), append(ratios, them/us)
	}
	ratio := peer.Median(ratios)
	t.Logf("%s %dx%dx%d: %.1f GFLOPS, the peer %.1f, ratio %.3f", name, c.m, c.n, c.k, peer.Median(ours), peer.Median(theirs), ratio)
	return ratio
}
