package transport

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"strings"
	"time"

	"lockstep/internal/fault"
	"lockstep/internal/signed"
)

// Control returns the control plane's connections as a listener for an
// http.Server. Closing it leaves the endpoint open.
func (e *Endpoint) Control() net.Listener {
	return &controlListener{endpoint: e, closed: make(chan struct{})}
}

type controlListener struct {
	endpoint *Endpoint
	closed   chan struct{}
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
	select {
	case <-l.closed:
	default:
		close(l.closed)
	}
	return nil
}

// Client returns an HTTP/2 client for one peer's control plane. The host in a
// request's URL is only a name: every connection goes to address and ends at
// peer, or fails with fault.Network. Close its idle connections when done.
func (e *Endpoint) Client(peer signed.PeerID, address string) *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			DialTLSContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return e.DialControl(ctx, peer, address)
			},
			ForceAttemptHTTP2:      true,
			DisableCompression:     true,
			MaxResponseHeaderBytes: 16 << 10,
			IdleConnTimeout:        time.Minute,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Refusal is the body of a 403 answer.
type Refusal struct {
	Code   int    `cbor:"1,keyasint" json:"code"` // the exit code that the refused node should leave with
	Reason string `cbor:"2,keyasint" json:"reason"`
}

// Guard lets only peers through that allow accepts; the others get 403 with a
// Refusal, as canonical CBOR, or as JSON for those who ask for it.
func Guard(allow func(signed.PeerID) error, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		peer, ok := PeerOf(r)
		err := fault.Errorf(fault.Network, "the request came without a key")
		if ok {
			err = allow(peer)
		}
		if err != nil {
			Refuse(w, r, err)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// Refuse answers 403 with a Refusal that says why.
func Refuse(w http.ResponseWriter, r *http.Request, why error) {
	refusal := Refusal{Code: int(fault.KindOf(why)), Reason: why.Error()}
	body, err := signed.Marshal(refusal)
	contentType := "application/cbor"
	if strings.Contains(r.Header.Get("Accept"), "application/json") {
		body, err = json.Marshal(refusal)
		contentType = "application/json"
	}
	if err != nil {
		http.Error(w, "refused", http.StatusForbidden)
		return
	}
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(http.StatusForbidden)
	w.Write(body)
}
