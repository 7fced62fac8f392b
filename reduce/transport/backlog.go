package transport

import (
	"sync"

	"lockstep/internal/fault"
	"lockstep/reduce/commit"
)

// terms is what all connections of a node have in common.
type terms struct {
	shape    commit.Shape
	window   int // chunks that this node grants a peer at once on one stream
	throttle int // bytes per second sent on one connection; 0: no limit
}

// maxOthers caps the messages of a peer that wait and are no chunks. A round
// needs a dozen from each, and one credit for half a window of chunks.
const maxOthers = 512

// maxChunks returns how many chunks of a peer may wait: full windows of both
// streams, and those of an attempt that was given up while they were under way.
func (t terms) maxChunks() int { return 2 * 2 * t.window }

// maxOtherBytes returns how large a peer's messages that wait and are no chunks
// may be: a few of each of the long lists.
func (t terms) maxOtherBytes() int { return 4*32*t.shape.Leaves() + 4*maxList + maxRoster }

// backlog counts what a peer sent and the driver has not handled, over all of
// the peer's connections: those that ended leave theirs in the queue. The zero
// value is empty and ready to use.
type backlog struct {
	mu     sync.Mutex
	chunks int
	others int
	bytes  int // of the others
}

// add counts a message that is about to be read. A peer that has too many did
// not wait for its credits, or talks beyond any round's need.
func (b *backlog) add(t terms, chunk bool, size int) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if chunk {
		if b.chunks >= t.maxChunks() {
			return fault.Errorf(fault.Network, "%d chunks wait to be handled: it does not keep to its credits", b.chunks)
		}
		b.chunks++
		return nil
	}
	if b.others >= maxOthers || b.bytes+size > t.maxOtherBytes() {
		return fault.Errorf(fault.Network, "%d messages of %d bytes wait to be handled, and more come", b.others, b.bytes)
	}
	b.others++
	b.bytes += size
	return nil
}

// done takes a message off that add counted.
func (b *backlog) done(chunk bool, size int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if chunk {
		b.chunks--
		return
	}
	b.others--
	b.bytes -= size
}
