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

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
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
		out.SetReadDeadline(time.Now().Add(5 * time.Second))
		if _, err := out.Read(make([]byte, 1)); err == nil {
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
		conn.SetReadDeadline(time.Now().Add(5 * time.Second))
		io.Copy(io.Discard, conn) // until the endpoint drops us
		conn.Close()
	}
	a := listen(t, 1, Options{})
	out, err := a.Dial(ctx, b.ID(), b.Addr().String())
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
		conn.SetReadDeadline(time.Now().Add(5 * time.Second))
		if _, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, context.DeadlineExceeded) {
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

func TestControlPlane(t *testing.T) {
	a, b := listen(t, 1, Options{}), listen(t, 2, Options{})
	allow := func(p signed.PeerID) error {
		if p != testID(1) {
			return fault.Errorf(fault.Network, "key %s is not registered", p.Short())
		}
		return nil
	}
	server := &http.Server{Handler: Guard(allow, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		peer, _ := PeerOf(r)
		fmt.Fprintf(w, "%s %s", r.Proto, peer)
	}))}
	go server.Serve(b.Control())
	defer server.Close()

	client := a.Client(b.ID(), b.Addr().String())
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

	stranger := listen(t, 3, Options{}).Client(b.ID(), b.Addr().String())
	defer stranger.CloseIdleConnections()
	resp, err = stranger.Get("https://peer/v1/status")
	if err != nil {
		t.Fatal(err)
	}
	body, _ = io.ReadAll(resp.Body)
	resp.Body.Close()
	var refusal Refusal
	if err := signed.Unmarshal(body, &refusal); err != nil || resp.StatusCode != 403 || refusal.Code != int(fault.Network) {
		t.Errorf("a stranger gets %d %+v (%v)", resp.StatusCode, refusal, err)
	}
}

func TestPeerOfPlainRequest(t *testing.T) {
	if _, ok := PeerOf(&http.Request{}); ok {
		t.Error("a request without TLS has a peer")
	}
}

func TestGateCountsByAddressAndSecond(t *testing.T) {
	g := gate{limit: 2}
	now := time.Unix(100, 0)
	one, two := &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 5}, &net.TCPAddr{IP: net.IPv4(10, 0, 0, 2), Port: 5}
	for i, want := range []bool{true, true, false} {
		if g.admit(one, now) != want {
			t.Errorf("connection %d: admitted %v", i, !want)
		}
	}
	if !g.admit(two, now) || !g.admit(one, now.Add(time.Second)) {
		t.Error("another address, or the next second, is refused")
	}
}

func TestPendingHandshakesAreBounded(t *testing.T) {
	b := listen(t, 2, Options{Limits: Limits{Pending: 2, Handshake: 30 * time.Second}})
	var conns []net.Conn
	for range 3 {
		c, err := net.Dial("tcp", b.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		conns = append(conns, c)
		time.Sleep(20 * time.Millisecond) // let the endpoint take them in order
	}
	conns[2].SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := conns[2].Read(make([]byte, 1)); !errors.Is(err, io.EOF) && !isReset(err) {
		t.Errorf("the third connection is kept: %v", err)
	}
	start := time.Now()
	b.Close() // must not wait for silent peers
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("Close took %v", took)
	}
}

func isReset(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && !op.Timeout()
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
