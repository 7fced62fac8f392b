package swarm

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"lockstep/hub"
	"lockstep/internal/merkle"
	"lockstep/internal/spec"
	"lockstep/model"
	"lockstep/stream"
	"lockstep/stream/tokenizer"
	"lockstep/swarm/control"
)

// testRun is a run of nano on the built-in corpus.
func testRun(t testing.TB, change ...func(*spec.Run)) (*spec.Run, stream.Source) {
	t.Helper()
	source, err := stream.Open(t.Context(), stream.BuiltinName)
	if err != nil {
		t.Fatal(err)
	}
	config, _ := model.Builtin("nano")
	tok := tokenizer.Nano()
	r := &spec.Run{
		Format: spec.Format, Contract: merkle.Contract, Codec: "f32",
		Model:     config.Spec("nano"),
		Init:      spec.Init{Kind: "seed"},
		Tokenizer: spec.Tokenizer{Name: tok.Name(), Digest: tok.Digest()},
		Data:      spec.Data{Source: source.Name(), Identity: source.Identity(), Rows: source.Rows()},
		Assignment: spec.Assignment{
			Seed: 7, Slots: 8, SegmentsPerMiner: 1, SegmentRows: 100, SeqLen: 32, Sequences: 4,
		},
		Optimizer: spec.Optimizer{LearningRate: 1e-3, Beta1: 0.9, Beta2: 0.95, Epsilon: 1e-8, WeightDecay: 0.1, ClipNorm: 1},
	}
	for _, c := range change {
		c(r)
	}
	if err := r.Validate(); err != nil {
		t.Fatal(err)
	}
	return r, source
}

// patience is how long a test waits for what must come: long, for it costs time
// only where the test fails, and the machine may have much else to do.
const patience = 2 * time.Minute

// network is a network in this process, for tests: each node has its folder,
// port and goroutine.
type network struct {
	t      *testing.T
	run    *spec.Run
	source stream.Source
	dir    string
	seats  []control.Seat // of the miners
	cheats []Cheat        // by uid
	repo   hub.Repository
	epochs uint64

	mu     sync.Mutex
	events map[string][]Event // by node
	news   bell
	at     Address // of the validator
}

// newNetwork lays out a network; the last miners cheat, each in another way.
func newNetwork(t *testing.T, miners, cheaters int, epochs uint64, change ...func(*spec.Run)) *network {
	t.Helper()
	n := &network{t: t, dir: t.TempDir(), epochs: epochs, events: map[string][]Event{}}
	n.run, n.source = testRun(t, change...)
	var err error
	if n.repo, err = hub.CreateDirectory(filepath.Join(n.dir, "hub", n.run.Model.Name)); err != nil {
		t.Fatal(err)
	}
	for i := range miners {
		n.seats = append(n.seats, control.Seat{UID: uint32(i), Peer: n.identity(name(i)).Peer, Role: control.Miner})
		cheat := Honest
		if k := i - (miners - cheaters); k >= 0 {
			cheat = CheatNumber(k)
		}
		n.cheats = append(n.cheats, cheat)
	}
	return n
}

// name is the folder of a miner.
func name(uid int) string { return fmt.Sprintf("miner-%d", uid) }

// folder is the folder of a node.
func (n *network) folder(name string) Folder { return Folder(filepath.Join(n.dir, name)) }

func (n *network) identity(name string) Identity {
	id, err := EnsureIdentity(n.folder(name).Key())
	if err != nil {
		n.t.Fatal(err)
	}
	return id
}

// note keeps an event.
func (n *network) note(node string, e Event) {
	n.mu.Lock()
	n.events[node] = append(n.events[node], e)
	if os.Getenv("LOCKSTEP_TEST_EVENTS") != "" {
		fmt.Fprintf(os.Stderr, "%s %s %T %+v\n", time.Now().Format("05.000"), node, e, e)
	}
	n.mu.Unlock()
	n.news.ring()
}

// await waits until a node has an event that ok accepts.
func (n *network) await(node string, ok func(Event) bool) Event {
	n.t.Helper()
	var found Event
	if !n.news.waitFor(n.t.Context(), patience, func() bool {
		n.mu.Lock()
		defer n.mu.Unlock()
		for _, e := range n.events[node] {
			if ok(e) {
				found = e
				return true
			}
		}
		return false
	}) {
		n.t.Fatalf("%s: the awaited event does not come", node)
	}
	return found
}

// all returns the events of type E of a node.
func all[E Event](n *network, node string) (out []E) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, e := range n.events[node] {
		if x, ok := e.(E); ok {
			out = append(out, x)
		}
	}
	return out
}

// node is the configuration of a node.
func (n *network) node(name string) Node {
	return Node{
		Dir: string(n.folder(name)), Key: n.identity(name).Key, Listen: "127.0.0.1:0",
		Run: n.run, Source: n.source, Hub: n.repo, MicroBatch: 4,
		Initial: func() (*model.Parameters, error) {
			c, err := model.FromSpec(n.run.Model)
			return model.Initialise(c, n.run.Assignment.Seed), err
		},
		Emit: func(e Event) { n.note(name, e) },
	}
}

// running is a node at work.
type running struct {
	kill    context.CancelFunc
	done    chan struct{}
	err     error
	summary Summary
}

func (r *running) wait() error {
	<-r.done
	return r.err
}

// validator starts the validator and waits for its address.
func (n *network) validator(change ...func(*ValidatorConfig)) *running {
	n.t.Helper()
	r := n.start(change...)
	e := n.await("validator", func(e Event) bool { _, ok := e.(Listening); return ok }).(Listening)
	n.at = Address{HostPort: e.Address, Peer: e.Peer}
	return r
}

// start starts the validator.
func (n *network) start(change ...func(*ValidatorConfig)) *running {
	c := ValidatorConfig{Node: n.node("validator"), Admit: n.seats, Epochs: n.epochs, RoundDeadline: time.Minute, ClaimDeadline: patience}
	if n.at.HostPort != "" {
		c.Listen = n.at.HostPort
	}
	for _, f := range change {
		f(&c)
	}
	n.mu.Lock()
	delete(n.events, "validator") // of an earlier life
	n.mu.Unlock()
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{kill: cancel, done: make(chan struct{})}
	go func() {
		defer close(r.done)
		r.summary, r.err = RunValidator(ctx, c)
	}()
	n.t.Cleanup(func() { cancel(); <-r.done })
	return r
}

// miner starts a miner.
func (n *network) miner(uid int, change ...func(*MinerConfig)) *running {
	n.t.Helper()
	c := MinerConfig{Node: n.node(name(uid)), Validator: n.at, Cheat: n.cheats[uid]}
	for _, f := range change {
		f(&c)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{kill: cancel, done: make(chan struct{})}
	go func() {
		defer close(r.done)
		r.err = RunMiner(ctx, c)
	}()
	n.t.Cleanup(func() { cancel(); <-r.done })
	return r
}

// miners starts all miners.
func (n *network) miners() []*running {
	var out []*running
	for i := range n.seats {
		out = append(out, n.miner(i))
	}
	return out
}
