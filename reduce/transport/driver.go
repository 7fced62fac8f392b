package transport

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"lockstep/internal/fault"
	"lockstep/internal/signed"
	"lockstep/reduce"
	"lockstep/reduce/commit"
)

// DriverConfig says which machines a Driver runs, and over what.
type DriverConfig struct {
	Transport Transport
	Self      signed.PeerID
	Shape     commit.Shape
	Machines  []Plan
	Averages  *Averages

	// Notify gets every action that is the caller's business: Apply, CatchUp,
	// Diverged, Entered, Concluded, Stalled, Reopen, Refused. It is called in
	// order, on the driver's goroutine, and must not wait for the driver.
	Notify func(reduce.Action)
	// Keep makes evidence durable before the decision that rests on it is sent; an
	// error stops the driver. nil: nobody keeps it.
	Keep func(reduce.Convicted) error
	// Failed is called once if the driver cannot go on, because a journal, an
	// average or evidence could not be written, or a machine said what nobody could
	// read. Nothing is sent or applied after that.
	Failed func(error)
	// Dropped is called, now and then at most, when a connection ended by the
	// fault of a peer: it broke the protocol (fault.Damaged), or was silent or
	// beyond its limits (fault.Network). It must not wait for the driver. nil:
	// nobody listens.
	Dropped func(signed.PeerID, error)
	// Window is that of the machines; 0 means reduce.DefaultWindow.
	Window int
	// Throttle bounds what one connection sends, in bytes per second; 0 does not.
	Throttle int
}

// Plan is a machine and its journal.
type Plan struct {
	Journal string // file; empty for a machine that needs no memory
	Build   func(journal []reduce.Record) (reduce.Machine, error)
}

// compactAt is the size at which a journal is replaced by the least one from
// which its machine can be restored.
const compactAt = 1 << 20

// Driver runs machines: it gives them messages, connections and time, and does
// what they ask for, in order. One goroutine owns the machines.
type Driver struct {
	config   DriverConfig
	machines []machine
	mesh     *mesh
	start    time.Time

	mu    sync.Mutex
	queue []queued
	ready chan struct{} // has a token when queue is not empty

	closing chan struct{}
	done    chan struct{}
	once    sync.Once
}

type machine struct {
	reduce.Machine
	journal *Journal // nil without memory
}

// Start builds the machines from their journals and starts to run them.
func Start(c DriverConfig) (*Driver, error) {
	if c.Transport == nil || c.Averages == nil || c.Notify == nil || len(c.Machines) == 0 || !c.Shape.Valid() || c.Throttle < 0 {
		return nil, fault.Errorf(fault.Config, "driver: transport, averages, notify, shape and machines are needed")
	}
	if c.Window == 0 {
		c.Window = reduce.DefaultWindow
	}
	if c.Dropped == nil {
		c.Dropped = func(signed.PeerID, error) {}
	}
	d := &Driver{
		config: c, start: time.Now(), ready: make(chan struct{}, 1),
		closing: make(chan struct{}), done: make(chan struct{}),
	}
	for _, p := range c.Machines {
		m, err := open(p)
		if err != nil {
			d.closeJournals()
			return nil, err
		}
		d.machines = append(d.machines, m)
	}
	d.post(queued{event: reduce.Connected{Peer: c.Self}})
	d.mesh = newMesh(c.Self, c.Transport, terms{c.Shape, c.Window, c.Throttle}, d.post, c.Dropped)
	go d.run()
	return d, nil
}

// open builds a machine from its journal, and shortens the journal.
func open(p Plan) (machine, error) {
	if p.Journal == "" {
		m, err := p.Build(nil)
		return machine{Machine: m}, err
	}
	j, records, err := OpenJournal(p.Journal)
	if err != nil {
		return machine{}, err
	}
	m, err := p.Build(records)
	if err == nil {
		err = j.Rewrite(m.Records())
	}
	if err != nil {
		j.Close()
		return machine{}, err
	}
	return machine{m, j}, nil
}

// Post gives an event to all machines. It does not wait.
func (d *Driver) Post(e reduce.Event) { d.post(queued{event: e}) }

func (d *Driver) post(q queued) {
	d.mu.Lock()
	d.queue = append(d.queue, q)
	d.mu.Unlock()
	select {
	case d.ready <- struct{}{}:
	default:
	}
}

// Want keeps connections to peers from now on, beyond those that the machines
// ask for from time to time. Naming a peer again changes its address.
func (d *Driver) Want(peers []reduce.Peer) { d.mesh.want(peers, true) }

// Close stops the machines and ends all connections.
func (d *Driver) Close() error {
	err := errors.New("driver: closed twice")
	d.once.Do(func() {
		close(d.closing)
		<-d.done
		d.mesh.close()
		err = d.closeJournals()
	})
	return err
}

func (d *Driver) closeJournals() (err error) {
	for _, m := range d.machines {
		if m.journal != nil {
			err = errors.Join(err, m.journal.Close())
		}
	}
	return err
}

func (d *Driver) now() time.Duration { return time.Since(d.start) }

// run is the life of the machines.
func (d *Driver) run() {
	defer close(d.done)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		next := reduce.Never
		for _, m := range d.machines {
			next = min(next, m.Next())
		}
		if next != reduce.Never {
			timer.Reset(max(0, next-d.now()))
		}
		var err error
		select {
		case <-d.closing:
			return
		case <-d.ready:
			err = d.drain()
		case <-timer.C:
			err = d.tick()
		}
		if err != nil {
			d.fail(err)
			return
		}
	}
}

// fail ends the driver: a machine whose word is not on the disk must not speak.
func (d *Driver) fail(err error) {
	d.mesh.close()
	if d.config.Failed != nil {
		d.config.Failed(err)
	}
}

// tick wakes the machines whose time has come.
func (d *Driver) tick() error {
	for i := range d.machines {
		if d.machines[i].Next() <= d.now() {
			if err := d.step(i, reduce.Tick{}); err != nil {
				return err
			}
		}
	}
	return nil
}

// drain gives the machines what has come.
func (d *Driver) drain() error {
	d.mu.Lock()
	queue := d.queue
	d.queue = nil
	d.mu.Unlock()
	for _, q := range queue {
		if q.from == nil || !q.from.dropped.Load() {
			for i := range d.machines {
				if err := d.step(i, q.event); err != nil {
					return err
				}
			}
		}
		if q.from != nil {
			q.from.handled(q)
		}
		if err := d.tick(); err != nil { // a long queue must not hold up time
			return err
		}
	}
	return nil
}

// step gives one event to one machine and does what it asks for.
func (d *Driver) step(i int, e reduce.Event) error {
	m := &d.machines[i]
	actions := m.Step(d.now(), e)
	for len(actions) > 0 {
		records := leading(actions)
		if len(records) > 0 {
			if err := m.remember(records); err != nil {
				return err
			}
			actions = actions[len(records):]
			continue
		}
		if err := d.do(actions[0]); err != nil {
			return err
		}
		actions = actions[1:]
	}
	return m.compact()
}

// leading returns the records that actions begin with: they are written at once,
// for one sync instead of several.
func leading(actions []reduce.Action) (out []reduce.Record) {
	for _, a := range actions {
		r, ok := a.(reduce.Append)
		if !ok {
			break
		}
		out = append(out, r.Record)
	}
	return out
}

// remember writes records to the machine's journal.
func (m *machine) remember(records []reduce.Record) error {
	if m.journal == nil {
		return fault.Errorf(fault.Unexpected, "driver: a machine without a journal wants to remember")
	}
	return m.journal.Append(records...)
}

// compact shortens a journal that has grown.
func (m *machine) compact() error {
	if m.journal == nil || m.journal.size < m.journal.compactAt {
		return nil
	}
	if err := m.journal.Rewrite(m.Records()); err != nil {
		return err
	}
	m.journal.compactAt = max(compactAt, 2*m.journal.size)
	return nil
}

// do carries out one action other than Append.
func (d *Driver) do(a reduce.Action) error {
	switch a := a.(type) {
	case reduce.Send:
		return d.send(a)
	case reduce.Save:
		return d.config.Averages.Put(a, true)
	case reduce.Convicted:
		if d.config.Keep != nil {
			return d.config.Keep(a)
		}
	case reduce.Link:
		d.mesh.want(a.Peers, false)
	case reduce.Drop:
		d.mesh.drop(a.Peer)
	case reduce.Apply:
		d.config.Notify(a)
		dec := a.Certified.Decision()
		return d.config.Averages.Put(reduce.Save{
			Epoch: dec.Epoch, Attempt: dec.Attempt, Root: dec.Result, Average: a.Average, Leaves: a.Leaves,
		}, false)
	default:
		d.config.Notify(a)
	}
	return nil
}

// send encodes a message at once, for its slices are views. A message to this
// node itself goes through the same bytes as any other. An error says that this
// node wants to say what nobody could read: a defect of the machines.
func (d *Driver) send(s reduce.Send) error {
	if w, ok := s.Message.(reduce.WitnessMessage); ok { // never leaves its node
		d.post(queued{event: reduce.Arrival{From: d.config.Self, Message: w}})
		return nil
	}
	h, b := encode(d.config.Shape, s.Message)
	if most := maxPayload(d.config.Shape, h.kind); len(b) > most {
		return fault.Errorf(fault.Unexpected, "driver: a %T of %d bytes; peers take %d", s.Message, len(b), most)
	}
	if s.To != d.config.Self {
		d.mesh.send(s.To, frame{h, b})
		return nil
	}
	m, err := decode(d.config.Shape, h, b)
	if err != nil {
		return fmt.Errorf("driver: own %T: %w", s.Message, err)
	}
	d.post(queued{event: reduce.Arrival{From: s.To, Message: m}})
	return nil
}
