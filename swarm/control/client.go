package control

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"lockstep/internal/fault"
	"lockstep/internal/signed"
)

// Dial opens a TLS connection with ALPN "h2" to the holder of a key, wherever
// it listens, and returns only if the other end has proven that key.
type Dial func(ctx context.Context, peer signed.PeerID) (*tls.Conn, error)

// Client calls other nodes. It keeps one connection per peer. Close it when
// done.
type Client struct {
	http      *http.Client
	transport *http.Transport
}

// NewClient returns a client over dial.
func NewClient(dial Dial) *Client {
	t := &http.Transport{
		// A peer's address in URLs is its ID, so that connections are kept by key.
		DialTLSContext: func(ctx context.Context, _, address string) (net.Conn, error) {
			host, _, err := net.SplitHostPort(address)
			if err != nil {
				return nil, err
			}
			var peer signed.PeerID
			if err := peer.UnmarshalText([]byte(host)); err != nil {
				return nil, err
			}
			return dial(ctx, peer)
		},
		ForceAttemptHTTP2:  true,
		DisableCompression: true,
		IdleConnTimeout:    5 * time.Minute,
		HTTP2:              &http.HTTP2Config{SendPingTimeout: 10 * time.Second, PingTimeout: 10 * time.Second},
	}
	return &Client{http: &http.Client{Transport: t}, transport: t}
}

// Close drops idle connections.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

// Get asks for a document. Unless wait is 0, the peer may take that long to
// have it.
func (c *Client) Get(ctx context.Context, peer signed.PeerID, path string, wait time.Duration, out any) error {
	return c.document(ctx, http.MethodGet, peer, path, wait, nil, out)
}

// Post sends a document and reads the answer.
func (c *Client) Post(ctx context.Context, peer signed.PeerID, path string, in, out any) error {
	body, err := signed.Marshal(in)
	if err != nil {
		panic("control: " + err.Error()) // plain structs always encode
	}
	return c.document(ctx, http.MethodPost, peer, path, 0, body, out)
}

// document makes a request whose answer is a document.
func (c *Client) document(ctx context.Context, method string, peer signed.PeerID, path string, wait time.Duration, body []byte, out any) error {
	b, err := c.do(ctx, request{method, peer, path, wait, body}, signed.MaxDocument, false)
	if err != nil {
		return err
	}
	if err := signed.Unmarshal(b, out); err != nil {
		return fmt.Errorf("%s answers %s: %w", peer.Short(), path, err)
	}
	return nil
}

// Raw asks for exactly size bytes.
func (c *Client) Raw(ctx context.Context, peer signed.PeerID, path string, size int) ([]byte, error) {
	return c.do(ctx, request{http.MethodGet, peer, path, 0, nil}, size, true)
}

// Upto asks for at most size bytes.
func (c *Client) Upto(ctx context.Context, peer signed.PeerID, path string, size int) ([]byte, error) {
	return c.do(ctx, request{http.MethodGet, peer, path, 0, nil}, size, false)
}

type request struct {
	method string
	peer   signed.PeerID
	path   string
	wait   time.Duration
	body   []byte
}

// do makes one request. The answer has at most limit bytes, or exactly so many.
func (c *Client) do(ctx context.Context, r request, limit int, exact bool) ([]byte, error) {
	target := "https://" + hex.EncodeToString(r.peer[:]) + r.path
	if r.wait > 0 {
		target += "?wait=" + strconv.Itoa(int((r.wait+time.Second-1)/time.Second))
	}
	q, err := http.NewRequestWithContext(ctx, r.method, target, bytes.NewReader(r.body))
	if err != nil {
		return nil, fault.Wrap(fault.Unexpected, err)
	}
	q.Header.Set("Accept", typeCBOR)
	if r.body != nil {
		q.Header.Set("Content-Type", typeCBOR)
	}
	a, err := c.http.Do(q)
	if err != nil {
		return nil, c.unreachable(ctx, r.peer, err)
	}
	defer a.Body.Close()
	if a.StatusCode != http.StatusOK {
		return nil, refusalIn(a, r.peer)
	}
	if a.ContentLength > int64(limit) || (exact && a.ContentLength != int64(limit)) {
		return nil, fault.Errorf(fault.Damaged, "%s answers %s with %d bytes; %d are expected", r.peer.Short(), r.path, a.ContentLength, limit)
	}
	b := make([]byte, 0, max(a.ContentLength, 0)+bytes.MinRead) // the length is known to be within the limit
	buf := bytes.NewBuffer(b)
	if _, err := buf.ReadFrom(io.LimitReader(a.Body, int64(limit)+1)); err != nil {
		return nil, c.unreachable(ctx, r.peer, err)
	}
	if buf.Len() > limit || (exact && buf.Len() != limit) {
		return nil, fault.Errorf(fault.Damaged, "%s answers %s with %d bytes; %d are expected", r.peer.Short(), r.path, buf.Len(), limit)
	}
	return buf.Bytes(), nil
}

// unreachable names the peer in a transport error. The caller's own context
// comes first: a request that we ended is no failure of the peer.
func (c *Client) unreachable(ctx context.Context, peer signed.PeerID, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var long *url.Error // it repeats the peer's ID
	if errors.As(err, &long) {
		err = long.Err
	}
	return fault.Errorf(fault.Network, "%s cannot be reached: %w", peer.Short(), err)
}

// refusalIn reads why a peer said no.
func refusalIn(a *http.Response, peer signed.PeerID) error {
	r := &Refusal{Code: Failed, Message: "HTTP status " + strconv.Itoa(a.StatusCode)}
	b, err := io.ReadAll(io.LimitReader(a.Body, 64<<10))
	if err == nil && a.Header.Get("Content-Type") == typeCBOR {
		said := new(Refusal)
		if signed.Unmarshal(b, said) == nil {
			r = said
		}
	}
	return r.tidy(peer)
}

// IsRefusal reports whether err is a peer's no, with one of codes; any code if
// none is given.
func IsRefusal(err error, codes ...Code) bool {
	var r *Refusal
	if !errors.As(err, &r) {
		return false
	}
	for _, c := range codes {
		if r.Code == c {
			return true
		}
	}
	return len(codes) == 0
}
