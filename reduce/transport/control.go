package transport

import (
	"net"
	"sync"
)

// Control returns the control plane's connections as a listener for an
// http.Server. Closing it leaves the endpoint open.
func (e *Endpoint) Control() net.Listener {
	return &controlListener{endpoint: e, closed: make(chan struct{})}
}

type controlListener struct {
	endpoint *Endpoint
	closed   chan struct{}
	once     sync.Once
}

// Accept returns connections whose handshake is done and whose key is proven.
func (l *controlListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.endpoint.control:
		return c, nil
	case <-l.endpoint.closed:
	case <-l.closed:
	}
	return nil, net.ErrClosed
}

func (l *controlListener) Addr() net.Addr { return l.endpoint.Addr() }

func (l *controlListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}
