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

// Client calls other nodes. It keeps one connection per peer. Every request has
// a deadline of its own, whatever its context: a peer that does not answer in
// time, or sends less than 64 KiB/s, is a fault.Network. Close the client when
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
			ctx, cancel := context.WithTimeout(ctx, connectTime)
			defer cancel()
			return dial(ctx, peer)
		},
		MaxConnsPerHost:        1, // one dials, the others wait for its connection
		ForceAttemptHTTP2:      true,
		DisableCompression:     true,
		MaxResponseHeaderBytes: 8 << 10,
		IdleConnTimeout:        5 * time.Minute,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: 10 * time.Second, PingTimeout: 10 * time.Second},
	}
	// A peer answers for itself: it sends us nowhere else.
	stay := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &Client{http: &http.Client{Transport: t, CheckRedirect: stay}, transport: t}
}

// Close drops idle connections.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

// Get asks for a document. Unless wait is 0, the peer may take that long to
// have it.
func (c *Client) Get(ctx context.Context, peer signed.PeerID, path string, wait time.Duration, out any) error {
	if wait > 0 {
		path += "?wait=" + strconv.Itoa(int((wait+time.Second-1)/time.Second))
	}
	return c.document(ctx, request{http.MethodGet, peer, path, wait, nil}, out)
}

// Post sends a document and reads the answer, which the peer may take work to
// have ready.
func (c *Client) Post(ctx context.Context, peer signed.PeerID, path string, work time.Duration, in, out any) error {
	body, err := signed.Marshal(in)
	if err != nil {
		panic("control: " + err.Error()) // plain structs always encode
	}
	return c.document(ctx, request{http.MethodPost, peer, path, work, body}, out)
}

// document makes a request whose answer is a document.
func (c *Client) document(ctx context.Context, r request, out any) error {
	b, err := c.do(ctx, r, signed.MaxDocument, false)
	if err != nil {
		return err
	}
	if err := signed.Unmarshal(b, out); err != nil {
		return fmt.Errorf("%s answers %s: %w", r.peer.Short(), r.path, err)
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
	path   string        // and query
	work   time.Duration // that the answer may take beyond the time of its transfer
	body   []byte
}

// do makes one request within its deadlines. The answer has at most limit bytes,
// or exactly so many.
func (c *Client) do(ctx context.Context, r request, limit int, exact bool) ([]byte, error) {
	timed, alarm := newAlarm(ctx, connectTime+transferTime(len(r.body))+r.work)
	defer alarm.stop()
	q, err := http.NewRequestWithContext(timed, r.method, "https://"+hex.EncodeToString(r.peer[:])+r.path, bytes.NewReader(r.body))
	if err != nil {
		return nil, fault.Wrap(fault.Unexpected, err)
	}
	q.Header.Set("Accept", typeCBOR)
	if r.body != nil {
		q.Header.Set("Content-Type", typeCBOR)
	}
	a, err := c.http.Do(q)
	if err != nil {
		return nil, unreachable(ctx, timed, r.peer, err)
	}
	defer a.Body.Close()
	if a.StatusCode != http.StatusOK {
		alarm.putOff(transferTime(maxRefusal))
		return nil, refusalIn(a, r.peer)
	}
	misfit := func(n int64) error {
		return fault.Errorf(fault.Damaged, "%s answers %s with %d bytes; %d are expected", r.peer.Short(), r.path, n, limit)
	}
	if a.ContentLength > int64(limit) || (exact && a.ContentLength != int64(limit)) {
		return nil, misfit(a.ContentLength)
	}
	size := limit
	if a.ContentLength >= 0 {
		size = int(a.ContentLength)
	}
	alarm.putOff(transferTime(size))
	buf := bytes.NewBuffer(make([]byte, 0, max(a.ContentLength, 0)+bytes.MinRead)) // the length is known to be within the limit
	if _, err := buf.ReadFrom(io.LimitReader(a.Body, int64(limit)+1)); err != nil {
		return nil, unreachable(ctx, timed, r.peer, err)
	}
	if buf.Len() > limit || (exact && buf.Len() != limit) {
		return nil, misfit(int64(buf.Len()))
	}
	return buf.Bytes(), nil
}

// unreachable names the peer in a transport error. The caller's own context
// comes first: a request that we ended is no failure of the peer. One that its
// alarm ended is.
func unreachable(ctx, timed context.Context, peer signed.PeerID, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if context.Cause(timed) == errSilent {
		err = errSilent
	}
	var long *url.Error // it repeats the peer's ID
	if errors.As(err, &long) {
		err = long.Err
	}
	return fault.Errorf(fault.Network, "%s cannot be reached: %w", peer.Short(), err)
}

// maxRefusal caps the body of a refusal.
const maxRefusal = 64 << 10

// refusalIn reads why a peer said no.
func refusalIn(a *http.Response, peer signed.PeerID) error {
	r := &Refusal{Code: Failed, Message: "HTTP status " + strconv.Itoa(a.StatusCode)}
	b, err := io.ReadAll(io.LimitReader(a.Body, maxRefusal))
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
