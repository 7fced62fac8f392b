//go:build linux

package model

import (
	"flag"
	"testing"
	"time"

	"lockstep/internal/f32"
	"lockstep/internal/peer"
)

var (
	peerCommand = flag.String("peer", "", "a program that trains distilgpt2, to compare speeds with; docs/log.md has one for PyTorch")
	peerThreads = flag.Int("peer-threads", 1, "threads of ours in the comparison")
	peerWall    = flag.Bool("peer-wall", false, "compare wall time, which needs an idle machine, and not processor time")
	peerRounds  = flag.Int("peer-rounds", 11, "steps of each in turn")
)

// TestPeer prints how fast a step of distilgpt2 is beside another program's:
// medians over steps of both in turn, and of the ratio of each pair.
func TestPeer(t *testing.T) {
	if *peerCommand == "" {
		t.Skip("compares speeds with the program that -peer names")
	}
	f32.SetThreads(*peerThreads)
	t.Cleanup(func() { f32.SetThreads(0) })
	p := peer.Start(t, *peerCommand)
	c, _ := Builtin("distilgpt2")
	m, s := newModel(t, c), NewState(Initialise(c, 1))
	parameters, acc := s.Parameters(c), NewAccumulator(m.Layout)
	for _, shape := range [][2]int{{4, 256}, {1, 1024}} {
		batch := syntheticBatch(c, shape[0], shape[1], 0)
		step := func() {
			if err := trainingStep(m, s, parameters, batch, acc); err != nil {
				t.Fatal(err)
			}
		}
		step() // makes the buffers
		p.Do(t, shape[0], shape[1])
		var ours, theirs, ratios []float64
		for range *peerRounds {
			us := peer.Measure(step).Of(*peerWall)
			them := p.Do(t, shape[0], shape[1]).Of(*peerWall)
			time.Sleep(300 * time.Millisecond) // the threads of an OpenMP runtime spin on
			ours, theirs, ratios = append(ours, us), append(theirs, them), append(ratios, them/us)
		}
		t.Logf("%d x %d, %d threads: %.3f s, the peer %.3f s, ratio %.3f (%.3f to %.3f)", shape[0], shape[1], *peerThreads,
			peer.Median(ours), peer.Median(theirs), peer.Median(ratios), ratios[0], ratios[len(ratios)-1])
	}
}
