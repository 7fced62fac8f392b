package transport

import (
	"flag"
	"fmt"
	"testing"
	"time"

	"lockstep/reduce/commit"
)

var benchElements = flag.Int("reduce.elements", 1<<22, "elements of the vector in BenchmarkAllReduce; distilgpt2 has 81912576")

// BenchmarkAllReduce averages a vector over TLS on loopback, all protections
// and durable averages included: from the leader's Open to the last member's
// Apply. The gradients' own digests belong to the claims and are not counted.
func BenchmarkAllReduce(b *testing.B) {
	for _, n := range []int{2, 4} {
		b.Run(fmt.Sprintf("n=%d", n), func(b *testing.B) {
			shape := commit.StandardShape(*benchElements)
			v, members := testNetwork(b, n, shape, nil)
			b.SetBytes(int64(shape.Bytes(shape.Elements)))
			b.ResetTimer()
			for epoch := uint64(1); epoch <= uint64(b.N); epoch++ {
				b.StopTimer()
				e := v.proposal(members)
				time.Sleep(50 * time.Millisecond) // Freeze is handled
				b.StartTimer()
				v.driver.Post(e)
				for _, m := range members {
					m.awaitEpoch(epoch)
				}
				b.StopTimer()
				v.awaitEpoch(epoch)
				b.StartTimer()
			}
		})
	}
}

// awaitEpoch waits until the node has applied an epoch.
func (n *testNode) awaitEpoch(epoch uint64) {
	for {
		n.mu.Lock()
		done := n.epoch >= epoch
		n.mu.Unlock()
		if done {
			return
		}
		<-n.wake
	}
}
