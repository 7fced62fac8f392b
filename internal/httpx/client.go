package httpx

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"lockstep/internal/fault"
)

// Options describe a Client.
type Options struct {
	Endpoint string // the origin that gets the token; "" is DefaultEndpoint
	Token    string
	Offline  bool
	Agent    string // User-Agent, such as "lockstep/1 go/1.26"
	Policy   Policy

	// Notice, if set, is told of a failed try that is repeated after a wait of
	// some seconds: somebody may wonder why nothing happens.
	Notice func(err error, wait time.Duration)

	// Transport replaces net/http's, for tests; nil is a transport of its own.
	Transport http.RoundTripper
}

// Client sends requests, again and again where that may help. It is safe for
// concurrent use. Use New.
type Client struct {
	Endpoint *url.URL

	policy  Policy
	offline bool
	agent   string
	direct  *http.Client // hands redirects back
	follow  *http.Client
	notice  func(error, time.Duration)
	known   sync.Map // hosts that have answered: string -> struct{}
	sound   sync.Map // hosts whose answer was of use: string -> struct{}
	trusted atomic.Bool
	idle    func()
	sleep   func(context.Context, time.Duration) error
}

// New returns a client. A bad endpoint or token is a fault.Config error.
func New(o Options) (*Client, error) {
	endpoint, err := ParseEndpoint(strings.TrimRight(cmp.Or(o.Endpoint, DefaultEndpoint), "/"))
	if err == nil {
		err = CheckToken(o.Token)
	}
	if err != nil {
		return nil, err
	}
	c := &Client{Endpoint: endpoint, policy: o.Policy.filled(), offline: o.Offline, agent: o.Agent, idle: func() {}, sleep: sleep}
	c.notice = o.Notice
	if c.notice == nil {
		c.notice = func(error, time.Duration) {}
	}
	next := o.Transport
	if next == nil {
		own := NewTransport(time.Minute)
		next, c.idle = own, own.CloseIdleConnections
	}
	rules := WithToken(next, endpoint, o.Token)
	c.follow = &http.Client{Transport: rules}
	c.direct = &http.Client{Transport: rules, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return c, nil
}

// Close gives idle connections back.
func (c *Client) Close() { c.idle() }

// Trust takes every host for one that has answered before: the caller knows from
// elsewhere that the address is right, and would rather wait than stop.
func (c *Client) Trust() { c.trusted.Store(true) }

// Believed says whether a host is taken at its word: it has given an answer of
// use before, or is trusted. Nonsense from it is a fault of the moment.
func (c *Client) Believed(host string) bool {
	_, sound := c.sound.Load(host)
	return sound || c.trusted.Load()
}

// Request is one request, which may have to be sent more than once.
type Request struct {
	Method string // "" is GET
	URL    string // absolute
	Header http.Header

	Body   func() (io.Reader, error) // makes the body for each try; nil: none
	Length int64                     // of the body; -1 if it is not known

	Stay   bool  // hand a redirect to take instead of following it
	Once   bool  // one try only: a second could do it twice
	Accept []int // statuses for take besides 2xx (and 3xx with Stay)
}

func (r Request) method() string { return cmp.Or(r.Method, http.MethodGet) }

// Do sends the request until an answer is there that no retry would change, and
// gives it to take, which reads the body and does not close it. An error of take
// without a fault's kind, as the end of a body before its time, is retried too;
// so is a *Garbled, if the host is believed. The error is of ctx, of take, or an
// *Error.
func (c *Client) Do(ctx context.Context, r Request, take func(*http.Response) error) error {
	target, err := url.Parse(r.URL)
	if err != nil {
		return fault.Wrap(fault.Config, err)
	}
	if c.offline {
		return &Error{Method: r.method(), URL: Bare(target), Err: ErrOffline}
	}
	start, quota := time.Now(), c.policy.Quota
	for try := 0; ; try++ {
		err := c.once(ctx, r, take)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var typed fault.Faulter
		failed, answered := err.(*Error)
		switch {
		case answered:
		case errors.As(err, new(*Garbled)) && c.Believed(target.Host):
			failed = &Error{Method: r.method(), URL: Bare(target), Err: err}
		case errors.As(err, &typed):
			return err
		default:
			failed = &Error{Method: r.method(), URL: Bare(target), Err: Cause(err)}
		}
		failed.Tries, failed.Spent = try+1, time.Since(start)
		wait, ok := c.wait(r, failed, target.Host, try, &quota)
		if !ok || Lasting(err) {
			return failed
		}
		if wait >= noticed {
			c.notice(failed, wait)
		}
		if err := c.sleep(ctx, wait); err != nil {
			return err
		}
	}
}

// noticed is the shortest wait that is worth a notice.
const noticed = 4 * time.Second

// wait decides whether to try again, and when. A wait that the server asks for
// counts against the quota of waits, any other against the patience.
func (c *Client) wait(r Request, failed *Error, host string, try int, quota *time.Duration) (time.Duration, bool) {
	if r.Once || failed.Status != 0 && !Retriable(failed.Status) {
		return 0, false
	}
	if asked := failed.Asked; asked > 0 {
		if asked > *quota {
			return 0, false
		}
		*quota -= asked
		failed.Asked = 0
		return asked, true
	}
	if _, known := c.known.Load(host); !known && !c.trusted.Load() && try+1 >= c.policy.Strangers {
		return 0, false
	}
	wait := c.policy.backoff(try)
	return wait, failed.Spent+wait <= c.policy.Patience
}

// once is one try.
func (c *Client) once(ctx context.Context, r Request, take func(*http.Response) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	request, err := c.build(ctx, r)
	if err != nil {
		return err
	}
	client := c.follow
	if r.Stay {
		client = c.direct
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	c.known.Store(request.URL.Host, struct{}{})
	watch := &watched{body: response.Body, cancel: cancel, silence: c.policy.Silence}
	defer watch.stop()
	response.Body = watch
	redirect := r.Stay && response.StatusCode/100 == 3
	if response.StatusCode/100 == 2 || redirect || slices.Contains(r.Accept, response.StatusCode) {
		err := take(response)
		if cause := context.Cause(ctx); err != nil && errors.Is(cause, errSilence) {
			return cause
		}
		if err == nil && !redirect { // a network with a login redirects too
			c.sound.Store(request.URL.Host, struct{}{})
		}
		return err
	}
	return Refusal(r.method(), response)
}

func (c *Client) build(ctx context.Context, r Request) (*http.Request, error) {
	var body io.Reader
	if r.Body != nil {
		var err error
		if body, err = r.Body(); err != nil {
			return nil, fault.Wrap(fault.KindOf(err), err) // typed: not the network's fault
		}
	}
	request, err := http.NewRequestWithContext(ctx, r.method(), r.URL, body)
	if err != nil {
		return nil, fault.Wrap(fault.Config, err)
	}
	if body != nil {
		request.ContentLength = r.Length
	}
	for name, values := range r.Header {
		request.Header[name] = slices.Clone(values)
	}
	if c.agent != "" {
		request.Header.Set("User-Agent", c.agent)
	}
	return request, nil
}

// sleep waits for d, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
