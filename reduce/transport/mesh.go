package transport

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"time"

	"lockstep/internal/fault"
	"lockstep/internal/signed"
	"lockstep/reduce"
)

// Pauses between attempts to connect.
const (
	firstPause = 50 * time.Millisecond
	lastPause  = 2 * time.Second
	// otherWay is how long the higher peer ID waits for the lower one to dial
	// before it tries by itself.
	otherWay = time.Second
	// reportEvery bounds how often peers can make a node say what they did.
	reportEvery = 10 * time.Second
)

// mesh keeps one bulk connection to each wanted peer and takes those that
// others open. The lower peer ID dials; the higher one helps out where the
// lower cannot reach it. If both succeed, the lower one's connection stays.
type mesh struct {
	self      signed.PeerID
	transport Transport
	terms     terms
	post      func(queued)
	report    func(p signed.PeerID, why error) // of a connection that a peer's fault ended

	ctx     context.Context
	cancel  context.CancelFunc
	workers sync.WaitGroup

	mu       sync.Mutex
	closed   bool
	conns    map[signed.PeerID]*conn
	backlogs map[signed.PeerID]*backlog // of all who ever connected: members of the registry
	wanted   map[signed.PeerID]*wish
	reported time.Time // when report was last called
}

// wish is a peer that a connection is kept to.
type wish struct {
	address string
	named   time.Time     // when a machine last asked for it
	always  bool          // the caller asked for it
	lost    chan struct{} // has a token when the connection went away
}

// queued is an event on its way to the machines, and the connection it came by.
type queued struct {
	event   reduce.Event
	from    *conn  // of an Arrival
	payload []byte // the memory that an Arrival views
}

func newMesh(self signed.PeerID, t Transport, terms terms, post func(queued), report func(signed.PeerID, error)) *mesh {
	ctx, cancel := context.WithCancel(context.Background())
	m := &mesh{
		self: self, transport: t, terms: terms, post: post, report: report, ctx: ctx, cancel: cancel,
		conns: map[signed.PeerID]*conn{}, backlogs: map[signed.PeerID]*backlog{}, wanted: map[signed.PeerID]*wish{},
	}
	m.workers.Go(m.accept)
	return m
}

// accept takes connections that others open.
func (m *mesh) accept() {
	for {
		c, err := m.transport.Accept(m.ctx)
		if err != nil {
			return // closed
		}
		m.attach(c, m.lower(c.Peer()))
	}
}

// lower reports whether p is the one of the two of us that dials.
func (m *mesh) lower(p signed.PeerID) bool { return bytes.Compare(p[:], m.self[:]) < 0 }

// want asks for connections; peers that are wanted already get their newest
// address.
func (m *mesh) want(peers []reduce.Peer, always bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range peers {
		if p.ID == m.self || m.closed {
			continue
		}
		w := m.wanted[p.ID]
		if w == nil {
			w = &wish{lost: make(chan struct{}, 1)}
			m.wanted[p.ID] = w
			m.workers.Go(func() { m.keep(p.ID, w) })
		}
		w.named, w.always = time.Now(), w.always || always
		if p.Address != "" {
			w.address = p.Address
		}
	}
}

// keep dials a wanted peer whenever there is no connection to it, until no
// machine has asked for it in a long time, unless the caller did. Pauses grow
// also where connections come about, but do not last: the peer may not know yet
// that we have a seat.
func (m *mesh) keep(p signed.PeerID, w *wish) {
	pause := firstPause
	if m.lower(p) && !m.wait(otherWay) {
		return
	}
	for {
		m.mu.Lock()
		address, connected := w.address, m.conns[p] != nil
		if !connected && !w.always && time.Since(w.named) > maxIdleness {
			delete(m.wanted, p)
			m.mu.Unlock()
			return
		}
		m.mu.Unlock()
		if connected {
			began := time.Now()
			select {
			case <-w.lost:
			case <-m.ctx.Done():
				return
			}
			if time.Since(began) > lastPause {
				pause = firstPause
			}
			if m.lower(p) && !m.wait(otherWay) {
				return
			}
		} else if address != "" && m.dial(p, address) {
			continue
		}
		if !m.wait(pause) {
			return
		}
		pause = min(2*pause, lastPause)
	}
}

// dial opens a connection to a peer, and reports whether it was put to work.
func (m *mesh) dial(p signed.PeerID, address string) bool {
	c, err := m.transport.Dial(m.ctx, p, address)
	return err == nil && m.attach(c, !m.lower(p))
}

// wait pauses; false means that the mesh is closed.
func (m *mesh) wait(d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-m.ctx.Done():
		return false
	}
}

// Why connections end that break no rule.
var (
	errSurplus  = errors.New("another connection to this peer stands")
	errReplaced = errors.New("a newer connection takes its place")
	errBroken   = errors.New("a machine breaks with this peer")
	errClosed   = errors.New("the mesh is closed")
)

// attach puts a new connection to work. It takes the place of another unless
// that one is preferred and alive: a peer that was restarted, or lost its
// connection without our noticing, must not wait for us to notice. The machines
// hear Connected, after Disconnected if a connection was replaced. attach reports
// whether the connection stays.
func (m *mesh) attach(raw Conn, preferred bool) bool {
	p := raw.Peer()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.backlogs[p] == nil {
		m.backlogs[p] = &backlog{}
	}
	c := newConn(raw, preferred, m.terms, m.backlogs[p])
	old := m.conns[p]
	if m.closed || p == m.self || (old != nil && old.preferred && !c.preferred && old.silence() <= pingAfter) {
		c.stop(errSurplus)
		return false
	}
	if old != nil {
		old.stop(errReplaced)
		m.post(queued{event: reduce.Disconnected{Peer: p}})
	}
	m.conns[p] = c
	m.post(queued{event: reduce.Connected{Peer: p}})
	m.workers.Go(func() {
		m.detach(c, c.read(func(msg reduce.Message, payload []byte) {
			m.post(queued{reduce.Arrival{From: p, Message: msg}, c, payload})
		}))
	})
	m.workers.Go(func() { m.detach(c, c.write()) })
	return true
}

// detach forgets a connection that has ended, for a reason.
func (m *mesh) detach(c *conn, reason error) {
	c.stop(reason)
	p := c.Peer()
	m.mu.Lock()
	if m.conns[p] != c { // replaced, or detached by its other goroutine
		m.mu.Unlock()
		return
	}
	delete(m.conns, p)
	m.post(queued{event: reduce.Disconnected{Peer: p}})
	if w := m.wanted[p]; w != nil {
		select {
		case w.lost <- struct{}{}:
		default:
		}
	}
	why := c.why()
	tell := fault.KindOf(why) == fault.Damaged || fault.KindOf(why) == fault.Network
	tell = tell && time.Since(m.reported) >= reportEvery
	if tell {
		m.reported = time.Now()
	}
	m.mu.Unlock()
	if tell {
		m.report(p, why)
	}
}

// send queues a message for a peer; without a connection it is lost.
func (m *mesh) send(to signed.PeerID, f frame) {
	m.mu.Lock()
	c := m.conns[to]
	m.mu.Unlock()
	if c != nil {
		c.send(f)
	}
}

// drop closes the connection to a peer that broke the protocol.
func (m *mesh) drop(p signed.PeerID) {
	m.mu.Lock()
	c := m.conns[p]
	m.mu.Unlock()
	if c != nil {
		c.dropped.Store(true)
		m.detach(c, errBroken)
	}
}

// close ends all connections and waits for the goroutines.
func (m *mesh) close() {
	m.mu.Lock()
	m.closed = true
	for _, c := range m.conns {
		c.stop(errClosed)
	}
	m.mu.Unlock()
	m.cancel()
	m.workers.Wait()
}
