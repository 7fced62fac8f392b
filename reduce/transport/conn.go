package transport

import (
	"bufio"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"lockstep/internal/fault"
	"lockstep/reduce"
)

// Limits of one connection.
const (
	bufferSize  = 256 << 10       // coalesces TLS records
	frameTime   = 2 * time.Minute // for a payload to come after its header, or a piece to be written
	pingAfter   = 5 * time.Second // of saying nothing
	deadAfter   = 3 * pingAfter   // of hearing nothing
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

// ping is sent by who has nothing else to say.
var ping = frame{header: frameHeader{kind: framePing}}

// conn is a bulk connection at work: one goroutine reads, one writes.
type conn struct {
	Conn
	preferred bool // dialled by the lower peer ID: wins over one dialled by the higher
	terms     terms
	backlog   *backlog // of the peer
	born      time.Time
	heard     atomic.Int64 // when the last bytes came, as time.Duration since born

	mu      sync.Mutex
	waiting []frame
	unsent  int64         // bytes of waiting
	reason  error         // why it was stopped
	more    chan struct{} // has a token when waiting is not empty
	closed  chan struct{}
	dropped atomic.Bool // for breaking the protocol: what it sent before is not heard
}

func newConn(c Conn, preferred bool, t terms, b *backlog) *conn {
	return &conn{
		Conn: c, preferred: preferred, terms: t, backlog: b, born: time.Now(),
		more: make(chan struct{}, 1), closed: make(chan struct{}),
	}
}

// silence returns for how long nothing has come.
func (c *conn) silence() time.Duration { return time.Since(c.born) - time.Duration(c.heard.Load()) }

// stop closes the connection for a reason; both goroutines end. The first
// reason counts.
func (c *conn) stop(reason error) {
	c.mu.Lock()
	first := c.reason == nil
	if first {
		c.reason = reason
		close(c.closed)
	}
	c.mu.Unlock()
	if first {
		c.Conn.Close()
	}
}

// why returns the reason for which the connection was stopped.
func (c *conn) why() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.reason
}

// send queues a frame. A peer that leaves thousands of them unread is dropped.
func (c *conn) send(f frame) {
	c.mu.Lock()
	c.waiting = append(c.waiting, f)
	c.unsent += int64(len(f.payload)) + perMessage
	n, full := len(c.waiting), len(c.waiting) > maxWaiting || c.unsent > c.maxUnsent()
	c.mu.Unlock()
	if full {
		c.stop(fault.Errorf(fault.Network, "it leaves %d frames unread", n))
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

// maxUnsent returns how many bytes may wait to be sent: what a peer can ask for
// by the widest window, and lists of digests.
func (c *conn) maxUnsent() int64 {
	chunk := c.terms.shape.Bytes(c.terms.shape.ChunkElements())
	return int64(2*reduce.MaxWindow*(chunk+perMessage) + c.terms.maxOtherBytes())
}

// write sends frames until the connection is closed, flushing whenever nothing
// more waits, and pings when nothing has waited for a while.
func (c *conn) write() error {
	w := bufio.NewWriterSize(c.sink(), bufferSize)
	quiet := time.NewTimer(pingAfter)
	defer quiet.Stop()
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
		quiet.Reset(pingAfter)
		select {
		case <-c.more:
		case <-quiet.C:
			c.send(ping)
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
		if p.conn.terms.throttle > 0 {
			piece = b[:min(len(b), pieceSize, p.conn.terms.throttle)]
			p.pace(len(piece))
		}
		p.conn.SetWriteDeadline(time.Now().Add(frameTime))
		k, err := p.conn.Write(piece)
		if err == nil && p.conn.terms.throttle > 0 {
			err = p.conn.Flush() // what waits for more at this rate looks like silence
		}
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
	p.free = p.free.Add(time.Duration(float64(size) / float64(p.conn.terms.throttle) * float64(time.Second)))
	select {
	case <-time.After(time.Until(p.free)):
	case <-p.conn.closed:
	}
}

// ear reads from a connection, and gives up one that is silent.
type ear struct {
	*conn
	until time.Time // when the payload under way must be there; zero between frames
}

func (e *ear) Read(b []byte) (int, error) {
	deadline := time.Now().Add(deadAfter)
	if !e.until.IsZero() && e.until.Before(deadline) {
		deadline = e.until
	}
	e.SetReadDeadline(deadline)
	n, err := e.Conn.Read(b)
	if n > 0 {
		e.heard.Store(int64(time.Since(e.born)))
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = fault.Errorf(fault.Network, "it is silent, or much too slow")
	}
	return n, err
}

// read hands messages and the memory they view to deliver, until the connection
// ends or breaks a rule. It never waits for the receiver.
func (c *conn) read(deliver func(m reduce.Message, payload []byte)) error {
	e := &ear{conn: c}
	r := bufio.NewReaderSize(e, bufferSize)
	for sequence := uint32(0); ; sequence++ {
		h, err := c.header(r, sequence)
		if err != nil {
			return err
		}
		if h.kind == framePing {
			continue
		}
		if err := c.backlog.add(c.terms, h.kind == frameChunk, int(h.length)); err != nil {
			return fmt.Errorf("frame %d: %w", sequence, err)
		}
		e.until = time.Now().Add(frameTime)
		b, m, err := c.message(r, h)
		if err != nil {
			c.backlog.done(h.kind == frameChunk, int(h.length))
			return fmt.Errorf("frame %d: %w", sequence, err)
		}
		e.until = time.Time{}
		deliver(m, b)
	}
}

// header reads the header of a frame and checks it before memory is taken for
// what it announces.
func (c *conn) header(r io.Reader, sequence uint32) (frameHeader, error) {
	var b [headerSize]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return frameHeader{}, err
	}
	h, err := parseHeader(b[:])
	if err == nil && (h.sequence != sequence || int64(h.length) > int64(maxPayload(c.terms.shape, h.kind))) {
		err = fault.Errorf(fault.Damaged, "frame %d: number %d, %d bytes of payload", sequence, h.sequence, h.length)
	}
	return h, err
}

// message reads the payload of a frame.
func (c *conn) message(r io.Reader, h frameHeader) ([]byte, reduce.Message, error) {
	b := takeBuffer(int(h.length))
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, nil, err
	}
	if crc32.Checksum(b, castagnoli) != h.checksum {
		return nil, nil, fault.Errorf(fault.Damaged, "the payload's checksum is wrong")
	}
	m, err := decode(c.terms.shape, h, b)
	return b, m, err
}

// handled says that the driver is done with a message. The memory of a chunk is
// used again, for machines keep no view of it.
func (c *conn) handled(q queued) {
	chunk := false
	if a, ok := q.event.(reduce.Arrival); ok {
		_, chunk = a.Message.(reduce.ChunkMessage)
	}
	c.backlog.done(chunk, len(q.payload))
	if chunk {
		giveBuffer(q.payload)
	}
}
