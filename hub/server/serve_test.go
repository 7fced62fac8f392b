package server

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// TestShutdownFinishesWhatIsInHand ends a server in the middle of an upload: the
// upload is acknowledged, a new request is not taken.
func TestShutdownFinishesWhatIsInHand(t *testing.T) {
	s, _ := newModel(t, Options{})
	up := s.batch("some weights", "sha256").Actions.Upload.Href
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	stop, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- s.s.Serve(stop, l) }()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	path := strings.TrimPrefix(up, s.http.URL)
	fmt.Fprintf(conn, "PUT %s HTTP/1.1\r\nHost: x\r\nContent-Length: 12\r\nExpect: 100-continue\r\n\r\n", path)
	answers := bufio.NewReader(conn)
	if line, err := answers.ReadString('\n'); err != nil || !strings.Contains(line, "100") {
		t.Fatalf("%q, %v", line, err)
	}
	cancel()
	for deadline := time.Now().Add(30 * time.Second); ; {
		extra, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			break
		}
		extra.Close()
		if time.Now().After(deadline) {
			t.Fatal("the server still takes connections")
		}
		time.Sleep(time.Millisecond)
	}
	io.WriteString(conn, "some weights")
	if _, err := answers.ReadString('\n'); err != nil { // the rest of the 100
		t.Fatal(err)
	}
	r, err := http.ReadResponse(answers, nil)
	if err != nil || r.StatusCode != 200 {
		t.Fatalf("%v, %v", r, err)
	}
	if err := <-ended; err != nil {
		t.Errorf("the server ended with %v", err)
	}
}

// deadlines is a connection that notes its deadline.
type deadlines struct {
	*httptest.ResponseRecorder
	read time.Time
}

func (d *deadlines) SetReadDeadline(t time.Time) error { d.read = t; return nil }

func TestSlowBodiesAreGivenUp(t *testing.T) {
	conn := &deadlines{ResponseRecorder: httptest.NewRecorder()}
	start := time.Now()
	body := newSteadyBody(conn, io.NopCloser(strings.NewReader(strings.Repeat("x", 10*minRate))))
	one := make([]byte, 1)
	for range 10 {
		if _, err := body.Read(one); err != nil {
			t.Fatal(err)
		}
	}
	if left := conn.read.Sub(start); left > bodyGrace+time.Second {
		t.Errorf("ten single bytes buy %v", left)
	}
	if _, err := io.CopyN(io.Discard, body, 10*minRate-10); err != nil { // all but the end, where no deadline is
		t.Fatal(err)
	}
	if left := conn.read.Sub(start); left < bodyGrace+5*time.Second {
		t.Errorf("ten seconds' worth of bytes buy %v", left)
	}
}

func TestTooManyRequestsAreAskedToWait(t *testing.T) {
	s, _ := newModel(t, Options{})
	for range maxInFlight {
		s.s.slots <- struct{}{}
	}
	r := s.must(503, "GET", "/api/models/a/m", "")
	if r.Header.Get("Retry-After") == "" {
		t.Error("nobody is told when to come again")
	}
	for range maxInFlight {
		<-s.s.slots
	}
	for range maxStrangers {
		s.s.strange <- struct{}{}
	}
	s.must(200, "GET", "/api/models/a/m", "")
	s.must(503, "GET", "/api/models/a/m", "", "Authorization: ")
	up := s.batch("large", "sha256").Actions.Upload.Href
	s.must(503, "PUT", up+"0", "large") // another signature
	s.must(503, "GET", strings.Replace(up, "/put/", "/get/", 1), "")
	s.must(200, "PUT", up, "large")
	<-s.s.strange
	s.must(200, "GET", "/api/models/a/m", "", "Authorization: ")
	if len(s.s.slots) != 0 || len(s.s.strange) != maxStrangers-1 {
		t.Errorf("%d requests are still in hand, %d of strangers", len(s.s.slots), len(s.s.strange))
	}
}

// FuzzReadOperations feeds the reader of commits anything: it must end, keep its
// limits and leave no files.
func FuzzReadOperations(f *testing.F) {
	f.Add([]byte(header("x", "") + inline("a/b.txt", "content")))
	f.Add([]byte(header("x", strings.Repeat("0", 40)) + large("x.bin", digest("x"), 1) + `{"key":"deletedFolder","value":{"path":"x/"}}`))
	f.Add([]byte(`{"key":"header","value":{"summary":"\ud83d\ude00","description":null,"more":[1,{"a":[true]}]}}`))
	f.Add([]byte(`{"key":"file","value":{"content":"` + strings.Repeat("A", 5000) + `\n","path":"x"}}`))
	spool := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte) {
		ops, err := readOperations(strings.NewReader(string(data)), spool, 1<<16)
		if err != nil {
			return
		}
		defer ops.close()
		if ops.summary == "" || ops.count > maxOperations || len(ops.files)+len(ops.large)+len(ops.deleteFiles) > ops.count {
			t.Fatalf("%+v", ops)
		}
		total := int64(0)
		for _, file := range ops.files {
			content, err := file.decoded()
			if err != nil {
				continue
			}
			var n counter
			if content.Write(&n) == nil && int64(n) != content.Size {
				t.Fatalf("%s: %d bytes were promised, %d are written", file.path, content.Size, n)
			}
			total += file.content.size
		}
		if total > 1<<16 {
			t.Fatalf("%d bytes of content passed a limit of %d", total, 1<<16)
		}
	})
}

type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}
