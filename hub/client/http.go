package client

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"lockstep/hub"
	"lockstep/internal/fault"
	"lockstep/internal/httpx"
)

const (
	maxAnswer    = 64 << 20 // bytes of a JSON answer
	maxRedirects = 10
	longestWait  = 60 * time.Second // that a server can make a client wait in one go
	stallTime    = 60 * time.Second // without a byte of what is sent: the system's buffers have to drain first
	answerTime   = 3 * time.Minute  // for the first byte of an answer: a commit of a large repository takes time
	noticed      = 4 * time.Second  // the shortest pause that is worth a word
)

// Client talks to one endpoint. It is safe for concurrent use.
type Client struct {
	config   Config
	endpoint *url.URL
	http     *http.Client
	now      func() time.Time
	outage   atomic.Bool // has been told, and no request has succeeded since
	who      struct {
		sync.Mutex
		name string
	}
}

// New returns a client. It sends nothing yet.
func New(c Config) (*Client, error) {
	c.Endpoint = strings.TrimRight(cmp.Or(c.Endpoint, httpx.DefaultEndpoint), "/")
	u, err := httpx.ParseEndpoint(c.Endpoint)
	if err == nil {
		err = httpx.CheckToken(c.Token)
	}
	if err != nil {
		return nil, err
	}
	if c.Backoff.Attempts == 0 && c.Backoff.Sleep == nil {
		c.Backoff = hub.Backoff{Attempts: 6, First: time.Second, Longest: 8 * time.Second, Sleep: hub.Sleep}
	}
	if err := c.Backoff.Validate(); err != nil {
		return nil, err
	}
	if c.Transport == nil {
		c.Transport = httpx.NewTransport(answerTime)
	}
	c.Agent = cmp.Or(c.Agent, "lockstep") + "; go/" + strings.TrimPrefix(runtime.Version(), "go")
	k := &Client{config: c, endpoint: u, now: time.Now}
	g := guard{agent: c.Agent, bare: c.Transport, known: httpx.WithToken(c.Transport, u, c.Token)}
	k.http = &http.Client{Transport: g, CheckRedirect: k.checkRedirect}
	return k, nil
}

func (k *Client) notice(line string) {
	if k.config.Notice != nil {
		k.config.Notice(line)
	}
}

// Endpoint is the address of the Hub.
func (k *Client) Endpoint() string { return k.config.Endpoint }

// guard sets the headers of every request, also of redirected ones. Requests
// that are marked as bare go without the token even to the endpoint.
type guard struct {
	agent       string
	bare, known http.RoundTripper
}

type bareKey struct{}

// bare marks requests to addresses that carry their own signature.
func bare(ctx context.Context) context.Context { return context.WithValue(ctx, bareKey{}, true) }

func (g guard) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Del("Authorization") // of the request before, which may have gone elsewhere
	r.Header.Set("User-Agent", g.agent)
	r.Header.Set("Accept-Encoding", "identity")
	if r.Context().Value(bareKey{}) != nil {
		return g.bare.RoundTrip(r)
	}
	return g.known.RoundTrip(r)
}

type stayKey struct{}

// stay marks requests whose answer is wanted from the endpoint itself: a
// redirect to another host is then the answer.
func stay(ctx context.Context) context.Context { return context.WithValue(ctx, stayKey{}, true) }

func (k *Client) checkRedirect(r *http.Request, via []*http.Request) error {
	switch {
	case len(via) >= maxRedirects:
		return fault.Errorf(fault.Refused, "more than %d redirects from %s", maxRedirects, httpx.Bare(via[0].URL))
	case r.URL.Scheme != "http" && r.URL.Scheme != "https":
		return fault.Errorf(fault.Refused, "%s redirects to %s", httpx.Bare(via[0].URL), r.URL.Scheme)
	case r.Context().Value(stayKey{}) != nil && !httpx.SameOrigin(r.URL, k.endpoint):
		return http.ErrUseLastResponse
	}
	return nil
}

// request is one that may be repeated.
type request struct {
	method, path string // path below the endpoint, or a whole address
	body         []byte
	contentType  string
	headers      http.Header
	blind        bool // what a good answer says does not matter: some servers call an empty one a page
}

// send does a request once. Both bodies are watched: a connection on which nothing
// moves, for stallTime on the way out and httpx.Silence on the way in, is given
// up.
func (k *Client) send(ctx context.Context, method, address, contentType string, body func() (io.ReadCloser, error), size int64, headers http.Header) (*http.Response, error) {
	if strings.HasPrefix(address, "/") {
		address = k.config.Endpoint + address
	}
	if k.config.Offline {
		return nil, &httpx.Error{Method: method, URL: shown(address), Err: httpx.ErrOffline}
	}
	watched, watch := newWatch(ctx)
	r, err := http.NewRequestWithContext(watched, method, address, nil)
	if err != nil {
		watch.stop()
		return nil, fault.Errorf(fault.Refused, "%s %s: %w", method, shown(address), httpx.Cause(err))
	}
	if body != nil {
		r.GetBody = func() (io.ReadCloser, error) {
			b, err := body()
			if err != nil {
				return nil, err
			}
			return watch.sending(b), nil
		}
		if r.Body, err = r.GetBody(); err != nil {
			watch.stop()
			return nil, err
		}
		r.ContentLength = size
		if size == 0 {
			r.Body = http.NoBody
		}
		r.Header.Set("Content-Type", contentType)
	}
	for name, values := range headers {
		r.Header[name] = values
	}
	response, err := k.http.Do(r)
	if err != nil {
		err = watch.explain(httpx.Cause(err)) // whose address names the signature too
		watch.stop()
		return nil, networkError(ctx, method, address, err)
	}
	response.Body = watch.receiving(response.Body)
	return response, nil
}

// shown is an address, or a path below the endpoint, as it may be shown: without
// a query, which may hold a signature.
func shown(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		address, _, _ = strings.Cut(address, "?")
		return printable(address, 200)
	}
	return httpx.Bare(u)
}

// networkError is a request without an answer, or without the whole of one. Errors
// that have a kind (a content that cannot be read, a refused redirect) keep it.
func networkError(ctx context.Context, method, address string, err error) error {
	var known fault.Faulter
	if errors.As(err, &known) || errors.Is(err, context.Canceled) && ctx.Err() != nil {
		return fmt.Errorf("%s %s: %w", method, shown(address), err)
	}
	return &httpx.Error{Method: method, URL: shown(address), Err: err}
}

// repeat tries until it succeeds, as often as the backoff allows, for as long as
// failures may pass. A server's own wish to wait counts, up to longestWait. When
// ctx ends, its error is returned and not the last failure, which may look like a
// Hub that is away. The first long pause of an outage is told.
func (k *Client) repeat(ctx context.Context, try func() error) error {
	b := k.config.Backoff
	pause := b.First
	for attempt := 1; ; attempt++ {
		err := try()
		switch {
		case err == nil:
			k.outage.Store(false)
			return nil
		case !passing(err):
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		case attempt == b.Attempts:
			return err
		}
		d := pause + time.Duration(rand.Int64N(int64(pause/4)+1)) // so that a crowd does not come back at once
		if e := refusal(err); e != nil && e.Asked > 0 {
			if e.Asked > longestWait {
				return err // for the caller to plan with
			}
			d = e.Asked
		}
		if d >= noticed && k.outage.CompareAndSwap(false, true) {
			k.notice(fmt.Sprintf("%v; trying again, next in %v", err, d.Round(time.Second)))
		}
		if err := b.Sleep(ctx, d); err != nil {
			return err
		}
		pause = min(2*pause, b.Longest)
	}
}

// passing says whether a failure may be gone at the next try.
func passing(err error) bool {
	return fault.KindOf(err) == fault.Network && !httpx.Lasting(err) && !errors.Is(err, httpx.ErrOffline)
}

// call does a request, repeats it where that may help, and returns the body of
// a good answer.
func (k *Client) call(ctx context.Context, q request) (body []byte, header http.Header, err error) {
	err = k.repeat(ctx, func() error {
		body, header, err = k.once(ctx, q)
		if err == nil && (httpx.LooksHTML(nil, body) || !q.blind && httpx.LooksHTML(header, nil)) {
			err = fault.Errorf(fault.Network, "%s: %s", shown(q.path), pageInstead)
		}
		return err
	})
	return body, header, err
}

// once does a request without repetition.
func (k *Client) once(ctx context.Context, q request) ([]byte, http.Header, error) {
	var open func() (io.ReadCloser, error)
	if q.body != nil {
		open = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(q.body)), nil }
	}
	r, err := k.send(ctx, q.method, q.path, q.contentType, open, int64(len(q.body)), q.headers)
	if err != nil {
		return nil, nil, err
	}
	return k.finish(ctx, r)
}

// finish reads an answer.
func (k *Client) finish(ctx context.Context, r *http.Response) ([]byte, http.Header, error) {
	defer r.Body.Close()
	if r.StatusCode < 200 || r.StatusCode > 299 {
		return nil, nil, httpx.Refusal(r.Request.Method, r)
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, nil, networkError(ctx, r.Request.Method, r.Request.URL.String(), fmt.Errorf("the answer ended early: %w", err))
	case len(body) > maxAnswer:
		return nil, nil, fault.Errorf(fault.Refused, "%s %s: an answer of more than %d bytes", r.Request.Method, r.Request.URL.Path, maxAnswer)
	}
	return body, r.Header, nil
}

// getJSON reads a JSON answer.
func (k *Client) getJSON(ctx context.Context, path string, into any) (http.Header, error) {
	body, header, err := k.call(ctx, request{method: http.MethodGet, path: path})
	if err == nil {
		err = decode(path, body, into)
	}
	return header, err
}

// postJSON sends JSON and reads JSON; into may be nil.
func (k *Client) postJSON(ctx context.Context, path, contentType string, value, into any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return err
	}
	body, _, err := k.call(ctx, request{method: http.MethodPost, path: path, body: text, contentType: contentType, blind: into == nil})
	if err == nil && into != nil {
		err = decode(path, body, into)
	}
	return err
}

// decode reads an answer that should be JSON. What is not came from somewhere
// else on the way, such as the login page of a network, and may be gone later.
func decode(path string, body []byte, into any) error {
	err := json.Unmarshal(body, into)
	if err == nil {
		return nil
	}
	if httpx.LooksHTML(nil, body) {
		return fault.Errorf(fault.Network, "%s: %s", shown(path), pageInstead)
	}
	return fault.Errorf(fault.Network, "%s: the answer is not the JSON expected: %w", shown(path), err)
}

const pageInstead = "a web page instead of JSON: is a proxy or a login page in between?"
