package transport

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"os"
	"testing"
	"time"

	"lockstep/internal/fault"
	"lockstep/internal/signed"
)

func testKey(b byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{b}, ed25519.SeedSize))
}

func testID(b byte) signed.PeerID { return signed.IDOf(testKey(b).Public().(ed25519.PublicKey)) }

func listen(t *testing.T, b byte, o Options) *Endpoint {
	t.Helper()
	e, err := Listen("127.0.0.1:0", testKey(b), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

// patience is how long a test waits for what must come: long, for it costs time
// only where the test fails, and the machine may have much else to do.
const patience = 2 * time.Minute

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func TestBulkConnection(t *testing.T) {
	ctx := testContext(t)
	a, b := listen(t, 1, Options{}), listen(t, 2, Options{})
	out, err := a.Dial(ctx, b.ID(), b.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	in, err := b.Accept(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if in.Peer() != testID(1) || out.Peer() != testID(2) {
		t.Errorf("peers %v and %v", in.Peer(), out.Peer())
	}
	go func() {
		out.Write([]byte("fra"))
		out.Write([]byte("me"))
		out.Flush()
	}()
	got := make([]byte, 5)
	if _, err := io.ReadFull(in, got); err != nil || string(got) != "frame" {
		t.Errorf("read %q, %v", got, err)
	}
}

func TestDialPinsTheKey(t *testing.T) {
	a, b := listen(t, 1, Options{}), listen(t, 2, Options{})
	_, err := a.Dial(testContext(t), testID(3), b.Addr().String())
	if fault.KindOf(err) != fault.Network {
		t.Errorf("a peer with another key gives %v", err)
	}
}

func TestAllowComesBeforeFrames(t *testing.T) {
	ctx := testContext(t)
	a := listen(t, 1, Options{})
	b := listen(t, 2, Options{Allow: func(p signed.PeerID) error {
		if p == testID(1) {
			return errors.New("not registered")
		}
		return nil
	}})
	out, err := a.Dial(ctx, b.ID(), b.Addr().String())
	if err == nil {
		defer out.Close()
		out.SetReadDeadline(time.Now().Add(patience))
		if _, err := out.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error("a refused peer can read")
		}
	}
	c := listen(t, 3, Options{})
	welcome, err := c.Dial(ctx, b.ID(), b.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer welcome.Close()
	in, err := b.Accept(ctx)
	if err != nil || in.Peer() != testID(3) {
		t.Errorf("accepted %v, %v", in, err)
	}
}

// TestGarbageOnThePort sends what strangers send, and then expects service.
func TestGarbageOnThePort(t *testing.T) {
	ctx := testContext(t)
	b := listen(t, 2, Options{Limits: Limits{Handshake: 200 * time.Millisecond}})
	for _, garbage := range []string{"", "GET / HTTP/1.1\r\n\r\n", string(bytes.Repeat([]byte{0xff}, 4096)), "\x16\x03\x01\xff\xff"} {
		conn, err := net.Dial("tcp", b.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(conn, garbage)
		conn.SetReadDeadline(time.Now().Add(patience))
		io.Copy(io.Discard, conn) // until the endpoint drops us
		conn.Close()
	}
	a := listen(t, 1, Options{})
	out, err := a.Dial(ctx, b.ID(), b.Addr().String())
	for err != nil && ctx.Err() == nil { // the time for a handshake is short, and the machine may be busy
		out, err = a.Dial(ctx, b.ID(), b.Addr().String())
	}
	if err != nil {
		t.Fatalf("after garbage: %v", err)
	}
	out.Close()
}

// TestOtherKeysAndProtocols tries what a TLS stranger may try.
func TestOtherKeysAndProtocols(t *testing.T) {
	b := listen(t, 2, Options{})
	good, err := certificate(testKey(9))
	if err != nil {
		t.Fatal(err)
	}
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, p256.Public(), p256)
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]*tls.Config{
		"no certificate": {NextProtos: []string{bulkProtocol}},
		"ecdsa key":      {NextProtos: []string{bulkProtocol}, Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: p256}}},
		"two certificates": {NextProtos: []string{bulkProtocol}, Certificates: []tls.Certificate{
			{Certificate: append(good.Certificate, good.Certificate...), PrivateKey: good.PrivateKey}}},
		"no protocol":    {Certificates: []tls.Certificate{good}},
		"other protocol": {Certificates: []tls.Certificate{good}, NextProtos: []string{"http/1.1"}},
		"tls 1.2":        {Certificates: []tls.Certificate{good}, NextProtos: []string{bulkProtocol}, MaxVersion: tls.VersionTLS12},
	}
	for name, config := range tests {
		config.InsecureSkipVerify = true
		conn, err := tls.Dial("tcp", b.Addr().String(), config)
		if err != nil {
			continue
		}
		conn.SetReadDeadline(time.Now().Add(patience))
		if _, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: the connection stays open", name)
		}
		conn.Close()
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if c, err := b.Accept(ctx); err == nil {
		t.Errorf("a stranger got through as %v", c.Peer())
	}
}

// TestControlPlane: an http.Server takes the connections and sees whose they
// are, and one that is closed leaves the port open.
func TestControlPlane(t *testing.T) {
	ctx := testContext(t)
	a, b := listen(t, 1, Options{}), listen(t, 2, Options{Allow: func(signed.PeerID) error { return errors.New("no") }})
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		peer, _ := peerOf(r.TLS)
		fmt.Fprintf(w, "%s %s", r.Proto, peer)
	})}
	go server.Serve(b.Control())
	client := &http.Client{Transport: &http.Transport{
		DialTLSContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return a.DialControl(ctx, b.ID(), b.Addr().String())
		},
		ForceAttemptHTTP2: true,
	}}
	defer client.CloseIdleConnections()
	resp, err := client.Get("https://peer/v1/status")
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	if want := "HTTP/2.0 " + testID(1).String(); string(body) != want {
		t.Errorf("got %q, want %q", body, want)
	}
	server.Close()
	if c, err := a.DialControl(ctx, b.ID(), b.Addr().String()); err != nil {
		t.Errorf("the port was closed with the server: %v", err)
	} else {
		c.Close()
	}
}

func TestNetworksOfAddresses(t *testing.T) {
	for address, want := range map[string]string{
		"10.0.0.1:5": "10.0.0.1/32", "[::ffff:10.0.0.1]:5": "10.0.0.1/32",
		"[2001:db8:1:2:3::4]:5": "2001:db8:1:2::/64", "[fe80::1%eth0]:5": "fe80::/64",
	} {
		tcp, err := net.ResolveTCPAddr("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		if got := networkOf(tcp).String(); got != want {
			t.Errorf("%s counts for %s, want %s", address, got, want)
		}
	}
	if n := networkOf(&net.UnixAddr{Name: "x"}); n.IsValid() {
		t.Errorf("a path counts for %v", n)
	}
}

func TestGateCountsByNetworkAndSecond(t *testing.T) {
	g := gate{limit: 2}
	now := time.Unix(100, 0)
	one, two := netip.MustParsePrefix("10.0.0.1/32"), netip.MustParsePrefix("10.0.0.2/32")
	for i, want := range []bool{true, true, false} {
		if g.admit(one, now) != want {
			t.Errorf("connection %d: admitted %v", i, !want)
		}
	}
	if !g.admit(two, now) || !g.admit(one, now.Add(time.Second)) {
		t.Error("another network, or the next second, is refused")
	}
	for i := range 2 * maxNetworks {
		g.admit(netip.PrefixFrom(netip.AddrFrom4([4]byte{11, byte(i >> 16), byte(i >> 8), byte(i)}), 32), now)
	}
	if len(g.count) > maxNetworks {
		t.Errorf("%d networks are remembered", len(g.count))
	}
}

func TestPlaces(t *testing.T) {
	conns := make([]net.Conn, 8)
	for i := range conns {
		conns[i], _ = net.Pipe()
	}
	one, two := netip.MustParsePrefix("10.0.0.1/32"), netip.MustParsePrefix("10.0.0.2/32")
	p := places{all: 3, each: 2}
	for i, step := range []struct {
		from netip.Prefix
		want bool
	}{{one, true}, {one, true}, {one, false}, {two, true}, {two, false}} {
		if p.take(step.from, conns[i]) != step.want {
			t.Errorf("step %d: taken %v", i, !step.want)
		}
	}
	p.give(conns[0])
	if !p.take(two, conns[5]) {
		t.Error("a place given back is not free")
	}
	// Taken are 1 (one), 3 and 5 (two).
	if got := p.seize(two, conns[6]); got != conns[3] {
		t.Error("a full network does not lose its oldest place")
	}
	if got := p.seize(one, conns[7]); got != conns[1] {
		t.Error("a full house does not lose its oldest place")
	}
	p.give(conns[3]) // seized: no place of its own any more
	if len(p.taken) != 3 {
		t.Errorf("%d places are taken", len(p.taken))
	}
	for _, c := range conns {
		p.give(c)
	}
	if len(p.taken) != 0 || p.seize(one, conns[0]) != nil {
		t.Error("places given back are not free")
	}
}

// dialFrom opens a TCP connection from an address of the loopback network.
func dialFrom(t *testing.T, host string, e *Endpoint) net.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(host)}}
	c, err := d.Dial("tcp", e.Addr().String())
	if err != nil && host != "127.0.0.1" {
		t.Skipf("this machine has no %s", host)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// TestPendingHandshakesAreBounded: silent connections take places, by network
// and in all; newer ones end the oldest, so that a handshake in earnest has its
// chance; Close does not wait for them.
func TestPendingHandshakesAreBounded(t *testing.T) {
	b := listen(t, 2, Options{Limits: Limits{Pending: 3, PendingEach: 2, Handshake: 30 * time.Second}})
	ends := func(c net.Conn) bool {
		c.SetReadDeadline(time.Now().Add(patience))
		_, err := c.Read(make([]byte, 1))
		return !errors.Is(err, os.ErrDeadlineExceeded)
	}
	one := []net.Conn{dialFrom(t, "127.0.0.1", b), dialFrom(t, "127.0.0.1", b), dialFrom(t, "127.0.0.1", b)}
	if !ends(one[0]) {
		t.Error("three silent connections of a network of two places stand")
	}
	two := dialFrom(t, "127.0.0.2", b)
	three := dialFrom(t, "127.0.0.3", b)
	if !ends(one[1]) {
		t.Error("four silent connections in three places stand")
	}
	c, err := listen(t, 1, Options{}).DialControl(testContext(t), b.ID(), b.Addr().String())
	if err != nil {
		t.Fatalf("a handshake in earnest: %v", err)
	}
	c.Close()
	for i, c := range []net.Conn{two, three} {
		c.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("silent connection %d, not the oldest of its network or of all, ended: %v", i, err)
		}
	}
	start := time.Now()
	b.Close()
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("Close took %v", took)
	}
}

// TestAllowHoldsNoPlace: while Allow asks somebody, others can connect; and
// Allow itself is bounded.
func TestAllowHoldsNoPlace(t *testing.T) {
	asked, answer := make(chan signed.PeerID), make(chan struct{})
	b := listen(t, 2, Options{Limits: Limits{Pending: 1, PendingEach: 1}, Allow: func(p signed.PeerID) error {
		asked <- p
		<-answer
		return nil
	}})
	defer close(answer)
	slow, err := listen(t, 1, Options{}).Dial(testContext(t), b.ID(), b.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Close()
	if p := <-asked; p != testID(1) {
		t.Errorf("asked for %s", p.Short())
	}
	c, err := listen(t, 3, Options{}).DialControl(testContext(t), b.ID(), b.Addr().String())
	if err != nil {
		t.Fatalf("while Allow takes its time: %v", err)
	}
	c.Close()
	second, err := listen(t, 4, Options{}).Dial(testContext(t), b.ID(), b.Addr().String())
	if err == nil {
		defer second.Close()
		second.SetReadDeadline(time.Now().Add(patience))
		if _, err = second.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error("a second call of Allow is waited for")
		}
	}
}

func TestCloseEndsAccept(t *testing.T) {
	e := listen(t, 1, Options{})
	done := make(chan error, 1)
	go func() {
		_, err := e.Accept(context.Background())
		done <- err
	}()
	e.Close()
	if err := <-done; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept after Close: %v", err)
	}
	if err := e.Close(); err == nil {
		t.Error("closing twice goes unnoticed")
	}
}
