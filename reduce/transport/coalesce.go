package transport

import (
	"bufio"
	"net"
	"sync"
)

// coalescer gathers the records that TLS makes of a large write, 16 KiB each,
// into few system calls. It sits between TLS and TCP: until it is switched on
// every write goes straight through, as handshakes and HTTP need.
type coalescer struct {
	net.Conn

	mu sync.Mutex // TLS may answer a peer's key update while the writer flushes
	w  *bufio.Writer
}

// gather switches the coalescer on: writes wait for a full buffer or flush.
func (c *coalescer) gather() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.w = bufio.NewWriterSize(c.Conn, bufferSize+bufferSize/8) // room for the records' own bytes
}

func (c *coalescer) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.w == nil {
		return c.Conn.Write(b)
	}
	return c.w.Write(b)
}

// flush sends what waits.
func (c *coalescer) flush() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.w == nil {
		return nil
	}
	return c.w.Flush()
}
