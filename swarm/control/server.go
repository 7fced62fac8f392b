package control

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"lockstep/internal/signed"
)

// Media types of bodies.
const (
	typeCBOR  = "application/cbor"
	typeJSON  = "application/json"
	typeBytes = "application/octet-stream"
)

// MaxWait caps how long a request may wait for its answer to exist.
const MaxWait = 60 * time.Second

// Access says who may call a route.
type Access uint8

// The kinds of access, from the widest.
const (
	Anyone     Access = iota // any key: for those who want to join
	Seated                   // a key in the registry
	Validators               // a validator's key
)

// Route is one thing that may be asked.
type Route struct {
	Pattern string // of http.ServeMux: "GET /v1/claim/{epoch}"
	Access  Access
	Body    int64  // most bytes of the request's body
	Query   string // what costs the node work: each caller may ask one of a name at a time
	Serve   func(ctx context.Context, c Call) (Reply, error)
}

// Call is one request.
type Call struct {
	Peer signed.PeerID
	Seat Seat          // zero where the caller has none
	Wait time.Duration // how long the caller is ready to wait, at most MaxWait
	Host string        // IP address that the caller comes from
	path func(string) string
	body []byte
}

// Number returns the number in a place of the path.
func (c Call) Number(place string) (uint64, error) {
	s := c.path(place)
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil || strconv.FormatUint(n, 10) != s {
		return 0, Refuse(Malformed, "%.40q is no number", s)
	}
	return n, nil
}

// Word returns the text in a place of the path.
func (c Call) Word(place string) string { return c.path(place) }

// Read reads the body's document.
func (c Call) Read(v any) error {
	if err := signed.Unmarshal(c.body, v); err != nil {
		return Refuse(Malformed, "%v", err)
	}
	return nil
}

// Reply is an answer: a document, or raw bytes. The zero Reply is an empty
// document.
type Reply struct {
	Document any
	Raw      []byte
	View     any // what people see who ask for JSON; Document when nil
}

// Options of a server. Seats is required.
type Options struct {
	Seats    func(signed.PeerID) (Seat, bool) // who sits where, now
	Throttle *Budget                          // paces all raw answers of this node; nil: no limit
}

// Server answers the control plane over connections that a TLS listener of the
// node hands out. It asks for no certificate itself: the listener must have
// demanded one.
type Server struct {
	http    *http.Server
	handler *handler
}

// NewServer returns a server whose requests end with ctx, so that long waits do
// not hold up a node that stops. End it with Close.
func NewServer(ctx context.Context, routes []Route, o Options) *Server {
	h := &handler{options: o, callers: callers{byID: map[[32]byte]*caller{}}}
	mux := http.NewServeMux()
	for _, r := range routes {
		mux.HandleFunc(r.Pattern, func(w http.ResponseWriter, q *http.Request) { h.serve(w, q, r) })
	}
	return &Server{handler: h, http: &http.Server{
		BaseContext:       func(net.Listener) context.Context { return ctx },
		Handler:           mux,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       MaxWait + 30*time.Second,
		IdleTimeout:       3 * time.Minute,
		MaxHeaderBytes:    8 << 10,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: 2 * callerRequests, SendPingTimeout: 15 * time.Second},
		ErrorLog:          log.New(io.Discard, "", 0), // what peers do wrong is told to them, not to us
	}}
}

// Serve answers until Close, or until the listener fails.
func (s *Server) Serve(l net.Listener) error { return s.http.Serve(l) }

// Close ends all connections and returns when no request is being answered any
// more.
func (s *Server) Close() error {
	err := s.http.Close()
	s.handler.close()
	return err
}

// peerOf returns the key at the other end of a TLS connection.
func peerOf(s *tls.ConnectionState) (signed.PeerID, error) {
	if s == nil || len(s.PeerCertificates) == 0 {
		return signed.PeerID{}, errors.New("the connection shows no certificate")
	}
	key, ok := s.PeerCertificates[0].PublicKey.(ed25519.PublicKey)
	if !ok {
		return signed.PeerID{}, errors.New("the certificate's key is not ed25519")
	}
	return signed.IDOf(key), nil
}

type handler struct {
	options Options
	callers callers

	mu     sync.Mutex
	closed bool
	active sync.WaitGroup // requests; nobody is added once closed
}

// begin counts a request, unless the server is closed.
func (h *handler) begin() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return false
	}
	h.active.Add(1)
	return true
}

func (h *handler) close() {
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	h.active.Wait()
}

func (h *handler) serve(w http.ResponseWriter, q *http.Request, r Route) {
	if !h.begin() {
		return
	}
	defer h.active.Done()
	wantsJSON := strings.Contains(q.Header.Get("Accept"), typeJSON)
	reply, pace, err := h.answer(q, r)
	if err != nil {
		refusal := new(Refusal)
		if !errors.As(err, &refusal) {
			refusal = Refuse(Failed, "%v", err)
		}
		write(w, statuses[refusal.Code], refusal, wantsJSON)
		return
	}
	if reply.Raw == nil {
		if wantsJSON && reply.View != nil {
			reply.Document = reply.View
		}
		if reply.Document == nil {
			reply.Document = struct{}{}
		}
		write(w, http.StatusOK, reply.Document, wantsJSON)
		return
	}
	w.Header().Set("Content-Type", typeBytes)
	w.Header().Set("Content-Length", strconv.Itoa(len(reply.Raw)))
	h.writeRaw(q.Context(), w, reply.Raw, pace)
}

// answer checks who asks and what, and lets the route answer.
func (h *handler) answer(q *http.Request, r Route) (Reply, *Budget, error) {
	peer, err := peerOf(q.TLS)
	if err != nil {
		return Reply{}, nil, Refuse(Unregistered, "%v", err)
	}
	seat, seated := h.options.Seats(peer)
	switch {
	case r.Access >= Seated && !seated:
		return Reply{}, nil, Refuse(Unregistered, "%s has no seat in this run", peer)
	case r.Access == Validators && seat.Role != Validator:
		return Reply{}, nil, Refuse(Forbidden, "only validators may ask for %s", q.URL.Path)
	}
	k, ok := h.callers.enter(peer)
	if !ok {
		return Reply{}, nil, Refuse(Busy, "more than %d requests at once", callerRequests)
	}
	defer h.callers.leave(k)
	if r.Query != "" {
		slot := h.callers.slot(k, r.Query)
		select {
		case slot <- struct{}{}:
			defer func() { <-slot }()
		case <-q.Context().Done():
			return Reply{}, nil, q.Context().Err()
		}
	}
	if err := k.budget.Take(q.Context(), requestCost); err != nil {
		return Reply{}, nil, err
	}
	c := Call{Peer: peer, Seat: seat, path: q.PathValue}
	c.Host, _, _ = net.SplitHostPort(q.RemoteAddr)
	if c.Wait, err = waitOf(q); err != nil {
		return Reply{}, nil, err
	}
	if c.body, err = bodyOf(q, r.Body); err != nil {
		return Reply{}, nil, err
	}
	reply, err := r.Serve(q.Context(), c)
	return reply, k.budget, err
}

// waitOf reads ?wait=SECONDS.
func waitOf(q *http.Request) (time.Duration, error) {
	s := q.URL.Query().Get("wait")
	if s == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil {
		return 0, Refuse(Malformed, "wait: %.20q is no number of seconds", s)
	}
	return min(time.Duration(n)*time.Second, MaxWait), nil
}

// bodyOf reads at most limit bytes.
func bodyOf(q *http.Request, limit int64) ([]byte, error) {
	if q.ContentLength > limit {
		return nil, Refuse(Malformed, "a body of %d bytes; at most %d are read", q.ContentLength, limit)
	}
	b, err := io.ReadAll(io.LimitReader(q.Body, limit+1))
	switch {
	case err != nil:
		return nil, Refuse(Malformed, "the body breaks off: %v", err)
	case int64(len(b)) > limit:
		return nil, Refuse(Malformed, "a body of more than %d bytes", limit)
	}
	return b, nil
}

// writeRaw sends bytes in pieces, within the caller's budget and the node's
// throttle. A piece that the caller does not take in time ends the answer.
func (h *handler) writeRaw(ctx context.Context, w http.ResponseWriter, b []byte, caller *Budget) {
	const piece = 64 << 10
	control := http.NewResponseController(w)
	for len(b) > 0 {
		n := min(piece, len(b))
		if caller.Take(ctx, n) != nil || h.options.Throttle.Take(ctx, n) != nil {
			return
		}
		_ = control.SetWriteDeadline(time.Now().Add(30 * time.Second)) // HTTP/2 always can
		if _, err := w.Write(b[:n]); err != nil {
			return
		}
		b = b[n:]
	}
}

// write sends a document. An error means that the caller has gone.
func write(w http.ResponseWriter, status int, doc any, asJSON bool) {
	kind, body := typeCBOR, []byte(nil)
	var err error
	if asJSON {
		kind = typeJSON
		body, err = json.MarshalIndent(doc, "", "  ")
		body = append(body, '\n')
	} else {
		body, err = signed.Marshal(doc)
	}
	if err != nil {
		panic("control: " + err.Error()) // plain structs always encode
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body)
}
