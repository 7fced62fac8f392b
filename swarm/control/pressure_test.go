package control

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"lockstep/internal/fault"
	"lockstep/internal/signed"
)

// TestAnswersCountUntilTaken: a caller that asks for large answers and reads
// none of them soon gets no more, and after a time loses those it has.
func TestAnswersCountUntilTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, silentRoutes(), Options{})
		transport := &http.Transport{
			DialTLSContext:    func(ctx context.Context, _, _ string) (net.Conn, error) { return b.dial(ctx, 1) },
			ForceAttemptHTTP2: true,
			HTTP2:             &http.HTTP2Config{MaxReceiveBufferPerStream: 64 << 10, MaxReceiveBufferPerConnection: 1 << 20},
		}
		defer transport.CloseIdleConnections()
		greedy := &http.Client{Transport: transport}
		get := func() *http.Response {
			a, err := greedy.Get("https://node/bytes")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { a.Body.Close() })
			return a
		}
		var answers []*http.Response
		for range callerBytes >> 20 { // silentRoutes give 1 MiB each
			answers = append(answers, get())
		}
		synctest.Wait()
		if a := get(); a.StatusCode != http.StatusTooManyRequests {
			t.Errorf("one more answer: %s", a.Status)
		}
		if n, err := io.Copy(io.Discard, answers[0].Body); n != 1<<20 || err != nil {
			t.Errorf("an answer that is read in time: %d bytes, %v", n, err)
		}
		synctest.Wait()
		if a := get(); a.StatusCode != http.StatusOK {
			t.Errorf("after one was taken: %s", a.Status)
		}
		time.Sleep(transferTime(1<<20) + time.Second)
		if _, err := io.Copy(io.Discard, answers[1].Body); err == nil {
			t.Error("an answer waits for its caller for ever")
		}
		if a := get(); a.StatusCode != http.StatusOK {
			t.Errorf("after those that were not taken: %s", a.Status)
		}
	})
}

// TestBodiesHaveDeadlines: a caller that sends its request's body byte by byte.
func TestBodiesHaveDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, []Route{{Pattern: "POST /echo", Access: Anyone, Body: 64 << 10, Serve: echo}}, Options{})
		transport := &http.Transport{
			DialTLSContext:    func(ctx context.Context, _, _ string) (net.Conn, error) { return b.dial(ctx, 1) },
			ForceAttemptHTTP2: true,
		}
		defer transport.CloseIdleConnections()
		body, drip := io.Pipe()
		dry := make(chan struct{})
		go func() {
			defer close(dry)
			for {
				if _, err := drip.Write([]byte{0}); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		}()
		start := time.Now()
		a, err := (&http.Client{Transport: transport}).Post("https://node/echo", typeCBOR, body)
		if err != nil {
			t.Fatal(err)
		}
		took := time.Since(start).Round(time.Second)
		a.Body.Close()
		body.Close()
		<-dry
		if a.StatusCode != http.StatusBadRequest || took != transferTime(64<<10) {
			t.Errorf("after %v: %s", took, a.Status)
		}
	})
}

// ended reports whether a connection was closed from the other end.
func ended(c *tls.Conn) bool {
	_ = c.SetReadDeadline(time.Now().Add(time.Millisecond))
	_, err := io.Copy(io.Discard, c)
	return !errors.Is(err, os.ErrDeadlineExceeded)
}

// TestConnectionsAreLimited: a key has a few, all strangers together some; the
// one that is idle longest makes room.
func TestConnectionsAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seated := idOf(testKey(1))
		b := newBubble(t, silentRoutes(), Options{Seats: func(p signed.PeerID) (Seat, bool) { return Seat{}, p == seated }})
		open := func(k byte) *tls.Conn {
			c, err := b.dial(t.Context(), k)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { c.NetConn().Close() })
			if _, err := c.Write([]byte(preface)); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			return c
		}
		var own []*tls.Conn
		for range connectionsPerKey + 1 {
			own = append(own, open(1))
		}
		for i, c := range own {
			if got, want := ended(c), i == 0; got != want {
				t.Errorf("connection %d of one key: ended %v", i, got)
			}
		}
		var others []*tls.Conn
		for i := range strangerConns + 2 {
			others = append(others, open(byte(20+i)))
		}
		for i, c := range others {
			if got, want := ended(c), i < 2; got != want {
				t.Errorf("connection %d of strangers: ended %v", i, got)
			}
		}
		for i, c := range own[1:] {
			if ended(c) {
				t.Errorf("strangers ended connection %d of a seated key", i+1)
			}
		}
	})
}

// preface is what an HTTP/2 client begins with: the magic line and empty
// settings.
const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"

// TestBusyConnectionsStay: connections with requests in flight do not make room.
func TestBusyConnectionsStay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, silentRoutes(), Options{})
		results := make(chan error, connectionsPerKey+1)
		for range connectionsPerKey {
			go func() { results <- b.client(1).Get(t.Context(), idOf(testKey(9)), "/never", time.Minute, &note{}) }()
			synctest.Wait()
		}
		go func() { results <- b.client(1).Get(t.Context(), idOf(testKey(9)), "/never", time.Minute, &note{}) }()
		if err := <-results; fault.KindOf(err) != fault.Network {
			t.Error(err)
		}
		synctest.Wait()
		if n := len(results); n > 0 {
			t.Errorf("%d busy connections were ended too", n)
		}
	})
}

// TestClientDialsOnce: requests that begin together share a connection, also
// after the node has closed the one before.
func TestClientDialsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, []Route{{Pattern: "POST /echo", Access: Seated, Body: 100, Serve: echo}}, Options{})
		c := b.client(1)
		results := make(chan error)
		const requests = 3 * callerRequests / 4
		for round := range 3 {
			for range requests {
				go func() { results <- c.Post(t.Context(), idOf(testKey(9)), "/echo", 0, note{"a"}, &note{}) }()
			}
			for range requests {
				if err := <-results; err != nil {
					t.Error(err)
				}
			}
			if b.dials != round+1 {
				t.Errorf("round %d: %d connections for requests that began together", round, b.dials)
			}
			time.Sleep(time.Hour)
		}
	})
}

// TestTooManyRequestsAreRefused: a caller beyond its limit is told so at once,
// by way of a second connection where the first takes no more.
func TestTooManyRequestsAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newBubble(t, silentRoutes(), Options{}).client(1)
		start, results := time.Now(), make(chan error)
		for range callerRequests + 8 {
			go func() { results <- c.Get(t.Context(), idOf(testKey(9)), "/never", time.Minute, &note{}) }()
		}
		for range 8 {
			if err := <-results; !IsRefusal(err, Busy) {
				t.Error(err)
			}
		}
		if took := time.Since(start); took > time.Second {
			t.Errorf("after %v", took)
		}
		for range callerRequests {
			<-results
		}
	})
}

// TestBurst: a route that costs the network work may be asked for now and then.
func TestBurst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, []Route{{Pattern: "POST /echo", Access: Seated, Body: 100, Burst: 4, Serve: echo}}, Options{})
		c, other := b.client(1), b.client(2)
		post := func(c *Client) error {
			return c.Post(t.Context(), idOf(testKey(9)), "/echo", 0, note{"a"}, &note{})
		}
		for i, want := range []bool{true, true, true, true, false, false} {
			if err := post(c); (err == nil) != want || (err != nil && !IsRefusal(err, Later)) {
				t.Errorf("request %d: %v", i, err)
			}
		}
		if err := post(other); err != nil {
			t.Errorf("another caller: %v", err)
		}
		time.Sleep(time.Second)
		if err := post(c); err != nil {
			t.Errorf("a second later: %v", err)
		}
		if err := post(c); !IsRefusal(err, Later) {
			t.Errorf("twice within a second: %v", err)
		}
	})
}
