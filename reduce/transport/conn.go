package transport

import (
	"bufio"
	"hash/crc32"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"lockstep/internal/fault"
	"lockstep/reduce"
	"lockstep/reduce/commit"
)

// Limits of one connection.
const (
	bufferSize  = 256 << 10       // coalesces TLS records
	frameTime   = 2 * time.Minute // for a payload to come after its header, or a piece to be written
	maxWaiting  = 2048            // frames that wait to be sent
	perMessage  = 1 << 10         // what a queued message costs beside its payload
	pieceSize   = 64 << 10        // written at a time when the connection is throttled
	maxIdleness = 10 * time.Minute
)

// frame is an encoded message on its way out.
type frame struct {
	header  frameHeader
	payload []byte
}

// conn is a bulk connection at work: one goroutine reads, one writes.
type conn struct {
	Conn
	preferred bool // dialled by the lower peer ID: wins over one dialled by the higher
	shape     commit.Shape
	throttle  int // bytes per second; 0: none

	mu      sync.Mutex
	waiting []frame
	unsent  int64         // bytes of waiting
	more    chan struct{} // has a token when waiting is not empty
	queued  atomic.Int64  // bytes of messages that the driver has not handled
	closed  chan struct{}
	once    sync.Once
	dropped atomic.Bool // for breaking the protocol: what it sent before is not heard
}

func newConn(c Conn, preferred bool, shape commit.Shape, throttle int) *conn {
	return &conn{
		Conn: c, preferred: preferred, shape: shape, throttle: throttle,
		more: make(chan struct{}, 1), closed: make(chan struct{}),
	}
}

// stop closes the connection; both goroutines end.
func (c *conn) stop() {
	c.once.Do(func() {
		close(c.closed)
		c.Conn.Close()
	})
}

// send queues a frame. A peer that leaves thousands of them unread is dropped.
func (c *conn) send(f frame) {
	c.mu.Lock()
	c.waiting = append(c.waiting, f)
	c.unsent += int64(len(f.payload)) + perMessage
	full := len(c.waiting) > maxWaiting || c.unsent > c.budget()
	c.mu.Unlock()
	if full {
		c.stop()
		return
	}
	select {
	case c.more <- struct{}{}:
	default:
	}
}

// take returns the frames that wait.
func (c *conn) take() []frame {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := c.waiting
	c.waiting, c.unsent = nil, 0
	return out
}

// write sends frames until the connection is closed, flushing whenever nothing
// more waits.
func (c *conn) write() error {
	w := bufio.NewWriterSize(c.sink(), bufferSize)
	var sequence uint32
	for {
		frames := c.take()
		for _, f := range frames {
			f.header.sequence = sequence
			sequence++
			if _, err := w.Write(f.header.append(nil)); err != nil {
				return err
			}
			if _, err := w.Write(f.payload); err != nil {
				return err
			}
			giveBuffer(f.payload)
		}
		if len(frames) > 0 {
			continue
		}
		if err := w.Flush(); err != nil {
			return err
		}
		if err := c.Flush(); err != nil {
			return err
		}
		select {
		case <-c.more:
		case <-c.closed:
			return io.EOF
		}
	}
}

// sink is where the writer's buffer goes.
func (c *conn) sink() io.Writer { return &pacedWriter{conn: c} }

// pacedWriter gives every write a deadline, and on a throttled connection cuts
// it into pieces that keep to the rate.
type pacedWriter struct {
	conn *conn
	free time.Time // when the rate allows the next byte
}

func (p *pacedWriter) Write(b []byte) (n int, err error) {
	for len(b) > 0 {
		piece := b
		if p.conn.throttle > 0 {
			piece = b[:min(len(b), pieceSize)]
			p.pace(len(piece))
		}
		p.conn.SetWriteDeadline(time.Now().Add(frameTime))
		k, err := p.conn.Write(piece)
		n += k
		if err != nil {
			return n, err
		}
		b = b[len(piece):]
	}
	return n, nil
}

// pace waits until size bytes may be sent.
func (p *pacedWriter) pace(size int) {
	now := time.Now()
	if p.free.Before(now) {
		p.free = now
	}
	p.free = p.free.Add(time.Duration(float64(size) / float64(p.conn.throttle) * float64(time.Second)))
	select {
	case <-time.After(time.Until(p.free)):
	case <-p.conn.closed:
	}
}

// budget is how many bytes of messages may wait for the driver: what a peer with
// full credit on both streams sends, and its lists of digests. Who sends more
// does not keep to its credits.
func (c *conn) budget() int64 {
	chunk := c.shape.Bytes(c.shape.ChunkElements())
	return int64(2*reduce.MaxWindow*(chunk+perMessage) + 4*32*c.shape.Leaves() + 4*maxList)
}

// read hands messages and the memory they view to deliver, until the connection
// ends or breaks a rule. It never waits for the receiver.
func (c *conn) read(deliver func(m reduce.Message, payload []byte)) error {
	r := bufio.NewReaderSize(c.Conn, bufferSize)
	head := make([]byte, headerSize)
	budget := c.budget()
	for sequence := uint32(0); ; sequence++ {
		c.SetReadDeadline(time.Time{})
		if _, err := io.ReadFull(r, head); err != nil {
			return err
		}
		h, err := parseHeader(head)
		if err != nil {
			return err
		}
		if h.sequence != sequence || int64(h.length) > int64(maxPayload(c.shape, h.kind)) {
			return fault.Errorf(fault.Damaged, "frame %d: number %d, %d bytes of payload", sequence, h.sequence, h.length)
		}
		if c.queued.Add(int64(h.length)+perMessage) > budget {
			return fault.Errorf(fault.Network, "frame %d: more bytes wait to be handled than credits allow", sequence)
		}
		c.SetReadDeadline(time.Now().Add(frameTime))
		b := takeBuffer(int(h.length))
		if _, err := io.ReadFull(r, b); err != nil {
			return err
		}
		if crc32.Checksum(b, castagnoli) != h.checksum {
			return fault.Errorf(fault.Damaged, "frame %d: the payload's checksum is wrong", sequence)
		}
		m, err := decode(c.shape, h, b)
		if err != nil {
			return err
		}
		deliver(m, b)
	}
}

// handled says that the driver is done with a message. The memory of a chunk is
// used again, for machines keep no view of it.
func (c *conn) handled(q queued) {
	c.queued.Add(-int64(len(q.payload)) - perMessage)
	if a, ok := q.event.(reduce.Arrival); ok {
		if _, ok := a.Message.(reduce.ChunkMessage); ok {
			giveBuffer(q.payload)
		}
	}
}
