package control

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"lockstep/internal/fault"
	"lockstep/internal/signed"
)

func testKey(b byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{'a' + b}, ed25519.SeedSize))
}

func idOf(k ed25519.PrivateKey) signed.PeerID { return signed.IDOf(k.Public().(ed25519.PublicKey)) }

func config(t *testing.T, k ed25519.PrivateKey) *tls.Config {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(nil, template, template, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{
		Certificates:       []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: k}},
		ClientAuth:         tls.RequireAnyClientCert,
		InsecureSkipVerify: true,
		NextProtos:         []string{"h2"},
		MinVersion:         tls.VersionTLS13,
	}
}

// node serves routes on loopback; seats are those of keys 0 (validator) and 1
// (miner). It returns a function that makes clients with a key.
func node(t *testing.T, routes []Route, throttle *Budget) (address string, as func(byte) *Client) {
	t.Helper()
	seats := map[signed.PeerID]Seat{
		idOf(testKey(0)): {UID: 100, Peer: idOf(testKey(0)), Role: Validator},
		idOf(testKey(1)): {UID: 1, Peer: idOf(testKey(1)), Role: Miner},
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", config(t, testKey(9)))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := NewServer(ctx, routes, Options{
		Seats:    func(p signed.PeerID) (Seat, bool) { s, ok := seats[p]; return s, ok },
		Throttle: throttle,
	})
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Serve(l)
	}()
	t.Cleanup(func() {
		cancel()
		_ = s.Close()
		<-done
	})
	return l.Addr().String(), func(k byte) *Client {
		c := NewClient(func(ctx context.Context, peer signed.PeerID) (*tls.Conn, error) {
			d := tls.Dialer{Config: config(t, testKey(k))}
			conn, err := d.DialContext(ctx, "tcp", l.Addr().String())
			if err != nil {
				return nil, err
			}
			return conn.(*tls.Conn), nil
		})
		t.Cleanup(c.Close)
		return c
	}
}

type note struct {
	Text string `cbor:"1,keyasint" json:"text"`
}

func echo(_ context.Context, c Call) (Reply, error) {
	var n note
	if err := c.Read(&n); err != nil {
		return Reply{}, err
	}
	return Reply{Document: note{n.Text + "!"}}, nil
}

func TestServerAndClient(t *testing.T) {
	_, as := node(t, []Route{
		{Pattern: "POST /echo", Access: Seated, Body: 100, Serve: echo},
		{Pattern: "POST /rule", Access: Validators, Body: 100, Serve: echo},
		{Pattern: "POST /open", Access: Anyone, Body: 100, Serve: echo},
	}, nil)
	server := idOf(testKey(9))
	tests := []struct {
		path, text string
		as         byte
		want       Code
	}{
		{"/echo", "hello", 1, ""},
		{"/echo", "hello", 5, Unregistered},
		{"/open", "hello", 5, ""},
		{"/rule", "hello", 0, ""},
		{"/rule", "hello", 1, Forbidden},
		{"/echo", strings.Repeat("x", 200), 1, Malformed},
		{"/nowhere", "hello", 1, Failed},
	}
	for _, tt := range tests {
		var got note
		err := as(tt.as).Post(t.Context(), server, tt.path, 0, note{tt.text}, &got)
		if tt.want != "" {
			if !IsRefusal(err, tt.want) {
				t.Errorf("%s as %d: %v, want the refusal %q", tt.path, tt.as, err, tt.want)
			}
			continue
		}
		if err != nil || got.Text != tt.text+"!" {
			t.Errorf("%s as %d: %q, %v", tt.path, tt.as, got.Text, err)
		}
	}
}

func TestJSONForPeople(t *testing.T) {
	address, _ := node(t, []Route{{Pattern: "GET /note", Access: Seated, Serve: func(context.Context, Call) (Reply, error) {
		return Reply{Document: note{"cbor"}, View: note{"json"}}, nil
	}}}, nil)
	h := &http.Client{Transport: &http.Transport{TLSClientConfig: config(t, testKey(1)), ForceAttemptHTTP2: true}}
	defer h.CloseIdleConnections()
	q, _ := http.NewRequest(http.MethodGet, "https://"+address+"/note", nil)
	q.Header.Set("Accept", "application/json")
	a, err := h.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Body.Close()
	b, _ := io.ReadAll(a.Body)
	if a.Proto != "HTTP/2.0" || !strings.Contains(string(b), `"text": "json"`) {
		t.Errorf("%s: %s", a.Proto, b)
	}
}

func TestRawHasTheExpectedSize(t *testing.T) {
	_, as := node(t, []Route{{Pattern: "GET /bytes", Access: Seated, Serve: func(context.Context, Call) (Reply, error) {
		return Reply{Raw: make([]byte, 1000)}, nil
	}}}, nil)
	c, server := as(1), idOf(testKey(9))
	if b, err := c.Raw(t.Context(), server, "/bytes", 1000); err != nil || len(b) != 1000 {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	for _, size := range []int{999, 1001, 0} {
		if _, err := c.Raw(t.Context(), server, "/bytes", size); fault.KindOf(err) != fault.Damaged {
			t.Errorf("asked for %d bytes, offered 1000: %v", size, err)
		}
	}
}

func TestWaitEndsWithTheCaller(t *testing.T) {
	began, ended := make(chan struct{}, 1), make(chan struct{}, 1)
	_, as := node(t, []Route{{Pattern: "GET /wait", Access: Seated, Query: "wait", Serve: func(ctx context.Context, c Call) (Reply, error) {
		if c.Host != "127.0.0.1" {
			t.Errorf("host %q", c.Host)
		}
		if c.Wait != 7*time.Second {
			t.Errorf("wait %v", c.Wait)
		}
		began <- struct{}{}
		<-ctx.Done()
		ended <- struct{}{}
		return Reply{}, ctx.Err()
	}}}, nil)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-began
		cancel()
	}()
	if err := as(1).Get(ctx, idOf(testKey(9)), "/wait", 6500*time.Millisecond, &note{}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	<-ended
}

func TestThrottle(t *testing.T) {
	_, as := node(t, []Route{{Pattern: "GET /bytes", Access: Seated, Serve: func(context.Context, Call) (Reply, error) {
		return Reply{Raw: make([]byte, 256<<10)}, nil
	}}}, NewBudget(1<<20, 1))
	start := time.Now()
	if _, err := as(1).Raw(t.Context(), idOf(testKey(9)), "/bytes", 256<<10); err != nil {
		t.Fatal(err)
	}
	if d := time.Since(start); d < 200*time.Millisecond {
		t.Errorf("256 KiB at 1 MiB/s took %v", d)
	}
}

func TestUnreachableNamesThePeer(t *testing.T) {
	c := NewClient(func(context.Context, signed.PeerID) (*tls.Conn, error) { return nil, errors.New("no route") })
	peer := idOf(testKey(3))
	err := c.Get(t.Context(), peer, "/note", 0, &note{})
	if fault.KindOf(err) != fault.Network || !strings.Contains(err.Error(), peer.Short()) || !strings.Contains(err.Error(), "no route") {
		t.Error(err)
	}
}

// TestGarbageOnAConnection checks that bytes that are no HTTP/2 end their own
// connection and nothing else.
func TestGarbageOnAConnection(t *testing.T) {
	address, as := node(t, []Route{{Pattern: "POST /echo", Access: Seated, Body: 100, Serve: echo}}, nil)
	conn, err := tls.Dial("tcp", address, config(t, testKey(1)))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = conn.Write([]byte("\x00\x01\x02 not HTTP/2, and longer than its preface\r\n\r\n"))
	_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := io.Copy(io.Discard, conn); err != nil {
		var timeout net.Error
		if errors.As(err, &timeout) && timeout.Timeout() {
			t.Error("the connection stays open")
		}
	}
	var got note
	if err := as(1).Post(t.Context(), idOf(testKey(9)), "/echo", 0, note{"still here"}, &got); err != nil {
		t.Error(err)
	}
}

func TestBudget(t *testing.T) {
	now := time.Unix(0, 0)
	b := NewBudget(100, 50)
	b.now, b.at = func() time.Time { return now }, now
	steps := []struct {
		after time.Duration
		take  int
		want  time.Duration
	}{
		{0, 50, 0},
		{0, 10, 100 * time.Millisecond},
		{100 * time.Millisecond, 0, 0},
		{10 * time.Second, 50, 0}, // no more than the burst
		{0, 100, time.Second},
	}
	for i, s := range steps {
		now = now.Add(s.after)
		if got := b.promise(s.take); got != s.want {
			t.Errorf("step %d: wait %v, want %v", i, got, s.want)
		}
	}
	if err := (*Budget)(nil).Take(t.Context(), 1<<40); err != nil {
		t.Error(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.Take(ended, 1000); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestRefusalsAreTidied(t *testing.T) {
	r := &Refusal{Code: "strange", Message: "red \x1b[31m" + strings.Repeat("long ", 500), Differences: make([]string, 1000)}
	r.tidy(signed.PeerID{7})
	if r.Code != Failed || strings.ContainsRune(r.Message, 0x1b) || len(r.Message) > maxSentence+3 || len(r.Differences) != MaxDifferences {
		t.Errorf("%q, %d bytes, %d differences", r.Code, len(r.Message), len(r.Differences))
	}
	if fault.KindOf(Refuse(OtherRun, "x")) != fault.Fingerprint || fault.KindOf(Refuse(Unregistered, "x")) != fault.Network {
		t.Error("refusals have other exit codes than the table says")
	}
}

// TestQueriesOfANameWaitForEachOther checks that a caller's second query of a
// name waits for the first, and one of another name does not.
func TestQueriesOfANameWaitForEachOther(t *testing.T) {
	entered, release := make(chan string, 3), make(chan struct{})
	slow := func(name string) func(context.Context, Call) (Reply, error) {
		return func(context.Context, Call) (Reply, error) {
			entered <- name
			<-release
			return Reply{}, nil
		}
	}
	_, as := node(t, []Route{
		{Pattern: "GET /a", Access: Seated, Query: "a", Serve: slow("a")},
		{Pattern: "GET /b", Access: Seated, Query: "b", Serve: slow("b")},
	}, nil)
	c, server := as(1), idOf(testKey(9))
	done := make(chan error, 3)
	for _, path := range []string{"/a", "/a", "/b"} {
		go func() { done <- c.Get(t.Context(), server, path, 0, &struct{}{}) }()
	}
	if first, second := <-entered, <-entered; first == second {
		t.Errorf("two queries %q at once", first)
	}
	select {
	case name := <-entered:
		t.Errorf("a third query %q at once", name)
	case <-time.After(50 * time.Millisecond):
	}
	close(release)
	for range 3 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}
