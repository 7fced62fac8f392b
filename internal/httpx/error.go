package httpx

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"syscall"
	"time"

	"lockstep/internal/fault"
)

// Error is a request that got no useful answer. It names the request without
// its query, which may hold a signature, and says what to do.
type Error struct {
	Method, URL string
	Status      int           // 0: there was no answer
	Code        string        // X-Error-Code: RepoNotFound, EntryNotFound, ...
	Message     string        // what the server says
	RequestID   string        // for the people who run the server
	Tries       int           // how often it was tried
	Spent       time.Duration // over what time
	Asked       time.Duration // the wait that the server asked for, if too long
	Err         error         // without an answer: why
}

func (e *Error) Error() string {
	text := fmt.Sprintf("%s %s: ", e.Method, e.URL)
	switch {
	case errors.As(e.Err, new(*Garbled)):
		text = e.Err.Error() // it names the address
	case e.Status != 0:
		text += fmt.Sprintf("%d %s", e.Status, http.StatusText(e.Status))
	case isDial(e.Err):
		text += fmt.Sprintf("no connection: %v", e.Err)
	case isClosed(e.Err):
		text += fmt.Sprintf("the connection was closed before the answer was there: %v", e.Err)
	default:
		text += e.Err.Error()
	}
	if e.Message != "" {
		text += fmt.Sprintf(" (%s)", e.Message)
	}
	if e.Asked > 0 {
		text += fmt.Sprintf(", and asks for a wait of %v", e.Asked.Round(time.Second))
	}
	if e.Tries > 1 {
		text += fmt.Sprintf(", after %d tries in %v", e.Tries, e.Spent.Round(10*time.Millisecond))
	}
	if e.RequestID != "" {
		text += ", request " + e.RequestID
	}
	if advice := e.advice(); advice != "" {
		text += "; " + advice
	}
	return text
}

func (e *Error) Unwrap() error { return e.Err }

// RetryAfter is the wait that the server asked for, for callers with a plan of
// their own; 0 is none.
func (e *Error) RetryAfter() time.Duration { return e.Asked }

// Fault is Refused for an answer that would be the same again, Network for the
// lack of one.
func (e *Error) Fault() fault.Kind {
	if e.Status == 0 || Retriable(e.Status) {
		return fault.Network
	}
	return fault.Refused
}

// advice is what a person can do about it.
func (e *Error) advice() string {
	switch {
	case e.Status == http.StatusUnauthorized:
		return "set HF_TOKEN to a token that may do this, and check the name: what is private looks missing"
	case e.Status == http.StatusForbidden:
		return "the token in HF_TOKEN may not do this, or terms on the repository's page are not accepted yet"
	case e.Status == http.StatusNotFound:
		return "check the names of repository, revision and path"
	case e.Status == http.StatusTooManyRequests:
		return "the quota is used up: wait, use a token (HF_TOKEN), or ask less often"
	case e.Status >= 500:
		return "the server is in trouble: try again later"
	case isClosed(e.Err):
		return "the server or a proxy before it is in trouble: try again later, and check HF_ENDPOINT"
	case errors.Is(e.Err, errSilence):
		return "the network or the server is in trouble: try again later"
	case isDial(e.Err):
		return "check the network and HF_ENDPOINT, or set HF_HUB_OFFLINE=1 to use what is in the cache"
	}
	return ""
}

// isDial says whether a connection never came about.
func isDial(err error) bool {
	var op *net.OpError
	var dns *net.DNSError
	return errors.As(err, &op) && op.Op == "dial" || errors.As(err, &dns)
}

// isClosed says whether a connection came about and ended too early.
func isClosed(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET)
}

// Lasting says whether a failed exchange would fail again: the certificate is
// wrong.
func Lasting(err error) bool {
	var certificate *tls.CertificateVerificationError
	return errors.As(err, &certificate)
}

// Garbled is an answer that is not what belongs there: a web page instead of
// bytes, JSON that is cut short, a range that nobody asked for. From a host that
// is believed it is tried again like an outage; from any other it ends the
// request, for an address may be wrong, or somebody has to log in. Err has a
// fault's kind and names the address.
type Garbled struct{ Err error }

func (e *Garbled) Error() string { return e.Err.Error() }
func (e *Garbled) Unwrap() error { return e.Err }

// ErrOffline is a request that HF_HUB_OFFLINE forbids.
var ErrOffline = errors.New("HF_HUB_OFFLINE is set, and this is not in the cache")

// Bare is an address without query, fragment and password.
func Bare(u *url.URL) string {
	b := url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path, RawPath: u.RawPath}
	return b.String()
}
