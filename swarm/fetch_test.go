package swarm

import (
	"context"
	"crypto/tls"
	"fmt"
	"strings"
	"sync"
	"testing"

	"lockstep/hub"
	"lockstep/internal/fault"
	"lockstep/internal/merkle"
	"lockstep/internal/signed"
	"lockstep/internal/spec"
	"lockstep/reduce/transport"
	"lockstep/swarm/control"
)

// server serves routes under a fresh key and returns where.
func server(t testing.TB, routes []control.Route) Address {
	t.Helper()
	return serverFor(t, routes, func() control.Role { return control.Miner })
}

// serverFor takes every caller for one of a role, which may change.
func serverFor(t testing.TB, routes []control.Route, role func() control.Role) Address {
	t.Helper()
	id, err := EnsureIdentity(t.TempDir() + "/key")
	if err != nil {
		t.Fatal(err)
	}
	e, err := transport.Listen("127.0.0.1:0", id.Key, transport.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s := control.NewServer(context.Background(), routes, control.Options{
		Seats: func(p signed.PeerID) (control.Seat, bool) { return control.Seat{Peer: p, Role: role()}, true },
	})
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Serve(e.Control())
	}()
	t.Cleanup(func() {
		s.Close()
		e.Close()
		<-done
	})
	return Address{e.Addr().String(), id.Peer}
}

// client calls the given nodes under a fresh key.
func client(t testing.TB, nodes ...Address) *control.Client {
	t.Helper()
	id, err := EnsureIdentity(t.TempDir() + "/key")
	if err != nil {
		t.Fatal(err)
	}
	return clientOf(t, id, nodes...)
}

// clientOf calls the given nodes under a known key.
func clientOf(t testing.TB, id Identity, nodes ...Address) *control.Client {
	t.Helper()
	e, err := transport.Listen("127.0.0.1:0", id.Key, transport.Options{})
	if err != nil {
		t.Fatal(err)
	}
	c := control.NewClient(func(ctx context.Context, p signed.PeerID) (*tls.Conn, error) {
		for _, n := range nodes {
			if n.Peer == p {
				return e.DialControl(ctx, p, n.HostPort)
			}
		}
		return nil, fmt.Errorf("unknown peer")
	})
	t.Cleanup(func() {
		c.Close()
		e.Close()
	})
	return c
}

// library is an archive with one state, and the routes that serve it.
func library(t *testing.T, epoch uint64, spoil func(*shown)) (*digests, []control.Route) {
	t.Helper()
	a := &archive{dir: t.TempDir(), save: hub.SaveState, backlog: 2}
	t.Cleanup(a.close)
	s := testState(t, epoch)
	d := digestsOf(merkle.Digest{1}, spec.RunID{1}, s)
	if _, err := a.put(t.Context(), s, d, nil, epoch); err != nil {
		t.Fatal(err)
	}
	if spoil != nil {
		spoil(a.states[0])
	}
	return d, (&sharing{archive: a, averages: &averages{}, bell: &bell{}, status: func() control.Status {
		newest, _ := a.newest()
		return control.Status{Epoch: newest.Epoch, Root: newest.root}
	}}).routes()
}

// from lists nodes as sources.
func from(nodes ...Address) sources {
	return func() (out []signed.PeerID) {
		for _, n := range nodes {
			out = append(out, n.Peer)
		}
		return out
	}
}

func TestFetchState(t *testing.T) {
	want, honest := library(t, 5, nil)
	// One liar serves the bytes of another epoch under the right digests, the
	// other one digests of its own.
	_, wrongBytes := library(t, 5, func(s *shown) {
		other := &archive{dir: t.TempDir(), save: hub.SaveState, backlog: 2}
		t.Cleanup(other.close)
		x := testState(t, 6)
		if _, err := other.put(t.Context(), x, digestsOf(merkle.Digest{1}, spec.RunID{1}, x), nil, 6); err != nil {
			t.Fatal(err)
		}
		s.file = other.states[0].file
	})
	_, wrongLeaves := library(t, 5, func(s *shown) { s.digests = digestsOf(merkle.Digest{1}, spec.RunID{1}, testState(t, 7)); s.Epoch = 5 })
	good, liar, cheat := server(t, honest), server(t, wrongBytes), server(t, wrongLeaves)
	c := client(t, good, liar, cheat)

	var mu sync.Mutex
	var warnings []string
	f := &fetcher{client: c, warn: func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		warnings = append(warnings, fmt.Sprintf(format, args...))
	}}
	s := testState(t, 1)
	before := digestsOf(merkle.Digest{1}, spec.RunID{1}, s)
	if err := f.state(t.Context(), want.State, from(cheat, liar, good), s, before); err != nil {
		t.Fatal(err)
	}
	if got := digestsOf(merkle.Digest{1}, spec.RunID{1}, s); got.root != want.root {
		t.Errorf("fetched %s, want %s", got.root.Short(), want.root.Short())
	}
	told := strings.Join(warnings, "\n")
	if !strings.Contains(told, liar.Peer.Short()) || !strings.Contains(told, cheat.Peer.Short()) || strings.Contains(told, good.Peer.Short()) {
		t.Errorf("warnings:\n%s", told)
	}

	s = testState(t, 1)
	err := f.state(t.Context(), want.State, from(liar), s, nil)
	if fault.KindOf(err) != fault.Network {
		t.Errorf("only a liar: %v (%v)", err, fault.KindOf(err))
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := f.state(ended, want.State, from(good), s, nil); fault.KindOf(err) != fault.Interrupted {
		t.Errorf("cancelled: %v", err)
	}
}

func TestFetchAsksOnlyForWhatDiffers(t *testing.T) {
	want, _ := library(t, 5, nil)
	s := testState(t, 5)
	f := &fetcher{client: client(t), warn: t.Logf} // nobody to ask
	if err := f.state(t.Context(), want.State, from(), s, digestsOf(merkle.Digest{1}, spec.RunID{1}, s)); err != nil {
		t.Errorf("everything is here, and yet: %v", err)
	}
}

func TestDigestLists(t *testing.T) {
	d := []merkle.Digest{{1}, {2}, {3}}
	back := splitDigests(joinDigests(d))
	if merkle.FirstDifference(back, d) >= 0 {
		t.Errorf("%v", back)
	}
}

func TestUnalignedChunks(t *testing.T) {
	g := merkle.Grid{Kind: merkle.KindAverage, Codec: merkle.CodecF32, Elements: 2*merkle.LeafElements + 100}
	for size, want := range map[int][][2]int{
		1: {{0, 16384}, {16384, 32768}, {32768, 32868}},
		2: {{0, 32768}, {32768, 32868}},
		8: {{0, 32868}},
	} {
		w := wanted{grid: g, size: size}
		if w.chunks() != len(want) {
			t.Fatalf("%d leaves a chunk: %d chunks", size, w.chunks())
		}
		for c, span := range want {
			if lo, hi := w.span(c); lo != span[0] || hi != span[1] {
				t.Errorf("%d leaves a chunk, chunk %d: [%d, %d)", size, c, lo, hi)
			}
		}
	}
}
