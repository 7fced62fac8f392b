//go:build linux

package model

import (
	"testing"
	"time"

	"lockstep/internal/f32"
	"lockstep/internal/peer"
)

// TestPeer prints how fast a step of distilgpt2 is beside another program's:
// medians over steps of both in turn, and of the ratio of each pair.
func TestPeer(t *testing.T) {
	p := peer.Start(t)
	f32.SetThreads(peer.Threads())
	t.Cleanup(func() { f32.SetThreads(0) })
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
		for range peer.Rounds() {
			us := peer.Measure(step)
			them := p.Do(t, shape[0], shape[1])
			time.Sleep(300 * time.Millisecond) // the threads of an OpenMP runtime spin on
			ours, theirs, ratios = append(ours, us), append(theirs, them), append(ratios, them/us)
		}
		t.Logf("%d x %d, %d threads: %.3f s, the peer %.3f s, ratio %.3f (%.3f to %.3f)", shape[0], shape[1], peer.Threads(),
			peer.Median(ours), peer.Median(theirs), peer.Median(ratios), ratios[0], ratios[len(ratios)-1])
	}
}
