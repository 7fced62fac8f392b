package transport

import (
	"context"
	"io"
	"net"
	"sync"
	"time"

	"lockstep/internal/fault"
	"lockstep/internal/signed"
)

// memoryConn is a connection that only reads.
type memoryConn struct {
	io.Reader
}

func (*memoryConn) Write(b []byte) (int, error)      { return len(b), nil }
func (*memoryConn) Flush() error                     { return nil }
func (*memoryConn) Close() error                     { return nil }
func (*memoryConn) Peer() signed.PeerID              { return testID(9) }
func (*memoryConn) SetReadDeadline(time.Time) error  { return nil }
func (*memoryConn) SetWriteDeadline(time.Time) error { return nil }

// pipes is a network in memory: the second Transport, which shows that drivers
// need no sockets.
type pipes struct {
	mu    sync.Mutex
	nodes map[signed.PeerID]*pipe
}

func newPipes() *pipes { return &pipes{nodes: map[signed.PeerID]*pipe{}} }

// pipe is one node's end of the network.
type pipe struct {
	network *pipes
	id      signed.PeerID
	waiting chan Conn
	closed  chan struct{}
}

func (p *pipes) join(id signed.PeerID) *pipe {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := &pipe{p, id, make(chan Conn, 64), make(chan struct{})}
	p.nodes[id] = n
	return n
}

// pipeConn is one end of a connection.
type pipeConn struct {
	net.Conn
	peer signed.PeerID
}

func (c pipeConn) Peer() signed.PeerID { return c.peer }
func (c pipeConn) Flush() error        { return nil }

func (n *pipe) Dial(ctx context.Context, peer signed.PeerID, _ string) (Conn, error) {
	n.network.mu.Lock()
	other := n.network.nodes[peer]
	n.network.mu.Unlock()
	if other == nil {
		return nil, fault.Errorf(fault.Network, "nobody is %s", peer.Short())
	}
	a, b := net.Pipe()
	select {
	case other.waiting <- pipeConn{b, n.id}:
		return pipeConn{a, peer}, nil
	case <-other.closed:
	case <-n.closed:
	case <-ctx.Done():
	}
	return nil, fault.Errorf(fault.Network, "%s is gone", peer.Short())
}

func (n *pipe) Accept(ctx context.Context) (Conn, error) {
	select {
	case c := <-n.waiting:
		return c, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-n.closed:
		return nil, net.ErrClosed
	}
}

func (n *pipe) Close() error {
	n.network.mu.Lock()
	delete(n.network.nodes, n.id)
	n.network.mu.Unlock()
	close(n.closed)
	return nil
}
