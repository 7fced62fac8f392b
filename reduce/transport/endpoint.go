package transport

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"lockstep/internal/fault"
	"lockstep/internal/signed"
)

// Conn is a connection of the bulk plane, with a peer whose key is proven.
// Writes may wait in a buffer until Flush.
type Conn interface {
	io.ReadWriteCloser
	Flush() error
	Peer() signed.PeerID
	SetReadDeadline(t time.Time) error
	SetWriteDeadline(t time.Time) error
}

// Transport makes connections of the bulk plane. Endpoint is the one over TCP.
type Transport interface {
	// Dial connects to a peer. Errors are fault.Network.
	Dial(ctx context.Context, peer signed.PeerID, address string) (Conn, error)
	// Accept waits for the next connection; net.ErrClosed after Close.
	Accept(ctx context.Context) (Conn, error)
	Close() error
}

// keepAlive notices within 15 seconds that a machine is gone without a word.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 3 * time.Second, Count: 3}

// Options says whom an Endpoint lets in, and how fast.
type Options struct {
	// Allow decides who may use the bulk plane; nil allows every key. A peer
	// that is refused is dropped before it can send a frame. The control plane
	// is open to every key: its handlers refuse with a reason. Allow may take
	// its time, for it may have to ask others.
	Allow  func(signed.PeerID) error
	Limits Limits
}

// Endpoint is a node's one TCP port: TLS 1.3, ed25519 keys, ALPN "h2" for the
// control plane and "lockstep/bulk/1" for the bulk plane. Anything else that
// comes to the port is dropped, and the node goes on.
type Endpoint struct {
	id       signed.PeerID
	cert     tls.Certificate
	options  Options
	listener net.Listener
	gate     gate
	pending  places // handshakes under way
	asking   places // calls of Allow
	bulk     chan Conn
	control  chan net.Conn

	closed  chan struct{}
	once    sync.Once
	workers sync.WaitGroup
	mu      sync.Mutex
	opening map[net.Conn]bool // not handed out yet, for Close
}

var _ Transport = (*Endpoint)(nil)

// Listen opens a port. The address is host:port, port 0 for any free one.
func Listen(address string, key ed25519.PrivateKey, o Options) (*Endpoint, error) {
	o.Limits = o.Limits.withDefaults()
	cert, err := certificate(key)
	if err != nil {
		return nil, err
	}
	lc := net.ListenConfig{KeepAliveConfig: keepAlive}
	l, err := lc.Listen(context.Background(), "tcp", address)
	if err != nil {
		return nil, fault.Errorf(fault.Network, "listen on %s: %w", address, err)
	}
	e := &Endpoint{
		id: signed.IDOf(key.Public().(ed25519.PublicKey)), cert: cert, options: o, listener: l,
		gate:    gate{limit: o.Limits.PerSecond},
		pending: places{all: o.Limits.Pending, each: o.Limits.PendingEach},
		asking:  places{all: o.Limits.Pending, each: o.Limits.PendingEach},
		bulk:    make(chan Conn, o.Limits.Idle), control: make(chan net.Conn, o.Limits.Idle),
		closed: make(chan struct{}), opening: map[net.Conn]bool{},
	}
	e.workers.Go(e.accept)
	return e, nil
}

// ID returns the node's own peer ID.
func (e *Endpoint) ID() signed.PeerID { return e.id }

// Addr returns the address that the port is open on.
func (e *Endpoint) Addr() net.Addr { return e.listener.Addr() }

// accept takes TCP connections until the endpoint is closed.
func (e *Endpoint) accept() {
	config := serverConfig(e.cert)
	for {
		conn, err := e.listener.Accept()
		if err != nil {
			if e.isClosed() {
				return
			}
			e.pause() // out of file descriptors, most likely: others may close some
			continue
		}
		from := networkOf(conn.RemoteAddr())
		if !e.gate.admit(from, time.Now()) {
			conn.Close()
			continue
		}
		// A handshake in earnest is over soon: in a flood of silent connections
		// it has its chance, where a full house would turn everybody away.
		if oldest := e.pending.seize(from, conn); oldest != nil {
			oldest.Close()
		}
		e.open(conn)
		e.workers.Go(func() {
			defer e.opened(conn)
			e.welcome(conn, config, from)
		})
	}
}

// open and opened bracket the time in which Close has to close a connection.
func (e *Endpoint) open(conn net.Conn) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.opening[conn] = true
	if e.isClosed() { // it may have looked already
		conn.Close()
	}
}

func (e *Endpoint) opened(conn net.Conn) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.opening, conn)
}

// welcome finishes TLS and passes the connection to the plane it asked for.
func (e *Endpoint) welcome(raw net.Conn, config *tls.Config, from netip.Prefix) {
	wire := &coalescer{Conn: raw}
	conn, peer, err := e.handshake(wire, config)
	switch {
	case err != nil: // garbage, a stranger's protocol, or a peer that went away
	case conn.ConnectionState().NegotiatedProtocol == controlProtocol:
		if offer(e.control, net.Conn(conn)) {
			return
		}
	case conn.ConnectionState().NegotiatedProtocol == bulkProtocol:
		if e.allowed(peer, from, raw) && offer(e.bulk, Conn(newLink(conn, wire, peer))) {
			return
		}
	}
	raw.Close() // no TLS farewell: it could block on a peer that does not read
}

// handshake proves the key of a peer, and gives back the place among the
// handshakes under way.
func (e *Endpoint) handshake(wire *coalescer, config *tls.Config) (*tls.Conn, signed.PeerID, error) {
	defer e.pending.give(wire.Conn)
	wire.SetDeadline(time.Now().Add(e.options.Limits.Handshake))
	conn := tls.Server(wire, config)
	if err := conn.Handshake(); err != nil {
		return nil, signed.PeerID{}, err
	}
	wire.SetDeadline(time.Time{})
	state := conn.ConnectionState()
	peer, err := peerOf(&state)
	return conn, peer, err
}

// allowed asks whether a peer may use the bulk plane.
func (e *Endpoint) allowed(peer signed.PeerID, from netip.Prefix, conn net.Conn) bool {
	if e.options.Allow == nil {
		return true
	}
	if !e.asking.take(from, conn) {
		return false
	}
	defer e.asking.give(conn)
	return e.options.Allow(peer) == nil
}

// offer puts v into the queue unless it is full.
func offer[T any](queue chan T, v T) bool {
	select {
	case queue <- v:
		return true
	default:
		return false
	}
}

// link is a bulk connection. What is written waits until Flush.
type link struct {
	*tls.Conn
	wire *coalescer
	peer signed.PeerID
}

func newLink(conn *tls.Conn, wire *coalescer, peer signed.PeerID) *link {
	wire.gather()
	return &link{conn, wire, peer}
}

func (l *link) Peer() signed.PeerID { return l.peer }

// Flush sends what was written.
func (l *link) Flush() error { return l.wire.flush() }

// Close drops the connection at once: frames carry their own end, so TLS's
// farewell, which may block, says nothing new.
func (l *link) Close() error { return l.wire.Close() }

// Dial opens a bulk connection to a peer.
func (e *Endpoint) Dial(ctx context.Context, peer signed.PeerID, address string) (Conn, error) {
	conn, wire, err := e.dial(ctx, peer, address, bulkProtocol)
	if err != nil {
		return nil, err
	}
	return newLink(conn, wire, peer), nil
}

// DialControl opens a connection to a peer's control plane, for an HTTP/2
// client.
func (e *Endpoint) DialControl(ctx context.Context, peer signed.PeerID, address string) (*tls.Conn, error) {
	conn, _, err := e.dial(ctx, peer, address, controlProtocol)
	return conn, err
}

func (e *Endpoint) dial(ctx context.Context, peer signed.PeerID, address, protocol string) (*tls.Conn, *coalescer, error) {
	ctx, cancel := context.WithTimeout(ctx, e.options.Limits.Handshake)
	defer cancel()
	d := net.Dialer{KeepAliveConfig: keepAlive}
	raw, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, nil, fault.Errorf(fault.Network, "connect to %s at %s: %w", peer.Short(), address, err)
	}
	wire := &coalescer{Conn: raw}
	conn := tls.Client(wire, clientConfig(e.cert, peer, protocol))
	if err := conn.HandshakeContext(ctx); err != nil {
		raw.Close()
		return nil, nil, fault.Errorf(fault.Network, "connect to %s at %s: %w", peer.Short(), address, err)
	}
	return conn, wire, nil
}

// Accept waits for the next bulk connection.
func (e *Endpoint) Accept(ctx context.Context) (Conn, error) {
	select {
	case c := <-e.bulk:
		return c, nil
	case <-e.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Close shuts the port. Connections that were handed out stay open.
func (e *Endpoint) Close() error {
	err := errors.New("endpoint: closed twice")
	e.once.Do(func() {
		close(e.closed)
		err = e.listener.Close()
		e.mu.Lock()
		for conn := range e.opening {
			conn.Close()
		}
		e.mu.Unlock()
		e.workers.Wait()
		e.drain()
	})
	if err != nil {
		return fmt.Errorf("endpoint: %w", err)
	}
	return nil
}

// drain closes what was accepted and never taken.
func (e *Endpoint) drain() {
	for {
		select {
		case c := <-e.bulk:
			c.Close()
		case c := <-e.control:
			c.Close()
		default:
			return
		}
	}
}

func (e *Endpoint) isClosed() bool {
	select {
	case <-e.closed:
		return true
	default:
		return false
	}
}

func (e *Endpoint) pause() {
	select {
	case <-time.After(50 * time.Millisecond):
	case <-e.closed:
	}
}
