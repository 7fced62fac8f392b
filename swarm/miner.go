package swarm

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"lockstep/internal/signed"
	"lockstep/reduce"
	"lockstep/reduce/commit"
	"lockstep/swarm/control"
)

// MinerConfig configures a miner.
type MinerConfig struct {
	Node
	Validator  Address       // where to join, and whose word counts
	JoinWithin time.Duration // how long the validator may be away at the start; 0: 30 s
	Throttle   int           // bytes per second of vectors that it serves; 0: no limit
	Cheat      Cheat         // for demonstrations
}

// miner is a node that computes gradients.
type miner struct {
	*node
	cfg   MinerConfig
	uid   uint32
	shelf shelf

	certified *mailbox[control.Record] // newest records, from the validator
	now       latest                   // what the validator said last
	ended     chan struct{}            // closed when the run is over

	averaging bool          // this miner takes part in an attempt right now
	steps     atomic.Uint64 // micro-batches since the start
	samples   atomic.Uint64 // sequences since the start
	done      *stepped
}

// stepped is what is known of the last step until its record comes.
type stepped struct {
	epoch   uint64
	members []uint32
	attempt uint32
	tokens  uint64
	norm    float64
	rate    float64
	began   time.Time
}

// latest is a Progress without its record.
type latest struct {
	mu sync.Mutex
	p  control.Progress
}

func (l *latest) set(p control.Progress) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p.Record = nil
	l.p = p
}

func (l *latest) get() control.Progress {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.p
}

// RunMiner joins a network and works in it until the run ends, Stop is closed
// (then it finishes the round it is in and leaves politely) or ctx ends (then
// it leaves at once; what was saved is consistent). It returns nil in the first
// two cases.
func RunMiner(ctx context.Context, cfg MinerConfig) error {
	m := &miner{cfg: cfg, certified: newMailbox[control.Record](), ended: make(chan struct{})}
	n, err := openNode(ctx, cfg.Node, commit.Solo(cfg.Validator.Peer))
	if err != nil {
		return err
	}
	m.node = n
	defer n.close()
	n.book.follow(m.fetchRegistry, cfg.Validator)
	var throttle *control.Budget
	if cfg.Throttle > 0 {
		throttle = control.NewBudget(float64(cfg.Throttle), float64(cfg.Throttle)/4)
	}
	routes := append(m.shelf.routes(), control.Route{
		Pattern: "POST /v1/push/{epoch}", Access: control.Validators, Body: signed.MaxDocument, Query: "push", Serve: m.servePush,
	})
	err = m.enter(n.ctx, func() { n.serve(control.Miner, throttle, routes) })
	if err == nil {
		stopWatching := m.startWatching(n.ctx)
		err = m.work(n.ctx)
		stopWatching() // or it would join again as soon as it hears that it left
		if ctx.Err() == nil {
			m.leave()
		}
	}
	return m.reason(err)
}

// enter joins and starts the member's machine. Nobody is answered before this
// miner knows its seat; whoever calls earlier waits for serve.
func (m *miner) enter(ctx context.Context, serve func()) error {
	joined, err := m.joinFirst(ctx)
	if err != nil {
		return err
	}
	m.uid = joined.UID
	m.now.set(control.Progress{Latest: joined.Latest, Final: joined.Final, Seated: true})
	build := func(journal []reduce.Record) (reduce.Machine, error) {
		member, err := reduce.NewMember(reduce.MemberConfig{Config: m.machineConfig(), UID: m.uid}, journal)
		if err != nil {
			return nil, err
		}
		return forge(member, m.cfg.Cheat, m.uid, m.id.Key, m.shape), nil
	}
	if err := m.drive(machinePlan{"member", true, build}); err != nil {
		return err
	}
	serve()
	m.meet()
	return nil
}

// work runs epoch after epoch until there is nothing more to do.
func (m *miner) work(ctx context.Context) error {
	for {
		var again bool
		var err error
		if final := m.now.get().Final; final > 0 && m.state.Epoch >= final {
			again, err = m.linger(ctx)
		} else {
			again, err = m.epoch(ctx)
		}
		if err != nil || !again {
			return err
		}
	}
}

// linger stays after the last epoch, so that others can still ask for state,
// average and claim, until the validator ends the run.
func (m *miner) linger(ctx context.Context) (again bool, err error) {
	m.progress("waiting", 0)
	for {
		select {
		case <-m.mail.ready:
			m.mail.take() // nothing is left to decide
		case <-m.certified.ready:
			if r, ok := m.certified.take(); ok {
				moved, err := m.heard(ctx, r, nil)
				if err != nil || moved {
					return err == nil, err
				}
			}
		case <-m.ended:
			return m.over()
		case <-m.Stop:
			return false, nil
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
}

// over reports the end of the run.
func (m *miner) over() (again bool, err error) {
	m.emit(Ended{m.state.Epoch, m.digests.root})
	return false, nil
}

// grace is how long a member waits for its own average after it heard that the
// epoch is certified. Usually the average is there already.
const grace = 3 * time.Second

// epoch computes this miner's claim for the epoch after its state's and takes
// part in the averaging, until the state has moved. again is false when the
// miner should leave.
func (m *miner) epoch(ctx context.Context) (again bool, err error) {
	c := m.compute(ctx)
	defer c.stop()
	computed, stop, leaving := c.done, m.Stop, false
	var behind *control.Record // certified, and our own average is overdue
	overdue, gone := timer(), timer()
	defer overdue.Stop()
	defer gone.Stop()
	for err == nil {
		moved := false
		select {
		case <-computed:
			computed = nil
			err = m.offer(c)
		case <-m.mail.ready:
			if a, ok := m.mail.take(); ok {
				moved, err = m.act(ctx, a, c)
			}
		case <-m.certified.ready:
			if r, ok := m.certified.take(); ok {
				if moved, err = m.heard(ctx, r, c); !moved && r.Epoch > m.state.Epoch {
					behind = &r
					overdue.Reset(grace)
				}
			}
		case <-overdue.C:
			c.stop()
			moved, err = true, m.follow(ctx, *behind)
		case <-stop:
			stop, leaving = nil, true
			gone.Reset(politeness)
		case <-gone.C:
			return false, nil
		case <-m.ended:
			return m.over()
		case <-ctx.Done():
			return false, ctx.Err()
		}
		if moved || leaving && !m.averaging {
			return !leaving, err
		}
	}
	return false, err
}

// timer returns a timer that does not run until it is reset.
func timer() *time.Timer {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return t
}

// politeness bounds how long a leaving miner waits for the end of its round.
const politeness = time.Minute

// act carries out one action of the member's machine. moved reports that the
// state did.
func (m *miner) act(ctx context.Context, a reduce.Action, c *computation) (moved bool, err error) {
	switch a := a.(type) {
	case reduce.Apply:
		d := a.Certified.Decision()
		if d.Epoch != m.state.Epoch+1 {
			return false, nil // we moved on by another way
		}
		c.stop()
		return true, m.apply(ctx, a)
	case reduce.CatchUp:
		d := a.Certified.Decision()
		if d.Epoch != m.state.Epoch+1 {
			return false, nil // its record will tell
		}
		c.stop()
		return m.followAverage(ctx, d)
	case reduce.Diverged:
		// The record of our own epoch, which names the state, is on its way.
		m.warn("epoch %d starts from state %s, this node has %s", a.Epoch, a.Want.Short(), a.Have.Short())
	case reduce.Entered:
		m.averaging = a.Phase != reduce.PhaseIdle
		m.progress("averaging: "+a.Phase.String(), 0)
	case reduce.Refused:
		m.warn("%v", a.Err)
	}
	return false, nil
}

// apply takes the step that a certificate names and makes it durable.
func (m *miner) apply(ctx context.Context, a reduce.Apply) error {
	began := time.Now()
	info, err := m.step(a.Average)
	if err != nil {
		return err
	}
	d := a.Certified.Decision()
	m.done = &stepped{d.Epoch, d.Members, d.Attempt, d.Tokens, info.Norm, info.Rate, began}
	return m.settle(ctx)
}

// settle makes the state in memory the node's state: on disk, shown to others,
// and known to the machine. Whatever kills the node before the save leaves it
// one epoch behind, which it catches up; afterwards nothing is lost.
func (m *miner) settle(ctx context.Context) error {
	if err := m.save(ctx, m.now.get().Tagged); err != nil {
		return err
	}
	m.shelf.retire()
	m.averaging = false
	m.driver.Post(reduce.Applied{Epoch: m.state.Epoch, Root: m.digests.root})
	return nil
}

// heard compares a certified epoch with where this miner stands.
func (m *miner) heard(ctx context.Context, r control.Record, c *computation) (moved bool, err error) {
	d, err := m.decisionOf(r)
	if err != nil {
		m.warn("%v", err)
		return false, nil
	}
	root := rootOf(r.State)
	switch {
	case r.Epoch < m.state.Epoch:
		return false, nil
	case r.Epoch == m.state.Epoch && root == m.digests.root:
		m.confirm(r)
		return false, nil
	case r.Epoch == m.state.Epoch:
		m.warn("state root %s after epoch %d; the certified one is %s: taking the state of the others", m.digests.root.Short(), r.Epoch, root.Short())
	case r.Epoch == m.state.Epoch+1 && m.averaging && slices.Contains(d.Members, m.uid):
		return false, nil // our own average is on its way
	}
	if c != nil {
		c.stop()
	}
	return true, m.follow(ctx, r)
}

// confirm reports an epoch whose state is the certified one.
func (m *miner) confirm(r control.Record) {
	m.tokens.Store(r.Tokens)
	s := m.done
	if s == nil || s.epoch != r.Epoch {
		return
	}
	m.done = nil
	m.emit(Committed{
		Epoch: r.Epoch, Loss: r.Loss() / float64(s.tokens), State: m.digests.root, Members: s.members,
		Attempts: s.attempt, Tokens: s.tokens, Norm: s.norm, Rate: s.rate, Seconds: time.Since(s.began).Seconds(),
	})
}

// follow takes a certified epoch from others: the average if only that is
// missing, else the whole state. It goes on trying until ctx ends.
func (m *miner) follow(ctx context.Context, r control.Record) error {
	for wait := time.Second; ; wait = min(2*wait, 30*time.Second) {
		m.progress("catching up", 0)
		from, err := m.catchUp(ctx, r)
		if err == nil {
			if err := m.settle(ctx); err != nil {
				return err
			}
			m.tokens.Store(r.Tokens)
			m.emit(CaughtUp{m.uid, r.Epoch, from, m.digests.root})
			return nil
		}
		if ctx.Err() != nil || !mayPass(err) {
			return err
		}
		m.warn("epoch %d cannot be taken from the others yet: %v", r.Epoch, err)
		if err := m.pause(ctx, wait); err != nil {
			return err
		}
		if newer, ok := m.certified.last(); ok && newer.Epoch > r.Epoch {
			r = newer
		}
	}
}

// followAverage takes the one average that is missing, before the validator has
// published the epoch's record. If nobody can give it, the record will bring
// the whole state.
func (m *miner) followAverage(ctx context.Context, d commit.Decision) (moved bool, err error) {
	if err := m.takeAverage(ctx, d); err != nil {
		if ctx.Err() == nil && mayPass(err) {
			return false, nil
		}
		return false, err
	}
	if err := m.settle(ctx); err != nil {
		return false, err
	}
	m.emit(CaughtUp{m.uid, d.Epoch, "average", m.digests.root})
	return true, nil
}
