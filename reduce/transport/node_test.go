package transport

import (
	"crypto/ed25519"
	"crypto/sha256"
	"math"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"lockstep/internal/merkle"
	"lockstep/internal/signed"
	"lockstep/internal/spec"
	"lockstep/reduce"
	"lockstep/reduce/commit"
)

// testNode does around a driver what package swarm does, with states that are
// only digests.
type testNode struct {
	t        testing.TB
	key      ed25519.PrivateKey
	id       signed.PeerID
	uid      int // -1: the validator
	dir      string
	shape    commit.Shape
	leader   signed.PeerID
	throttle int

	network  *pipes    // nil: TLS over TCP
	endpoint Transport // with the node's address
	address  string
	driver   *Driver
	averages *Averages

	mu      sync.Mutex
	epoch   uint64
	root    merkle.Digest
	results map[uint64]merkle.Digest
	phase   func(reduce.Phase) // called on Entered
	failed  func(error)        // called when the driver fails; nil: that fails the test
	reopen  chan struct{}
	wake    chan struct{}
}

func newTestNode(t testing.TB, b byte, uid int, shape commit.Shape, leader signed.PeerID, network *pipes) *testNode {
	n := &testNode{
		t: t, network: network, key: testKey(b), id: testID(b), uid: uid, dir: t.TempDir(), shape: shape, leader: leader,
		root: sha256.Sum256([]byte("state 0")), results: map[uint64]merkle.Digest{},
		reopen: make(chan struct{}, 16), wake: make(chan struct{}, 64),
	}
	n.start()
	t.Cleanup(n.stop)
	return n
}

func (n *testNode) start() {
	n.t.Helper()
	var err error
	if n.network != nil {
		n.endpoint = n.network.join(n.id)
		n.address = "pipe"
	} else {
		e, err := Listen("127.0.0.1:0", n.key, Options{})
		if err != nil {
			n.t.Fatal(err)
		}
		n.endpoint, n.address = e, e.Addr().String()
	}
	if n.averages, err = OpenAverages(filepath.Join(n.dir, "averages"), n.shape); err != nil {
		n.t.Fatal(err)
	}
	cfg := reduce.Config{RunID: spec.RunID{1}, Key: n.key, Validators: commit.Solo(n.leader), Shape: n.shape, Epoch: n.epoch, Root: n.root}
	var plans []Plan
	if n.uid >= 0 {
		plans = []Plan{{Journal: filepath.Join(n.dir, "member"), Build: func(j []reduce.Record) (reduce.Machine, error) {
			return reduce.NewMember(reduce.MemberConfig{Config: cfg, UID: uint32(n.uid)}, j)
		}}}
	} else {
		plans = []Plan{
			{Journal: filepath.Join(n.dir, "leader"), Build: func(j []reduce.Record) (reduce.Machine, error) {
				return reduce.NewLeader(reduce.LeaderConfig{Config: cfg, MinGroup: 2, Deadline: time.Minute, Backoff: time.Second}, j)
			}},
			{Build: func([]reduce.Record) (reduce.Machine, error) { return reduce.NewObserver(cfg) }},
		}
	}
	n.driver, err = Start(DriverConfig{
		Transport: n.endpoint, Self: n.id, Shape: n.shape, Machines: plans, Averages: n.averages,
		Notify: n.notify, Failed: n.fail, Throttle: n.throttle,
	})
	if err != nil {
		n.t.Fatal(err)
	}
}

func (n *testNode) stop() {
	if n.driver != nil {
		n.driver.Close()
		n.endpoint.Close()
		n.driver = nil
	}
}

func (n *testNode) fail(err error) {
	if n.failed != nil {
		n.failed(err)
		return
	}
	n.t.Errorf("node %d: %v", n.uid, err)
}

func (n *testNode) notify(a reduce.Action) {
	switch a := a.(type) {
	case reduce.Apply:
		d := a.Certified.Decision()
		n.mu.Lock()
		n.epoch, n.root = d.Epoch, sha256.Sum256(append(n.root[:], d.Result[:]...))
		n.results[d.Epoch] = d.Result
		n.mu.Unlock()
		n.driver.Post(reduce.Applied{Epoch: n.epoch, Root: n.root})
		n.wake <- struct{}{}
	case reduce.Refused:
		n.t.Errorf("node %d: refused: %v", n.uid, a.Err)
	case reduce.Entered:
		if n.phase != nil {
			n.phase(a.Phase)
		}
	}
}

// freeze hands in a gradient and returns the claim.
func (n *testNode) freeze() reduce.Candidate {
	x := make([]float32, n.shape.Elements)
	for i := range x {
		x[i] = float32(math.Ldexp(float64(i%97+n.uid)-40, (i*7+n.uid*13)%40-20))
	}
	leaves := n.shape.Digests(merkle.KindGradient, x)
	claim := commit.Seal(commit.Claim{
		RunID: spec.RunID{1},
		Epoch: n.epoch + 1, UID: uint32(n.uid), Base: n.root, Tokens: uint64(100 + n.uid),
		Gradient: merkle.Root(leaves), Elements: uint64(len(x)),
	}, n.key)
	n.driver.Post(reduce.Freeze{Claim: claim, Gradient: x, Leaves: leaves})
	return reduce.Candidate{Claim: claim, Address: n.address}
}

// oracle averages the gradients of members the naive way.
func oracle(shape commit.Shape, members []*testNode) merkle.Digest {
	x := make([]float32, shape.Elements)
	tokens := 0.0
	for _, m := range members {
		tokens += float64(100 + m.uid)
	}
	for i := range x {
		sum := 0.0
		for _, m := range members {
			sum += float64(float32(math.Ldexp(float64(i%97+m.uid)-40, (i*7+m.uid*13)%40-20)))
		}
		x[i] = float32(sum / tokens)
	}
	return merkle.Root(shape.Digests(merkle.KindAverage, x))
}

// testNetwork is a validator and members 0 to n-1.
func testNetwork(t testing.TB, members int, shape commit.Shape, network *pipes) (*testNode, []*testNode) {
	v := newTestNode(t, 100, -1, shape, testID(100), network)
	var nodes []*testNode
	for i := range members {
		m := newTestNode(t, byte(i+1), i, shape, v.id, network)
		m.driver.Want([]reduce.Peer{{ID: v.id, Address: v.address}})
		nodes = append(nodes, m)
	}
	return v, nodes
}

// open starts an epoch with the members that are up.
func (v *testNode) open(members []*testNode) { v.driver.Post(v.proposal(members)) }

// proposal freezes the members' gradients and names them to the leader.
func (v *testNode) proposal(members []*testNode) reduce.Open {
	e := reduce.Open{Epoch: v.epoch + 1, Base: v.root, Observers: []commit.Observer{{Peer: v.id, Address: v.address}}}
	for _, m := range members {
		e.Candidates = append(e.Candidates, m.freeze())
	}
	return e
}

// await waits until the nodes have applied an epoch and compares their results.
func await(t *testing.T, epoch uint64, want merkle.Digest, nodes ...*testNode) {
	t.Helper()
	deadline := time.After(patience)
	for _, n := range nodes {
		for {
			n.mu.Lock()
			got, done := n.results[epoch]
			n.mu.Unlock()
			if done {
				if got != want {
					t.Errorf("node %d applied %s, the oracle says %s", n.uid, got.Short(), want.Short())
				}
				break
			}
			select {
			case <-n.wake:
			case <-time.After(20 * time.Millisecond):
			case <-deadline:
				t.Fatalf("node %d has not applied epoch %d", n.uid, epoch)
			}
		}
	}
}
