package httpx

import (
	"context"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Silence is how long a body may stand still.
const Silence = 30 * time.Second

// Policy says how long a request is worth trying. The zero value of a field
// stands for the default beside it.
type Policy struct {
	First     time.Duration // wait before the second try, doubled each time (1 s)
	Longest   time.Duration // wait between tries at the most (8 s)
	Strangers int           // tries for a host that never answered yet (4)
	Patience  time.Duration // how long a host that did answer is tried (3 min)
	Quota     time.Duration // longest waits in all that a server may ask for (10 min)
	Silence   time.Duration // a body that stands still for so long is cut off (30 s)
}

func (p Policy) filled() Policy {
	set := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	set(&p.First, time.Second)
	set(&p.Longest, 8*time.Second)
	set(&p.Patience, 3*time.Minute)
	set(&p.Quota, 10*time.Minute)
	set(&p.Silence, Silence)
	if p.Strangers == 0 {
		p.Strangers = 4
	}
	return p
}

// backoff is the wait behind a try, the first being 0, with up to a quarter
// more so that many clients do not come back at once.
func (p Policy) backoff(try int) time.Duration {
	d := p.Longest
	if try < 30 && p.First<<try < p.Longest && p.First<<try > 0 {
		d = p.First << try
	}
	return d + rand.N(d/4+1)
}

// Tries bounds work of many requests that each succeed and together may get
// nowhere. It is not safe for concurrent use.
type Tries struct {
	client *Client
	since  time.Time // of the last progress
	idle   int       // failures since then
}

// free is how many failures in a row are not waited for.
const free = 3

// Tries begins to count.
func (c *Client) Tries() *Tries { return &Tries{client: c, since: time.Now()} }

// Progress forgets all failures so far.
func (t *Tries) Progress() { t.since, t.idle = time.Now(), 0 }

// Failed waits before the next try, but not for the first few. When the
// patience is over since the last progress, it returns an *Error for the
// request to address, else nil or ctx's error.
func (t *Tries) Failed(ctx context.Context, address string, err error) error {
	t.idle++
	if t.idle <= free {
		return ctx.Err()
	}
	failed := &Error{Method: http.MethodGet, URL: address, Tries: t.idle, Spent: time.Since(t.since), Err: err}
	wait := t.client.policy.backoff(t.idle - free - 1)
	if failed.Spent+wait > t.client.policy.Patience {
		return failed
	}
	if wait >= noticed {
		t.client.notice(failed, wait)
	}
	return t.client.sleep(ctx, wait)
}

// Retriable lists the statuses that a later try may change.
func Retriable(status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError,
		http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// Asked returns how long a server asks its client to wait: on a 429 the time
// until an exhausted quota of the RateLimit header is reset, else Retry-After
// in seconds or as a date. A second is added, as the server counts whole ones.
//
//	RateLimit: "resolvers";r=0;t=137
func Asked(status int, h http.Header, now time.Time) (time.Duration, bool) {
	if status == http.StatusTooManyRequests {
		for _, field := range h.Values("RateLimit") {
			for _, quota := range strings.Split(field, ",") {
				if t, ok := exhausted(quota); ok {
					return t + time.Second, true
				}
			}
		}
	}
	after := strings.TrimSpace(h.Get("Retry-After"))
	if s, err := strconv.ParseUint(after, 10, 31); err == nil {
		return time.Duration(s)*time.Second + time.Second, true
	}
	if date, err := http.ParseTime(after); err == nil {
		return max(date.Sub(now), 0) + time.Second, true
	}
	return 0, false
}

// exhausted reads one quota of a RateLimit header; ok if nothing is left of it.
func exhausted(quota string) (reset time.Duration, ok bool) {
	none := false
	for _, p := range strings.Split(quota, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(p), "=")
		n, err := strconv.ParseUint(value, 10, 31)
		switch {
		case err != nil:
		case name == "r":
			none = n == 0
		case name == "t":
			reset, ok = time.Duration(n)*time.Second, true
		}
	}
	return reset, ok && none
}
