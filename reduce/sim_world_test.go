package reduce

import (
	"container/heap"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"time"

	"lockstep/internal/merkle"
	"lockstep/internal/signed"
	"lockstep/internal/spec"
	"lockstep/reduce/commit"
)

// world is a network in one goroutine: virtual time, nodes with disks, links
// that delay and break, and a checker that looks at everything. All of it is a
// function of the seed.
type world struct {
	rng     *rand.Rand
	plan    plan
	now     time.Duration
	queue   agenda
	seq     int
	nodes   []*node // members in uid order, then the validator, then a bystander
	links   []*link // for each pair of nodes
	checker *checker
	trace   *trace // nil: nobody looks
	events  int
	faults  bool // false once the network is healed

	// script, where set, says which actions a node crashes before or after.
	script func(n *node, a Action, t when) bool
}

// plan is what one seed draws.
type plan struct {
	members   int
	bystander bool // an observer on a node of its own
	roles     []role
	shape     commit.Shape
	window    int
	epochs    uint64
	minGroup  int
	spoil     uint64 // changes the values in gradients
	patient   bool   // the leader waits for the claims of all members
	deadline  time.Duration

	slow       time.Duration // largest delay of a link
	resetRate  float64       // of a message breaking its link, itself and all in flight lost
	replayRate float64       // of a message arriving again, later
	ghostRate  float64       // of a decision of an earlier run arriving before it
	flipRate   float64       // of a message arriving damaged
	crashRate  float64       // of a crash before or after an action
	freezeRate float64       // of a node standing still for a while
	deadRate   float64       // of a crashed node staying down until the network heals
}

// simSpec and simRun name the simulated run, pastRun an earlier one of the same
// spec and the same keys.
var (
	simSpec = merkle.Digest(sha256.Sum256([]byte("simulated spec")))
	simRun  = spec.RunID(sha256.Sum256([]byte("simulated run")))
	pastRun = spec.RunID(sha256.Sum256([]byte("an earlier run")))
)

// mutation is a defect of the whole run that the checker must find.
type mutation struct {
	members mutant
	leader  mutant
	amnesia bool // nothing is kept in journals
}

func drawPlan(seed uint64) plan {
	rng := rand.New(rand.NewPCG(seed, 1))
	n := 1 + rng.IntN(6)
	p := plan{
		members: n, bystander: rng.IntN(4) == 0, roles: make([]role, n),
		window: 1 + rng.IntN(4), epochs: 2, minGroup: 1 + rng.IntN(min(n, 2)), deadline: time.Duration([]int{4, 10, 10, 30}[rng.IntN(4)]) * time.Second,
		slow: time.Duration(1+rng.IntN([]int{5, 60, 60, 400}[rng.IntN(4)])) * time.Millisecond,
	}
	p.deadline = max(p.deadline, 60*p.slow) // a round takes a handful of link delays
	p.shape = commit.Shape{Codec: merkle.CodecF32, LeafElements: 4, ChunkLeaves: 1 + rng.IntN(2)}
	p.shape.Elements = 1 + rng.IntN(7*p.shape.ChunkElements())
	rate := func(percent float64) float64 {
		if rng.IntN(2) == 0 {
			return 0
		}
		return percent / 100 * rng.Float64()
	}
	p.resetRate, p.replayRate, p.flipRate, p.ghostRate = rate(3), rate(2), rate(1), rate(0.5)
	p.crashRate, p.freezeRate, p.deadRate = rate(2), rate(0.5), rate(60)
	// A liar whom nobody can convict takes one honest member with it, so there
	// must be enough of them for the rest to go on.
	if liars := (n - p.minGroup) / 2; liars > 0 && rng.IntN(2) == 0 {
		for range 1 + rng.IntN(liars) {
			p.roles[rng.IntN(n)] = role(1 + rng.IntN(int(roleCount)-1))
		}
	}
	return p
}

func newWorld(seed uint64, p plan, mut mutation, t *trace) *world {
	w := &world{rng: rand.New(rand.NewPCG(seed, 2)), plan: p, trace: t, faults: true}
	w.checker = newChecker(w)
	total := p.members + 1
	if p.bystander {
		total++
	}
	for i := range total {
		w.nodes = append(w.nodes, w.newNode(i, seed))
	}
	validators := commit.Solo(w.validator().id)
	for _, n := range w.nodes {
		n.cfg.Validators = validators
		if n.uid == int(p.members) {
			n.cfg.mutant = mut.leader
		} else if n.role == honest {
			n.cfg.mutant = mut.members
		}
		n.amnesia = mut.amnesia && n.role == honest
	}
	for i := range w.nodes {
		for k := range i {
			w.links = append(w.links, &link{a: w.nodes[k], b: w.nodes[i], delay: w.within(p.slow)})
		}
	}
	for _, n := range w.nodes {
		w.start(n)
	}
	return w
}

func (w *world) validator() *node { return w.nodes[w.plan.members] }

// within draws a duration below d.
func (w *world) within(d time.Duration) time.Duration {
	return time.Duration(w.rng.Int64N(int64(d) + 1))
}

func (w *world) chance(rate float64) bool { return w.faults && rate > 0 && w.rng.Float64() < rate }

// task is something that happens at a time.
type task struct {
	at   time.Duration
	seq  int
	what string
	do   func()
}

type agenda []task

func (a agenda) Len() int { return len(a) }
func (a agenda) Less(i, j int) bool {
	return a[i].at < a[j].at || a[i].at == a[j].at && a[i].seq < a[j].seq
}
func (a agenda) Swap(i, j int) { a[i], a[j] = a[j], a[i] }
func (a *agenda) Push(x any)   { *a = append(*a, x.(task)) }
func (a *agenda) Pop() any {
	old := *a
	t := old[len(old)-1]
	*a = old[:len(old)-1]
	return t
}

func (w *world) at(t time.Duration, what string, do func()) {
	w.seq++
	heap.Push(&w.queue, task{t, w.seq, what, do})
}

func (w *world) after(d time.Duration, what string, do func()) { w.at(w.now+d, what, do) }

// run lets things happen until done says so, the limit is passed, or the
// checker found something.
func (w *world) run(limit time.Duration, done func() bool) bool {
	for len(w.queue) > 0 && w.checker.err == nil {
		if done() {
			return true
		}
		t := heap.Pop(&w.queue).(task)
		if t.at > limit {
			heap.Push(&w.queue, t)
			return done()
		}
		w.now = t.at
		w.events++
		w.trace.event(t.at, t.what)
		w.show("%s", t.what)
		t.do()
		w.checker.always()
		if w.events > 200_000 {
			w.checker.fail(16, "more events than any round needs")
		}
	}
	return done()
}

// show prints what happens, for one who replays a seed.
func (w *world) show(format string, args ...any) {
	if *simShow {
		fmt.Printf("%12v %s\n", w.now, fmt.Sprintf(format, args...))
	}
}

// link joins two nodes. Each direction keeps order; a reset loses all in
// flight.
type link struct {
	a, b  *node
	delay time.Duration
	up    bool
	life  int              // counts connections
	last  [2]time.Duration // of the newest delivery, each way
}

func (w *world) link(a, b *node) *link {
	for _, l := range w.links {
		if l.a == a && l.b == b || l.a == b && l.b == a {
			return l
		}
	}
	return nil
}

// connect brings a link up when both ends live.
func (w *world) connect(l *link) {
	if l.up || !l.a.up || !l.b.up {
		return
	}
	l.up = true
	l.life++
	l.last = [2]time.Duration{}
	life := l.life
	for _, ends := range [][2]*node{{l.a, l.b}, {l.b, l.a}} {
		w.after(w.within(l.delay), "connected", func() {
			if l.up && l.life == life {
				w.feed(ends[0], Connected{ends[1].id})
			}
		})
	}
}

// reset breaks a link; both ends notice, and it comes back.
func (w *world) reset(l *link) {
	if !l.up {
		return
	}
	l.up = false
	w.feed(l.a, Disconnected{l.b.id})
	w.feed(l.b, Disconnected{l.a.id})
	w.after(w.within(300*time.Millisecond), "reconnect", func() { w.connect(l) })
}

// post sends a message over the link to a peer.
func (w *world) post(from *node, to signed.PeerID, m Message) {
	if to == from.id {
		life := from.life
		w.after(0, "loopback", func() {
			if from.life == life {
				w.feed(from, Arrival{from.id, landed(from, m)})
			}
		})
		return
	}
	dst := w.nodeOf(to)
	if dst == nil {
		return
	}
	l := w.link(from, dst)
	if !l.up {
		return
	}
	m = landed(from, m)
	way := 0
	if l.b == from {
		way = 1
	}
	at := max(l.last[way], w.now+l.delay/2+w.within(l.delay))
	l.last[way] = at
	life := l.life
	kind := fmt.Sprintf("%T %d>%d", m, from.uid, dst.uid)
	switch {
	case w.chance(w.plan.resetRate):
		w.at(at, "reset", func() {
			if l.life == life {
				w.reset(l)
			}
		})
		return
	case w.chance(w.plan.flipRate):
		if m = w.damage(m); m == nil { // the transport notices and hangs up
			w.at(at, "damage", func() {
				if l.life == life {
					w.reset(l)
				}
			})
			return
		}
	case w.chance(w.plan.ghostRate):
		ghost := w.ghost(m)
		w.at(at, "ghost of "+kind, func() {
			if l.up && l.life == life {
				w.feed(dst, Arrival{from.id, ghost})
			}
		})
	case w.chance(w.plan.replayRate):
		w.at(at+w.within(8*time.Second), "replay "+kind, func() {
			if l.up {
				w.feed(dst, Arrival{from.id, m})
			}
		})
	}
	w.at(at, kind, func() {
		if l.up && l.life == life {
			w.feed(dst, Arrival{from.id, m})
		}
	})
}

// ghost is what somebody kept of an earlier run with the same spec and keys: the
// validator's decision over the epoch that is open now, or a later one.
func (w *world) ghost(m Message) Message {
	d := commit.Decision{
		Fingerprint: simSpec, RunID: pastRun, Epoch: w.validator().disk.epoch + 1 + w.rng.Uint64N(2), Attempt: 1 + w.rng.Uint32N(3),
		Roster: m.RosterID(), Verdict: commit.Commit, Result: sha256.Sum256([]byte("an earlier average")),
	}
	if w.rng.IntN(2) == 0 {
		d.Verdict, d.Result = commit.Abort, merkle.Digest{}
	}
	return DecisionMessage{d.Roster, []commit.Signed[commit.Decision]{commit.Seal(d, w.validator().cfg.Key)}}
}

// landed turns an outgoing message into what the receiver's transport makes of
// it: chunks arrive as bytes, with the digests of those bytes.
func landed(from *node, m Message) Message {
	c, ok := m.(ChunkMessage)
	if !ok || c.Payload != nil {
		return m
	}
	c.Payload = make([]byte, 4*len(c.Data))
	commit.Encode(c.Payload, c.Data)
	c.Data = nil
	h := c.Header.Doc()
	c.Digests = from.cfg.Shape.ChunkDigests(h.Stream.Kind(), int(h.Chunk), c.Payload)
	return c
}

func (w *world) nodeOf(p signed.PeerID) *node {
	for _, n := range w.nodes {
		if n.id == p {
			return n
		}
	}
	return nil
}

func keyOf(seed uint64, i int) ed25519.PrivateKey {
	var b [16]byte
	binary.LittleEndian.PutUint64(b[:], seed)
	binary.LittleEndian.PutUint64(b[8:], uint64(i))
	s := sha256.Sum256(b[:])
	return ed25519.NewKeyFromSeed(s[:])
}
