package server

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"lockstep/internal/fault"
)

// Options are the settings of a Server. The zero value serves public
// repositories to everyone and takes writes from the tokens of the folder.
type Options struct {
	// TokensToRead refuses every request without a known token.
	TokensToRead bool
	// MaxObject caps one file, in bytes; 0 is 64 GiB.
	MaxObject int64
	// PartSize is the length of the parts in which files of more than
	// MultipartFrom bytes are uploaded; 0 is 256 MiB from 1 GiB on.
	PartSize, MultipartFrom int64
	// MaxInline is the largest file that a client which may insist on Xet is
	// asked to send inside the commit; 0 is 768 MiB, enough for GPT-2 and what
	// such a client can hold in memory; -1 asks every client for Git LFS.
	MaxInline int64
	// Grace is how long a shutdown waits for requests in hand; 0 is 30 s.
	Grace time.Duration
	// Log receives one record for each request; nil is silence.
	Log *slog.Logger
	// Rows opens the text of datasets for the rows API; nil refuses it.
	Rows OpenRows
}

const (
	defaultMaxObject     = 64 << 30
	defaultPartSize      = 256 << 20
	defaultMultipartFrom = 1 << 30
	defaultMaxInline     = 768 << 20
	defaultGrace         = 30 * time.Second

	maxHeaderBytes = 64 << 10
	maxInFlight    = 256              // requests at once; more are asked to wait
	maxStrangers   = 192              // of these without token or upload address: others always get through
	minRate        = 16 << 10         // bytes a second below which a body is given up
	bodyGrace      = 30 * time.Second // on top of what minRate allows
)

// Server serves one folder. It is an http.Handler; Serve adds the timeouts that
// an open port needs.
type Server struct {
	options Options
	root    string
	tokens  *tokens
	signer  signer
	repos   *repos
	slots   chan struct{} // one for each request in hand
	strange chan struct{} // and one for each of a stranger
	opened  *opened
}

// New opens or makes the folder.
func New(root string, options Options) (*Server, error) {
	if options.MaxObject == 0 {
		options.MaxObject = defaultMaxObject
	}
	if options.PartSize == 0 {
		options.PartSize = defaultPartSize
	}
	if options.MultipartFrom == 0 {
		options.MultipartFrom = defaultMultipartFrom
	}
	if options.MaxInline == 0 {
		options.MaxInline = defaultMaxInline
	}
	if options.Grace == 0 {
		options.Grace = defaultGrace
	}
	root, err := filepath.Abs(root) // as errors have it, which lose it before they are answers
	if err != nil {
		return nil, err
	}
	if options.PartSize < 1 || options.MaxObject < 1 || options.MultipartFrom < 1 {
		return nil, fault.Errorf(fault.Config, "hub server: sizes must be positive")
	}
	for _, dir := range append(slices.Clone(kinds), privateDir, uploadsDir, viewsDir) {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			return nil, err
		}
	}
	clearSpools(filepath.Join(root, uploadsDir))
	if err := clearUploads(root, time.Now()); err != nil {
		return nil, err
	}
	tokens, err := loadTokens(filepath.Join(root, tokensFile))
	if err != nil {
		return nil, err
	}
	secret, err := loadSecret(filepath.Join(root, secretFile))
	if err != nil {
		return nil, err
	}
	return &Server{
		options: options, root: root, tokens: tokens, signer: signer{secret},
		repos: newRepos(root), slots: make(chan struct{}, maxInFlight), strange: make(chan struct{}, maxStrangers),
		opened: newOpened(),
	}, nil
}

// TokensFile is where the tokens of the folder are.
func (s *Server) TokensFile() string { return filepath.Join(s.root, tokensFile) }

// WriteToken returns a token that may write, for the person who runs the server.
func (s *Server) WriteToken() string { return s.tokens.writer() }

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	started := time.Now()
	a := &answer{ResponseWriter: w}
	a.Header().Set("X-Request-Id", requestID())
	a.Header().Set("X-Content-Type-Options", "nosniff")
	if r.ContentLength != 0 { // a deadline for reading nothing would cut long answers
		a.body = newSteadyBody(w, r.Body)
		r = r.WithContext(r.Context()) // net/http keeps its own
		r.Body = a.body
	}
	if release, ok := s.admit(r); ok {
		defer release()
		_ = http.NewResponseController(w).SetWriteDeadline(time.Time{}) // recorders have no deadlines
		s.route(a, r)
	} else {
		a.Header().Set("Retry-After", "5")
		fail(a, r, http.StatusServiceUnavailable, "", "this server has too many requests in hand; try again")
	}
	if s.options.Log != nil {
		s.options.Log.Info("request", "method", r.Method, "path", r.URL.EscapedPath(), "status", a.status,
			"bytes", a.bytes, "ms", time.Since(started).Milliseconds(), "client", r.RemoteAddr, "agent", r.UserAgent())
	}
}

// admit takes a request in hand, unless there are too many.
func (s *Server) admit(r *http.Request) (release func(), ok bool) {
	taken := []chan struct{}{s.slots}
	if _, known, _ := s.tokens.identify(r); !known && !s.uploads(r) {
		taken = append(taken, s.strange)
	}
	for i, slots := range taken {
		select {
		case slots <- struct{}{}:
		default:
			give(taken[:i])
			return nil, false
		}
	}
	return func() { give(taken) }, true
}

func give(taken []chan struct{}) {
	for _, slots := range taken {
		<-slots
	}
}

// Serve answers on a listener until ctx ends; then it takes no new requests,
// lets those in hand finish for Options.Grace, and returns.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	h := &http.Server{
		Handler: s, MaxHeaderBytes: maxHeaderBytes,
		ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 90 * time.Second,
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
	}
	ended := make(chan error, 1)
	go func() { ended <- h.Serve(l) }()
	sweeping, stop := context.WithCancel(ctx)
	var sweeper sync.WaitGroup
	sweeper.Go(func() { s.sweepHourly(sweeping) })
	defer sweeper.Wait()
	defer stop()
	select {
	case err := <-ended:
		return fault.Wrap(fault.Environment, err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.options.Grace)
	defer cancel()
	defer s.opened.dropAll()
	err := h.Shutdown(grace)
	if errors.Is(err, context.DeadlineExceeded) {
		err = h.Close() // a cut upload was not acknowledged
	}
	<-ended
	return err
}

// answer remembers what was sent.
type answer struct {
	http.ResponseWriter
	body   *steadyBody // of the request; nil if it has none
	status int
	bytes  int64
}

// WriteHeader ends the connection with this answer if the request's body was not
// read whole: net/http would otherwise wait for the rest before it answers.
func (a *answer) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
		if a.body != nil && !a.body.ended {
			a.Header().Set("Connection", "close")
		}
	}
	a.ResponseWriter.WriteHeader(status)
}

func (a *answer) Write(b []byte) (int, error) {
	if a.status == 0 {
		a.WriteHeader(http.StatusOK)
	}
	n, err := a.ResponseWriter.Write(b)
	a.bytes += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController find the connection.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// requestID names a request in errors and logs.
func requestID() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}
