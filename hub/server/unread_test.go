package server

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// announce sends a request whose body never comes, and returns its answer.
func (s *site) announce(method, path, more string) *http.Response {
	s.t.Helper()
	conn, err := net.Dial("tcp", s.http.Listener.Addr().String())
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { conn.Close() })
	if err := conn.SetReadDeadline(time.Now().Add(bodyGrace * 2 / 3)); err != nil {
		s.t.Fatal(err)
	}
	fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: x\r\n%s\r\n", method, path, more)
	r, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		s.t.Fatalf("%s %s: no answer before the body: %v", method, path, err)
	}
	return r
}

// TestAnswersDoNotWaitForUnreadBodies announces bodies that nobody is going to
// read: the answers come without them, and nothing is held.
func TestAnswersDoNotWaitForUnreadBodies(t *testing.T) {
	s, _ := newModel(t, Options{})
	for _, c := range []struct {
		method, path, length string
		status               int
	}{
		{"GET", "/a/m/resolve/main/model.safetensors", "Content-Length: 1000", 200},
		{"GET", "/a/m/resolve/main/model.safetensors", "Transfer-Encoding: chunked", 200},
		{"GET", "/a/m/resolve/main/model.safetensors", "Content-Length: 1000\r\nExpect: 100-continue", 200},
		{"GET", "/api/models/a/none", "Content-Length: 1000", 401},
		{"POST", "/api/models/a/m/commit/main", "Content-Length: 1000", 401},
		{"PUT", "/lfs/put/models/a/m/0/1", "Content-Length: 1000", 403},
		{"GET", "/nowhere", "Content-Length: 1000", 404},
		{"POST", "/api/models/a/m/paths-info/main", "Content-Length: 10000000", 413},
	} {
		r := s.announce(c.method, c.path, c.length+"\r\n")
		if r.StatusCode != c.status || !r.Close {
			t.Errorf("%s %s with %s: %s, the connection ends: %v", c.method, c.path, c.length, r.Status, r.Close)
		}
	}
	for deadline := time.Now().Add(bodyGrace / 2); len(s.s.slots) > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d requests are still in hand", len(s.s.slots))
		}
	}
	if r := s.must(200, "POST", "/api/models/a/m/paths-info/main", `{"paths":[]}`); r.Close {
		t.Error("the connection of a request that was read whole ends")
	}
}

func TestDeadlinesOfBodies(t *testing.T) {
	s, _ := newModel(t, Options{})
	deadline := func(method, path, body string) time.Time {
		conn := &deadlines{ResponseRecorder: httptest.NewRecorder()}
		s.s.ServeHTTP(conn, httptest.NewRequest(method, path, strings.NewReader(body)))
		return conn.read
	}
	if d := deadline("GET", "/api/models/a/m", "unread"); d.Before(time.Now()) {
		t.Errorf("a body that nobody reads may come until %v", d)
	}
	for body, path := range map[string]string{`{"paths":[]}`: "/api/models/a/m/paths-info/main", "": "/api/models/a/m/paths-info/main"} {
		if d := deadline("POST", path, body); !d.IsZero() {
			t.Errorf("behind the body %q there is the deadline %v, which would cancel a long request", body, d)
		}
	}
}
