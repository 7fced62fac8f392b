package httpx

import (
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// SameOrigin says whether two addresses have scheme, host and port in common.
func SameOrigin(a, b *url.URL) bool {
	return strings.EqualFold(a.Scheme, b.Scheme) && strings.EqualFold(a.Hostname(), b.Hostname()) && port(a) == port(b)
}

func port(u *url.URL) string {
	if p := u.Port(); p != "" {
		return p
	}
	return map[string]string{"http": "80", "https": "443"}[strings.ToLower(u.Scheme)]
}

// WithToken adds the token to requests for the endpoint's own origin, and to no
// others. net/http would carry a header of the first request along a
// redirect to another port or to a subdomain; what is added here, below the
// redirects, is decided anew for every hop.
func WithToken(next http.RoundTripper, endpoint *url.URL, token string) http.RoundTripper {
	return &originToken{next, endpoint, token}
}

type originToken struct {
	next     http.RoundTripper
	endpoint *url.URL
	token    string
}

func (t *originToken) RoundTrip(r *http.Request) (*http.Response, error) {
	if t.token != "" && r.Header.Get("Authorization") == "" && SameOrigin(r.URL, t.endpoint) {
		r = r.Clone(r.Context())
		r.Header.Set("Authorization", "Bearer "+t.token)
	}
	return t.next.RoundTrip(r)
}

// NewTransport is net/http's with limits on the silence of a server: answer is
// for the first byte behind a request. Bodies are taken as they are: lengths and
// ranges count the bytes on the wire.
func NewTransport(answer time.Duration) *http.Transport {
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSHandshakeTimeout:   10 * time.Second,
		ResponseHeaderTimeout: answer,
		ForceAttemptHTTP2:     true,
		MaxIdleConnsPerHost:   16,
		IdleConnTimeout:       90 * time.Second,
		DisableCompression:    true,
	}
}
