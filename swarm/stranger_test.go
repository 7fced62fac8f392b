package swarm

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"lockstep/internal/fault"
	"lockstep/swarm/control"
)

func TestUnknownKeyIsRefused(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, 2, 0, 1)
	n.validator()
	stranger, err := EnsureIdentity(t.TempDir() + "/key")
	if err != nil {
		t.Fatal(err)
	}
	err = n.miner(0, func(c *MinerConfig) { c.Key, c.Dir = stranger.Key, t.TempDir() }).wait()
	if fault.KindOf(err) != fault.Network || !strings.Contains(err.Error(), stranger.Peer.String()) {
		t.Errorf("%v (%v)", err, fault.KindOf(err))
	}
}

// TestJoinSpam: a seated key that comes under one address after the other makes
// the validator sign no more than a registry a second.
func TestJoinSpam(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, 2, 0, 1)
	n.validator()
	c := clientOf(t, n.identity(name(0)), n.at)
	begun, joined := time.Now(), 0
	for i := range 100 {
		j := control.Join{Run: *n.run, Role: control.Miner, Address: fmt.Sprintf("127.0.0.1:%d", 1000+i)}
		switch err := c.Post(t.Context(), n.at.Peer, "/v1/join", 0, j, &control.Joined{}); {
		case err == nil:
			joined++
		case !control.IsRefusal(err, control.Later):
			t.Fatal(err)
		}
	}
	if most := comings + 1 + int(time.Since(begun).Seconds()); joined < comings || joined > most {
		t.Errorf("%d of 100 joins are taken; at most %d may be", joined, most)
	}
}

func TestOtherRunIsRefused(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, 2, 0, 1)
	n.validator()
	other := *n.run
	other.Assignment.Seed, other.Optimizer.Beta2 = 8, 0.99
	err := n.miner(0, func(c *MinerConfig) { c.Run, c.Dir = &other, t.TempDir() }).wait()
	if fault.KindOf(err) != fault.Fingerprint {
		t.Errorf("%v (%v)", err, fault.KindOf(err))
	}
	for _, field := range []string{"assignment.seed is 8 here, 7 there", "optimizer.beta2"} {
		if !strings.Contains(err.Error(), field) {
			t.Errorf("%v does not name %s", err, field)
		}
	}
	// A folder that has been used knows its run, without a network.
	release, err := n.folder(name(1)).Open(n.run)
	if err != nil {
		t.Fatal(err)
	}
	release()
	err = n.miner(1, func(c *MinerConfig) { c.Run = &other }).wait()
	if fault.KindOf(err) != fault.Fingerprint || !strings.Contains(err.Error(), "assignment.seed") {
		t.Errorf("%v (%v)", err, fault.KindOf(err))
	}
}

func TestNoValidator(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, 1, 0, 1)
	n.at = Address{HostPort: "127.0.0.1:1", Peer: n.identity("validator").Peer}
	err := n.miner(0, func(c *MinerConfig) { c.JoinWithin = 300 * time.Millisecond }).wait()
	if fault.KindOf(err) != fault.Network {
		t.Errorf("%v (%v)", err, fault.KindOf(err))
	}
}

// TestOtherValidator gives a miner the address of a validator with the peer ID of
// another: it says at once whom it found, and gives up in time.
func TestOtherValidator(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, 1, 0, 1)
	n.validator()
	found, wanted := n.at.Peer, n.identity("another").Peer
	n.at.Peer = wanted
	m := n.miner(0, func(c *MinerConfig) { c.JoinWithin = 10 * time.Second })
	w := n.await(name(0), func(e Event) bool { _, ok := e.(Warning); return ok }).(Warning)
	if err := m.wait(); fault.KindOf(err) != fault.Network {
		t.Errorf("%v (%v)", err, fault.KindOf(err))
	}
	for _, id := range []string{found.Short(), wanted.Short()} {
		if !strings.Contains(w.Text, id) {
			t.Errorf("the warning %q does not name %s", w.Text, id)
		}
	}
	if warnings := all[Warning](n, name(0)); len(warnings) != 1 {
		t.Errorf("%d warnings: %v", len(warnings), warnings)
	}
}

// TestGarbageOnThePort feeds bytes that are no protocol to a miner and to the
// validator: both drop the stranger and go on.
func TestGarbageOnThePort(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, 2, 0, 3)
	v := n.validator()
	miners := n.miners()
	e := n.await(name(0), func(e Event) bool { _, ok := e.(Listening); return ok }).(Listening)
	for _, address := range []string{e.Address, n.at.HostPort} {
		for _, text := range []string{"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "\x16\x03\x01\xff\xff garbage", string(make([]byte, 1000))} {
			c, err := net.Dial("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = c.Write([]byte(text))
			_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
			if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%.20q: the connection is kept", text)
			}
			c.Close()
		}
	}
	n.ended(n.finish(v), miners...)
}

// TestNothingIsLeftRunning checks that nodes end all their goroutines.
func TestNothingIsLeftRunning(t *testing.T) {
	before := runtime.NumGoroutine()
	n := newNetwork(t, 2, 1, 2)
	v := n.validator()
	miners := n.miners()
	n.ended(n.finish(v), miners...)
	killed := newNetwork(t, 2, 0, 2)
	v = killed.validator()
	m := killed.miners()
	killed.await("validator", func(e Event) bool { _, ok := e.(RoundStarted); return ok })
	for _, r := range append(m, v) {
		r.kill()
		_ = r.wait()
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		if runtime.NumGoroutine() <= before {
			return
		}
		if time.Now().After(deadline) {
			buf := make([]byte, 1<<20)
			t.Fatalf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), before, buf[:runtime.Stack(buf, true)])
		}
	}
}
