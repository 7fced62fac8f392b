package transport

import (
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"lockstep/internal/fault"
	"lockstep/internal/signed"
	"lockstep/reduce"
	"lockstep/reduce/commit"
)

// testMesh is a mesh over pipes, and what it told its driver. Use it inside
// synctest.Test, where time passes only when everybody waits for it.
type testMesh struct {
	*mesh
	mu      sync.Mutex
	events  []queued
	reports []error
}

func newTestMesh(t *testing.T, network *pipes, id signed.PeerID) *testMesh {
	m := &testMesh{}
	m.mesh = newMesh(id, network.join(id), terms{smallShape, reduce.DefaultWindow, 0}, func(q queued) {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.events = append(m.events, q)
	}, func(_ signed.PeerID, why error) {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.reports = append(m.reports, why)
	})
	t.Cleanup(m.close)
	return m
}

// heard writes the events of a mesh down: c for Connected, d for Disconnected, m
// for a message.
func (m *testMesh) heard() string {
	synctest.Wait()
	m.mu.Lock()
	defer m.mu.Unlock()
	var s strings.Builder
	for _, q := range m.events {
		switch q.event.(type) {
		case reduce.Connected:
			s.WriteByte('c')
		case reduce.Disconnected:
			s.WriteByte('d')
		case reduce.Arrival:
			s.WriteByte('m')
		}
	}
	return s.String()
}

// reported returns why connections ended by their peers' fault.
func (m *testMesh) reported() []error {
	synctest.Wait()
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.reports
}

// rawPeer is the other end of a connection of a mesh: it says only what the test
// writes.
type rawPeer struct {
	Conn
	sent uint32
	gone chan struct{} // closed when the mesh has closed the connection
}

// dial connects a raw peer to a mesh.
func (p *pipe) dial(t *testing.T, to signed.PeerID) *rawPeer {
	t.Helper()
	c, err := p.Dial(t.Context(), to, "")
	if err != nil {
		t.Fatal(err)
	}
	return newRawPeer(t, c)
}

func newRawPeer(t *testing.T, c Conn) *rawPeer {
	r := &rawPeer{Conn: c, gone: make(chan struct{})}
	go func() {
		io.Copy(io.Discard, c)
		close(r.gone)
	}()
	t.Cleanup(func() { c.Close() })
	synctest.Wait()
	return r
}

// pair returns a connection as a mesh takes it, and its other end.
func pair(t *testing.T, id signed.PeerID) (Conn, *rawPeer) {
	near, far := net.Pipe()
	return pipeConn{near, id}, newRawPeer(t, pipeConn{far, id})
}

// say sends a message, or a ping for nil.
func (r *rawPeer) say(m reduce.Message) {
	f := ping
	if m != nil {
		f.header, f.payload = encode(smallShape, m)
	}
	f.header.sequence = r.sent
	r.sent++
	r.Write(append(f.header.append(nil), f.payload...)) // fails where the mesh has enough
}

// stands reports whether the mesh keeps the connection.
func (r *rawPeer) stands() bool {
	synctest.Wait()
	select {
	case <-r.gone:
		return false
	default:
		return true
	}
}

func TestIdleConnectionsStay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := newPipes()
		a, b := newTestMesh(t, network, testID(1)), newTestMesh(t, network, testID(2))
		a.want([]reduce.Peer{{ID: testID(2), Address: "pipe"}}, true)
		time.Sleep(time.Hour)
		if a.heard() != "c" || b.heard() != "c" {
			t.Errorf("after an idle hour: %q and %q", a.heard(), b.heard())
		}
	})
}

func TestSilentPeersAreDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := newPipes()
		m := newTestMesh(t, network, testID(1))
		raw := network.join(testID(2)).dial(t, testID(1))
		for range 10 {
			time.Sleep(deadAfter - time.Second)
			raw.say(nil)
		}
		if m.heard() != "c" {
			t.Fatalf("a peer that pings: %q", m.heard())
		}
		time.Sleep(deadAfter - time.Millisecond)
		if m.heard() != "c" {
			t.Errorf("shortly before its time: %q", m.heard())
		}
		time.Sleep(2 * time.Millisecond)
		if m.heard() != "cd" || raw.stands() {
			t.Errorf("a silent peer: %q", m.heard())
		}
		if r := m.reported(); len(r) != 1 || fault.KindOf(r[0]) != fault.Network {
			t.Errorf("reported: %v", r)
		}
	})
}

// TestDribblingPeersAreDropped: a peer is never silent, but its frame takes for
// ever.
func TestDribblingPeersAreDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := newPipes()
		m := newTestMesh(t, network, testID(1))
		raw := network.join(testID(2)).dial(t, testID(1))
		h, b := encode(smallShape, samples(smallShape)[0])
		raw.Write(h.append(nil))
		for start := time.Now(); raw.stands(); b = b[1:] {
			if took := time.Since(start); took > frameTime {
				t.Fatalf("a frame may take %v", took)
			}
			raw.Write(b[:1])
			time.Sleep(10 * time.Second)
		}
		if m.heard() != "cd" {
			t.Errorf("%q", m.heard())
		}
	})
}

// TestNewConnectionsReplaceSilentOnes: a preferred connection keeps its place
// only while something comes by it.
func TestNewConnectionsReplaceSilentOnes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := testID(2)
		m := newTestMesh(t, newPipes(), testID(1))
		attach := func(preferred bool) *rawPeer {
			c, raw := pair(t, p)
			m.attach(c, preferred)
			return raw
		}
		first := attach(true)
		time.Sleep(pingAfter)
		first.say(nil)
		time.Sleep(pingAfter)
		if second := attach(false); second.stands() || !first.stands() || m.heard() != "c" {
			t.Errorf("a living connection is replaced: %q", m.heard())
		}
		time.Sleep(time.Millisecond)
		third := attach(false)
		if first.stands() || !third.stands() || m.heard() != "cdc" {
			t.Errorf("a silent connection stays: %q", m.heard())
		}
		if fourth := attach(true); third.stands() || !fourth.stands() || m.heard() != "cdcdc" {
			t.Errorf("a preferred connection does not come first: %q", m.heard())
		}
		if r := m.reported(); len(r) != 0 {
			t.Errorf("no peer did wrong, yet: %v", r)
		}
	})
}

// TestBacklogIsBounded: what the driver has not handled is limited, in chunks
// and in other messages, and a new connection changes nothing about it.
func TestBacklogIsBounded(t *testing.T) {
	all := samples(smallShape)
	chunk, credit, vote := all[5], all[7], all[8].(reduce.VoteMessage)
	for len(vote.Receipts) < commit.MaxMembers {
		vote.Receipts = append(vote.Receipts, vote.Receipts[0])
	}
	limits := terms{smallShape, reduce.DefaultWindow, 0}
	_, long := encode(smallShape, vote)
	for name, tt := range map[string]struct {
		message reduce.Message
		most    int
	}{
		"chunks":   {chunk, limits.maxChunks()},
		"messages": {credit, maxOthers},
		"bytes":    {vote, limits.maxOtherBytes() / len(long)},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				network := newPipes()
				m, from := newTestMesh(t, network, testID(1)), network.join(testID(2))
				raw := from.dial(t, testID(1))
				for range tt.most {
					raw.say(tt.message)
				}
				if !raw.stands() || strings.Count(m.heard(), "m") != tt.most {
					t.Fatalf("what is allowed is too much: %q", m.heard())
				}
				raw.say(tt.message)
				if raw.stands() {
					t.Errorf("more than %d may wait", tt.most)
				}
				if r := m.reported(); len(r) != 1 || fault.KindOf(r[0]) != fault.Network {
					t.Errorf("reported: %v", r)
				}
				raw = from.dial(t, testID(1))
				raw.say(tt.message)
				if raw.stands() {
					t.Error("a new connection makes room")
				}
				for _, q := range m.events {
					if q.from != nil {
						q.from.handled(q)
					}
				}
				raw = from.dial(t, testID(1))
				raw.say(tt.message)
				if !raw.stands() {
					t.Error("there is no room when everything is handled")
				}
			})
		})
	}
}

// TestPeersThatCloseAreNotPestered: a peer that takes a connection and closes it
// at once, as one does that has no seat for us yet, is dialled with pauses.
func TestPeersThatCloseAreNotPestered(t *testing.T) {
	for near, far := range map[byte]byte{1: 2, 2: 1} { // the lower peer ID, and the higher one
		synctest.Test(t, func(t *testing.T) {
			network := newPipes()
			m, other := newTestMesh(t, network, testID(near)), network.join(testID(far))
			dials := 0
			go func() {
				for {
					c, err := other.Accept(t.Context())
					if err != nil {
						return
					}
					dials++
					c.Close()
				}
			}()
			m.want([]reduce.Peer{{ID: testID(far), Address: "pipe"}}, true)
			const minutes = 10
			time.Sleep(minutes * time.Minute)
			synctest.Wait()
			if most := int(minutes * time.Minute / lastPause); dials < most/3 || dials > most+20 {
				t.Errorf("peer %s is dialled %d times in %d minutes", testID(far).Short(), dials, minutes)
			}
		})
	}
}
