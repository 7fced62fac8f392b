package httpx

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode"
)

// maxSaid is how much of a refusal's body is read for what it says.
const maxSaid = 4096

// Refusal turns an answer into an Error, with what the server says about it: in
// headers, in JSON, or nowhere. It does not close the body.
func Refusal(method string, r *http.Response) *Error {
	e := &Error{
		Method: method, URL: Bare(r.Request.URL), Status: r.StatusCode,
		Code: clip(r.Header.Get("X-Error-Code")), Message: clip(r.Header.Get("X-Error-Message")),
		RequestID: clip(cmp.Or(r.Header.Get("X-Request-Id"), r.Header.Get("X-Amzn-Trace-Id"), r.Header.Get("X-Amz-Cf-Id"))),
	}
	if Retriable(r.StatusCode) {
		e.Asked, _ = Asked(r.StatusCode, r.Header, time.Now())
	}
	if e.Message != "" || method == http.MethodHead {
		return e
	}
	body, _ := io.ReadAll(io.LimitReader(r.Body, maxSaid)) // the status matters more
	if e.Message = clip(said(body)); e.Message == "" && LooksHTML(r.Header, body) {
		e.Message = "with a web page"
	}
	return e
}

// said finds the message of a refusal's JSON, in any of the shapes in use:
//
//	{"error": "..."}  {"error": ["...", "..."]}  {"errors": [{"message": "..."}]}
//	{"error_description": "..."}  {"message": "..."}
func said(body []byte) string {
	var q struct {
		Error       any
		Errors      []struct{ Message string }
		Description string `json:"error_description"`
		Message     string
	}
	if json.Unmarshal(body, &q) != nil {
		return ""
	}
	switch e := q.Error.(type) {
	case nil:
	case []any:
		parts := make([]string, len(e))
		for i, p := range e {
			parts[i] = fmt.Sprint(p)
		}
		return strings.Join(parts, "; ")
	default:
		return fmt.Sprint(e)
	}
	for _, e := range q.Errors {
		if e.Message != "" {
			return e.Message
		}
	}
	return cmp.Or(q.Description, q.Message)
}

// clip keeps a foreign message to one short line without control characters.
func clip(s string) string {
	s = strings.Join(strings.FieldsFunc(strings.ToValidUTF8(s, "?"), unicode.IsControl), " ")
	if runes := []rune(s); len(runes) > 200 {
		s = string(runes[:200]) + "..."
	}
	return s
}

// LooksHTML says whether a web page came, as from a network that wants a login
// first. header may be nil.
func LooksHTML(h http.Header, body []byte) bool {
	return strings.HasPrefix(strings.ToLower(h.Get("Content-Type")), "text/html") || bytes.HasPrefix(bytes.TrimSpace(body), []byte("<"))
}

// Cause drops the address from net/http's errors: its query may hold a signature.
func Cause(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}
