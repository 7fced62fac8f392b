package reduce

import "time"

// inflow is the receiving end of one stream from one peer. Chunks are counted
// from the start of the part and taken in order only: a connection keeps order,
// and after a new connection the first credit says where to go on.
type inflow struct {
	count  uint32 // chunks of the stream
	next   uint32 // chunks taken; invariant: next <= limit
	limit  uint32 // chunks granted so far
	active bool   // a first credit was granted
	closed bool   // the peer broke the protocol; nothing more is taken
	moved  time.Duration
}

func (f *inflow) complete() bool { return f.next == f.count }

// waiting reports whether the stream should be moving.
func (f *inflow) waiting() bool { return f.active && !f.closed && !f.complete() }

// admit says what to do with chunk number ord.
func (f *inflow) admit(ord uint32) admission {
	switch {
	case f.closed, !f.active, ord < f.next, f.complete():
		return stale
	case ord >= f.limit:
		return beyond
	case ord > f.next:
		return stale // chunks in between were lost with a connection
	}
	return due
}

type admission uint8

const (
	stale  admission = iota // already taken, or not to be taken any more
	beyond                  // the sender ignores its credit
	due
)

// grant raises the limit to cover window chunks beyond done, and reports
// whether that is worth a message: when half a window became free.
func (f *inflow) grant(done, window uint32) bool {
	limit := min(done+window, f.count)
	if f.limit == f.count || limit < f.limit+max(1, window/2) && limit < f.count {
		return false
	}
	f.limit = limit
	return true
}

// outflow is the sending end of one stream to one peer.
type outflow struct {
	count   uint32 // chunks of the stream
	next    uint32 // chunk to send next
	limit   uint32 // chunks the peer takes so far
	had     uint32 // chunks the peer said it has
	open    bool   // a credit came since the connection stands
	rewinds int    // how often the peer wanted chunks again
}

// maxRewinds bounds how often a peer can make this node send chunks again: once
// for each of its restarts and broken connections, and some to spare.
const maxRewinds = 32

// reset forgets what was sent: the connection is gone or new.
func (f *outflow) reset() { f.open, f.limit = false, 0 }

// credit takes the receiver's word. The first one after a connection, and one
// that counts less than the receiver once had, say where to start: chunks were
// lost with a connection, or the receiver lost its memory. Others only raise the
// limit, since what they do not count yet is on its way.
func (f *outflow) credit(next, limit uint32) {
	next = min(next, f.count)
	limit = min(limit, next+MaxWindow, f.count) // no peer makes this node queue more
	if !f.open || next < f.had {
		if next < f.next {
			if f.rewinds == maxRewinds {
				return
			}
			f.rewinds++
		}
		f.open, f.next, f.limit = true, next, 0
	}
	f.had = next
	f.limit = max(f.limit, limit)
}

// ready reports whether a chunk may be sent when available chunks exist.
func (f *outflow) ready(available uint32) bool {
	return f.open && f.next < min(f.limit, available)
}
