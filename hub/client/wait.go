package client

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// longestWait bounds what a server can make a client wait in one go.
const longestWait = 60 * time.Second

// wait reads what an answer asks to wait: the RateLimit header of an exhausted
// quota on a 429, else Retry-After in seconds or as a date. RateLimit is on good
// answers too, where it asks for nothing.
func wait(h http.Header, status int, now time.Time) time.Duration {
	if status == http.StatusTooManyRequests {
		if d, ok := quotaWait(h.Get("RateLimit")); ok {
			return d
		}
	}
	text := strings.TrimSpace(h.Get("Retry-After"))
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil && at.After(now) {
		return at.Sub(now)
	}
	return 0
}

// quotaWait reads `"api";r=0;t=55`: nothing remains, and 55 seconds are left of
// the window.
func quotaWait(header string) (time.Duration, bool) {
	remaining, seconds := int64(-1), int64(-1)
	for field := range strings.SplitSeq(header, ";") {
		key, value, _ := strings.Cut(strings.TrimSpace(field), "=")
		n, err := strconv.ParseInt(value, 10, 32)
		if err != nil || n < 0 {
			continue
		}
		switch key {
		case "r":
			remaining = n
		case "t":
			seconds = n
		}
	}
	if remaining != 0 || seconds < 0 {
		return 0, false
	}
	return time.Duration(seconds+1) * time.Second, true
}
