package reduce

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"time"

	"lockstep/internal/merkle"
	"lockstep/internal/signed"
	"lockstep/reduce/commit"
)

// node is a process of the simulated network: machines in memory, and a disk
// that survives crashes. It does what package swarm does around the machines.
type node struct {
	w       *world
	uid     int // members: their seat; the validator comes after them
	id      signed.PeerID
	role    role
	cfg     Config
	amnesia bool

	up       bool
	dead     bool // stays down once it crashes
	life     int  // counts starts
	frozen   bool // stands still; events pile up
	backlog  []Event
	awake    time.Duration // when it last started or went on
	machines []Machine
	ticks    []time.Duration
	claim    commit.Signed[commit.Claim] // published
	done     []work                      // gradients computed so far

	joined     slot // newest attempt joined, and in which life
	joinedLife int
	told       []merkle.Digest // rosters whose decision it was given in this life

	disk disk
}

type disk struct {
	epoch    uint64
	root     merkle.Digest
	journals [2][]Record
	averages []saved // newest last
	docket   []Concluded
}

type saved struct {
	epoch   uint64
	root    merkle.Digest
	average []float32
}

func (w *world) newNode(i int, seed uint64) *node {
	key := keyOf(seed, i)
	n := &node{w: w, uid: i, cfg: Config{Fingerprint: simSpec, RunID: simRun, Key: key, Shape: w.plan.shape, Window: w.plan.window}}
	if i < w.plan.members {
		n.role = w.plan.roles[i]
	}
	n.id = n.cfg.self()
	n.disk.root = sha256.Sum256([]byte("state 0"))
	return n
}

func (n *node) isMember() bool    { return n.uid < n.w.plan.members }
func (n *node) isValidator() bool { return n.uid == n.w.plan.members }

// start boots a node from its disk.
func (w *world) start(n *node) {
	n.up, n.frozen, n.backlog, n.awake = true, false, nil, w.now
	n.life++
	cfg := n.cfg
	cfg.Epoch, cfg.Root = n.disk.epoch, n.disk.root
	n.claim = commit.Signed[commit.Claim]{}
	n.machines, n.told = nil, nil
	switch {
	case n.isMember():
		m, err := NewMember(MemberConfig{cfg, uint32(n.uid)}, n.disk.journals[0])
		w.checker.must(err)
		n.machines = []Machine{m}
	case n.isValidator():
		l, err := NewLeader(LeaderConfig{Config: cfg, MinGroup: w.plan.minGroup, Deadline: w.plan.deadline, Backoff: 2 * time.Second}, n.disk.journals[0])
		w.checker.must(err)
		o, err := NewObserver(cfg)
		w.checker.must(err)
		n.machines = []Machine{l, o}
	default:
		o, err := NewObserver(cfg)
		w.checker.must(err)
		n.machines = []Machine{o}
	}
	if w.checker.err != nil {
		return
	}
	for i, m := range n.machines { // a start is when journals are compacted
		if !n.amnesia {
			n.disk.journals[i] = m.Records()
		}
	}
	n.ticks = make([]time.Duration, len(n.machines))
	for i := range n.ticks {
		n.ticks[i] = Never
	}
	life := n.life
	w.after(0, "boot", func() {
		if n.life == life && n.up {
			w.feed(n, Connected{n.id})
			w.schedule(n)
		}
	})
	for _, l := range w.links {
		if l.a == n || l.b == n {
			w.after(w.within(100*time.Millisecond), "dial", func() { w.connect(l) })
		}
	}
	if n.isMember() {
		w.train(n)
	}
	if n.isValidator() {
		w.after(w.within(100*time.Millisecond), "lead", func() { w.lead(n, life, 0) })
	}
}

// crash kills a node; what is not on its disk is gone.
func (w *world) crash(n *node) {
	if !n.up {
		return
	}
	n.up = false
	n.life++
	for _, l := range w.links {
		if l.up && (l.a == n || l.b == n) {
			l.up = false
			other := l.a
			if other == n {
				other = l.b
			}
			w.after(w.within(l.delay), "peer gone", func() {
				if !l.up {
					w.feed(other, Disconnected{n.id})
				}
			})
		}
	}
	if n.dead || !n.isValidator() && w.chance(w.plan.deadRate) {
		return // until the network heals
	}
	life, pause := n.life, w.within(3*time.Second)
	if w.script != nil {
		pause = 100 * time.Millisecond
	}
	w.after(pause, "restart", func() {
		if n.life == life && !n.up {
			w.start(n)
		}
	})
}

// feed gives an event to all machines of a node.
func (w *world) feed(n *node, e Event) {
	life := n.life
	if !n.up {
		return
	}
	if !n.frozen && w.chance(w.plan.freezeRate) {
		n.frozen = true
		w.after(w.within(6*time.Second), "thaw", func() {
			if n.life == life {
				w.thaw(n)
			}
		})
	}
	if n.frozen {
		n.backlog = append(n.backlog, e)
		return
	}
	if a, ok := e.(Arrival); ok {
		if d, ok := a.Message.(DecisionMessage); ok && d.Signatures[0].Doc().RunID == simRun {
			n.told = append(n.told, d.Roster)
		}
	}
	for i := range n.machines {
		w.step(n, i, e)
		if n.life != life {
			return
		}
	}
	w.schedule(n)
}

// thaw lets a node that stood still go on: first what has piled up.
func (w *world) thaw(n *node) {
	life, backlog := n.life, n.backlog
	n.frozen, n.backlog, n.awake = false, nil, w.now
	for k, e := range backlog {
		if n.life != life {
			return
		}
		if n.frozen { // again
			n.backlog = append(n.backlog, backlog[k:]...)
			return
		}
		w.feed(n, e)
	}
	if n.life == life {
		w.schedule(n)
	}
}

func (w *world) step(n *node, i int, e Event) {
	if a, ok := e.(Arrival); ok {
		w.checker.given(n, a)
	}
	actions := n.machines[i].Step(w.now, e)
	if n.role != honest {
		actions = n.role.twist(n, actions)
	}
	for _, a := range actions {
		if !w.carryOut(n, i, a) {
			return
		}
	}
}

// schedule arranges the next tick of each machine.
func (w *world) schedule(n *node) {
	for i, m := range n.machines {
		next := m.Next()
		if next == Never || next >= n.ticks[i] && n.ticks[i] > w.now {
			continue
		}
		n.ticks[i] = max(next, w.now)
		life, due := n.life, n.ticks[i]
		w.at(due, fmt.Sprintf("tick %d.%d", n.uid, i), func() {
			if n.life != life || n.ticks[i] != due || !n.up {
				return
			}
			n.ticks[i] = Never
			if n.frozen {
				return
			}
			if n.machines[i].Next() <= w.now {
				w.step(n, i, Tick{})
			}
			if n.life == life {
				w.schedule(n)
			}
		})
	}
}

// carryOut does one action; it returns false when the node crashed around it.
func (w *world) carryOut(n *node, i int, a Action) bool {
	_, isAppend := a.(Append)
	rate := w.plan.crashRate / 20
	if isAppend {
		rate = w.plan.crashRate * 4
	}
	if w.chance(rate) || w.script != nil && w.script(n, a, before) {
		w.crash(n)
		return false
	}
	w.show("    %d: %T", n.uid, a)
	w.trace.action(n, i, a)
	w.checker.action(n, a)
	switch a := a.(type) {
	case Append:
		if r, err := ParseRecord(a.Record.Encode()); w.checker.must(err) && !n.amnesia {
			n.disk.journals[i] = append(n.disk.journals[i], r)
		}
	case Save:
		n.keep(saved{a.Epoch, a.Root, append([]float32(nil), a.Average...)})
	case Send:
		w.post(n, a.To, a.Message)
	case Drop:
		if p := w.nodeOf(a.Peer); p != nil && p != n {
			w.reset(w.link(n, p))
		}
	case Apply:
		n.keep(saved{a.Certified.Decision().Epoch, a.Certified.Decision().Result, append([]float32(nil), a.Average...)})
		w.apply(n, a.Certified.Decision())
	case CatchUp:
		w.catchUp(n, a.Certified)
	case Concluded:
		n.disk.docket = append(n.disk.docket, a)
	case Reopen:
		life := n.life
		w.after(0, "reopen", func() { w.lead(n, life, a.Epoch) })
	}
	if w.chance(rate) || w.script != nil && w.script(n, a, after) {
		w.crash(n)
		return false
	}
	return n.up
}

// when says on which side of an action a scripted crash happens.
type when bool

const (
	before when = false
	after  when = true
)

// heard reports whether the node was given a decision since it started.
func (n *node) heard(d commit.Decision) bool { return slices.Contains(n.told, d.Roster) }

func (n *node) keep(s saved) {
	for _, have := range n.disk.averages {
		if have.root == s.root && have.epoch == s.epoch {
			return
		}
	}
	n.disk.averages = append(n.disk.averages, s)
	for len(n.disk.averages) > 4 {
		n.disk.averages = n.disk.averages[1:]
	}
}
