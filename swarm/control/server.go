package control

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
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
	Burst   int    // requests that a caller may make at once, and then one a second; 0: as many as it likes
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
	h := &handler{options: o, callers: newCallers()}
	conns := &connections{seats: o.Seats, open: map[net.Conn]*connection{}}
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
		ConnState:         conns.follow,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: callerRequests, SendPingTimeout: 15 * time.Second},
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
	callers *callers

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

// serve answers one request. What the caller has of this node's budgets, it has
// until it took the answer.
func (h *handler) serve(w http.ResponseWriter, q *http.Request, r Route) {
	if !h.begin() {
		return
	}
	defer h.active.Done()
	c, k, err := h.enter(q)
	if err != nil {
		h.send(q.Context(), w, refusalOf(err).answer(false), nil)
		return
	}
	defer h.callers.leave(k)
	asJSON := strings.Contains(q.Header.Get("Accept"), typeJSON)
	var a answer
	if reply, err := h.answer(w, q, r, c, k); err != nil {
		a = refusalOf(err).answer(asJSON)
	} else {
		a = reply.answer(asJSON)
	}
	size := len(a.body)
	if !h.callers.hold(k, size) {
		a, size = Refuse(Busy, "more than %d bytes of answers wait to be taken", callerBytes).answer(asJSON), 0
	}
	defer h.callers.release(k, size)
	h.send(q.Context(), w, a, k.budget)
}

// enter finds out who calls, and takes a place among the requests in flight.
func (h *handler) enter(q *http.Request) (Call, *caller, error) {
	peer, err := peerOf(q.TLS)
	if err != nil {
		return Call{}, nil, Refuse(Unregistered, "%v", err)
	}
	c := Call{Peer: peer, path: q.PathValue}
	c.Host, _, _ = net.SplitHostPort(q.RemoteAddr)
	var seated bool
	c.Seat, seated = h.options.Seats(peer)
	k, ok := h.callers.enter(peer, seated)
	if !ok {
		return Call{}, nil, Refuse(Busy, "too many requests at once")
	}
	return c, k, nil
}

// answer checks what the caller asks for, and lets the route answer.
func (h *handler) answer(w http.ResponseWriter, q *http.Request, r Route, c Call, k *caller) (Reply, error) {
	switch seated := k.class == &h.callers.seated; {
	case r.Access >= Seated && !seated:
		return Reply{}, Refuse(Unregistered, "%s has no seat in this run", c.Peer)
	case r.Access == Validators && c.Seat.Role != Validator:
		return Reply{}, Refuse(Forbidden, "only validators may ask for %s", q.URL.Path)
	case r.Burst > 0 && !h.callers.inPace(k, r.Pattern, r.Burst):
		return Reply{}, Refuse(Later, "more than %d requests at once, and then one a second", r.Burst)
	}
	if r.Query != "" {
		slot := h.callers.slot(k, r.Query)
		select {
		case slot <- struct{}{}:
			defer func() { <-slot }()
		case <-q.Context().Done():
			return Reply{}, q.Context().Err()
		}
	}
	if err := k.budget.Take(q.Context(), requestCost); err != nil {
		return Reply{}, err
	}
	var err error
	if c.Wait, err = waitOf(q); err != nil {
		return Reply{}, err
	}
	if c.body, err = bodyOf(w, q, r.Body); err != nil {
		return Reply{}, err
	}
	return r.Serve(q.Context(), c)
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
func bodyOf(w http.ResponseWriter, q *http.Request, limit int64) ([]byte, error) {
	if q.ContentLength > limit {
		return nil, Refuse(Malformed, "a body of %d bytes; at most %d are read", q.ContentLength, limit)
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(transferTime(int(limit)))) // HTTP/2 always can
	b, err := io.ReadAll(io.LimitReader(q.Body, limit+1))
	switch {
	case err != nil:
		return nil, Refuse(Malformed, "the body breaks off: %v", err)
	case int64(len(b)) > limit:
		return nil, Refuse(Malformed, "a body of more than %d bytes", limit)
	}
	return b, nil
}
