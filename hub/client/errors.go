package client

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"lockstep/hub"
	"lockstep/internal/fault"
	"lockstep/internal/httpx"
)

// StatusError is an answer that is no success.
type StatusError struct {
	Method, Path string
	Status       int
	Code         string        // X-Error-Code, such as RepoNotFound
	Message      string        // the server's words
	Request      string        // its number of the request, for its keepers
	Wait         time.Duration // what it asked to wait, 0 if nothing
}

func (e *StatusError) Error() string {
	s := fmt.Sprintf("%s %s: %d %s", e.Method, e.Path, e.Status, http.StatusText(e.Status))
	if e.Message != "" {
		s += ": " + e.Message
	}
	switch {
	case e.Status == http.StatusUnauthorized:
		s += "; is HF_TOKEN set, and may it see this?"
	case e.Status == http.StatusTooManyRequests && e.Wait > 0:
		s += fmt.Sprintf("; the quota is renewed in %v", e.Wait)
	}
	if e.Request != "" {
		s += " (request " + e.Request + ")"
	}
	return s
}

// Fault tells what may pass from what will not.
func (e *StatusError) Fault() fault.Kind {
	if httpx.Retriable(e.Status) {
		return fault.Network
	}
	return fault.Refused
}

// RetryAfter is what the server asked to wait.
func (e *StatusError) RetryAfter() time.Duration { return e.Wait }

const maxErrorText = 500

// statusError reads the error of an answer: code and message are in headers, in
// JSON, or nowhere.
func statusError(r *http.Response, body []byte, now time.Time) error {
	asked, _ := httpx.Asked(r.StatusCode, r.Header, now)
	e := &StatusError{
		Method: r.Request.Method, Path: r.Request.URL.Path, Status: r.StatusCode, Code: r.Header.Get("X-Error-Code"),
		Message: r.Header.Get("X-Error-Message"), Wait: asked,
	}
	for _, name := range []string{"X-Request-Id", "X-Amzn-Trace-Id", "X-Amz-Cf-Id"} {
		if e.Request == "" {
			e.Request = printable(r.Header.Get(name), 80)
		}
	}
	if e.Message == "" {
		e.Message = bodyMessage(body)
	}
	e.Message = printable(e.Message, maxErrorText)
	return e
}

// bodyMessage finds the message of an error's JSON, in any of the shapes known.
func bodyMessage(body []byte) string {
	var q struct {
		Error       any
		Description string `json:"error_description"`
		Message     string
		Errors      []struct{ Message string }
	}
	if json.Unmarshal(body, &q) != nil {
		if httpx.LooksHTML(nil, body) {
			return "a web page instead of an answer"
		}
		return string(body[:min(len(body), maxErrorText)])
	}
	switch e := q.Error.(type) {
	case string:
		return e
	case []any:
		parts := make([]string, 0, len(e))
		for _, p := range e {
			parts = append(parts, fmt.Sprint(p))
		}
		return strings.Join(parts, "; ")
	}
	for _, e := range q.Errors {
		if e.Message != "" {
			return e.Message
		}
	}
	return firstOf(q.Description, q.Message)
}

// printable keeps what a terminal can show, up to a length.
func printable(s string, limit int) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	return s[:min(len(s), limit)]
}

// noRepository is what is missing where a Hub does not tell "not there" from "not
// for you".
const noRepository = "repository (or no right to see it)"

// notFound turns the codes of absence into hub.NotFoundError.
func notFound(err error, repo, revision, file string) error {
	e, ok := err.(*StatusError)
	if !ok {
		return err
	}
	switch {
	case e.Code == "RepoNotFound":
		return &hub.NotFoundError{What: noRepository, Name: repo, Where: "Hub"}
	case e.Code == "RevisionNotFound":
		return &hub.NotFoundError{What: "revision", Name: revision, Where: repo}
	case e.Code == "EntryNotFound", e.Status == http.StatusNotFound && file != "":
		return &hub.NotFoundError{What: "file", Name: file, Where: repo + ", revision " + revision}
	}
	return err
}
