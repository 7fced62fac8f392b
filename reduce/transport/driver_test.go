package transport

import (
	"bytes"
	"flag"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"lockstep/internal/fault"
	"lockstep/internal/merkle"
	"lockstep/internal/signed"
	"lockstep/reduce"
	"lockstep/reduce/commit"
)

var largeElements = flag.Int("reduce.large", 1<<22, "elements of the vector in TestRoundOfLargeVectors")

func TestRoundOverTLS(t *testing.T) {
	t.Parallel()
	shape := commit.StandardShape(2*merkle.ChunkElements + 777)
	v, members := testNetwork(t, 4, shape, nil)
	for epoch := uint64(1); epoch <= 2; epoch++ {
		v.open(members)
		await(t, epoch, oracle(shape, members), append(members, v)...)
	}
	leaves, ok := v.averages.Leaves(2)
	if !ok || merkle.Root(leaves) != v.results[2] {
		t.Error("the validator does not keep the average")
	}
	if x, ok := members[0].averages.Load(2, v.results[2]); !ok || len(x) != shape.Elements {
		t.Error("a member cannot load the average it applied")
	}
}

// TestRoundOfLargeVectors moves 16 MiB a member, many windows of chunks, or as
// many elements as -reduce.large says.
func TestRoundOfLargeVectors(t *testing.T) {
	if testing.Short() {
		t.Skip("long")
	}
	t.Parallel()
	shape := commit.StandardShape(*largeElements)
	v, members := testNetwork(t, 3, shape, nil)
	v.open(members)
	await(t, 1, oracle(shape, members), append(members, v)...)
}

// TestRoundOverPipes runs the same drivers over another Transport.
func TestRoundOverPipes(t *testing.T) {
	t.Parallel()
	shape := commit.StandardShape(merkle.ChunkElements + 1)
	v, members := testNetwork(t, 3, shape, newPipes())
	v.open(members)
	await(t, 1, oracle(shape, members), append(members, v)...)
}

// TestNodesLeaveNothingBehind: goroutines end with their drivers.
func TestNodesLeaveNothingBehind(t *testing.T) {
	before := runtime.NumGoroutine()
	shape := commit.StandardShape(3)
	v, members := testNetwork(t, 3, shape, nil)
	v.open(members)
	await(t, 1, oracle(shape, members), append(members, v)...)
	for _, n := range append(members, v) {
		n.stop()
	}
	deadline := time.Now().Add(patience)
	for runtime.NumGoroutine() > before {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines before, %d after", before, runtime.NumGoroutine())
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// TestFullDiskSilencesTheNode: a member that cannot remember its vote must not
// send it, and says why it stops; the others go on without it.
func TestFullDiskSilencesTheNode(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_RDWR, 0)
	if err != nil {
		t.Skip("no /dev/full here")
	}
	t.Parallel()
	shape := commit.StandardShape(100)
	v, members := testNetwork(t, 3, shape, nil)
	failed := make(chan error, 1)
	broken := members[2]
	broken.failed = func(err error) { failed <- err }
	broken.driver.machines[0].journal.file = full
	v.open(members)
	select {
	case err := <-failed:
		if fault.KindOf(err) != fault.Environment || !strings.Contains(err.Error(), "make room") {
			t.Errorf("a full disk gives %v", err)
		}
		broken.stop() // as the process would
	case <-time.After(patience):
		t.Fatal("the driver did not notice")
	}
	await(t, 1, oracle(shape, members[:2]), members[0], members[1], v)
}

// TestGarbageDropsThePeer: a peer that is no protocol's peer loses its
// connection; the round goes on.
// talker is a machine that answers every tick with the same actions.
type talker struct{ says []reduce.Action }

func (m *talker) Step(time.Duration, reduce.Event) []reduce.Action { return m.says }
func (m *talker) Next() time.Duration                              { return reduce.Never }
func (m *talker) Records() []reduce.Record                         { return nil }
func (m *talker) Current() (r commit.Signed[commit.Roster], ok bool) {
	return r, false
}

// TestDefectsEndTheDriver: a machine that says what nobody could read, or
// remembers what could not be read back, ends its driver with an error; nothing
// that it wanted afterwards is done.
func TestDefectsEndTheDriver(t *testing.T) {
	key, id := testKey(0), testID(0)
	kept, err := OpenAverages(t.TempDir(), smallShape)
	if err != nil {
		t.Fatal(err)
	}
	many := reduce.VoteMessage{Vote: commit.Seal(commit.Vote{Epoch: 1, Attempt: 1}, key), Receipts: make([]signed.Envelope, commit.MaxMembers+1)}
	large := reduce.EvidenceMessage{Evidence: commit.Evidence{Kind: commit.Switch, Data: make([]byte, maxEvidence+maxSingle)}}
	for name, a := range map[string]reduce.Action{
		"own message":     reduce.Send{To: id, Message: many},
		"message too big": reduce.Send{To: testID(9), Message: large},
		"record":          reduce.Append{Record: reduce.Record{Kind: 9}},
	} {
		failed := make(chan error, 1)
		d, err := Start(DriverConfig{
			Transport: newPipes().join(id), Self: id, Shape: smallShape, Averages: kept,
			Machines: []Plan{{Journal: filepath.Join(t.TempDir(), "journal"), Build: func([]reduce.Record) (reduce.Machine, error) {
				return &talker{[]reduce.Action{a, reduce.Stalled{}}}, nil
			}}},
			Notify: func(reduce.Action) { t.Errorf("%s: the driver goes on", name) },
			Failed: func(err error) { failed <- err },
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := <-failed; err == nil {
			t.Errorf("%s: it fails without an error", name)
		}
		d.Close()
	}
}

func TestGarbageDropsThePeer(t *testing.T) {
	t.Parallel()
	shape := commit.StandardShape(1000)
	v, members := testNetwork(t, 2, shape, nil)
	vandal := listen(t, 200, Options{})
	for _, garbage := range [][]byte{bytes.Repeat([]byte("GET / HTTP/1.1\r\n"), 99), make([]byte, 1<<20)} {
		c, err := vandal.Dial(testContext(t), members[0].id, members[0].address)
		if err != nil {
			t.Fatal(err)
		}
		c.Write(garbage)
		c.Flush()
		if _, err := io.ReadFull(c, make([]byte, 1)); err == nil {
			t.Error("garbage is answered")
		}
	}
	v.open(members)
	await(t, 1, oracle(shape, members), append(members, v)...)
}

// TestMemberDiesInEachPhase closes one member when it enters a phase: the
// others commit the epoch without it, or with it if its vote was in.
func TestMemberDiesInEachPhase(t *testing.T) {
	for _, phase := range []reduce.Phase{reduce.PhaseCommit, reduce.PhaseOpen, reduce.PhaseVoted} {
		t.Run(phase.String(), func(t *testing.T) {
			if testing.Short() && phase != reduce.PhaseOpen {
				t.Skip("long")
			}
			t.Parallel()
			shape := commit.StandardShape(2 * merkle.ChunkElements)
			v, members := testNetwork(t, 3, shape, nil)
			dies := members[1]
			var once sync.Once
			dies.phase = func(p reduce.Phase) {
				if p == phase {
					once.Do(func() { go dies.stop() })
				}
			}
			v.open(members)
			survivors := []*testNode{members[0], members[2]}
			deadline := time.After(patience)
			for _, n := range []*testNode{members[0], members[2], v} {
				select {
				case <-n.wake:
				case <-deadline:
					t.Fatalf("node %d did not get over the death in phase %v", n.uid, phase)
				}
			}
			v.mu.Lock()
			got := v.results[1]
			v.mu.Unlock()
			if got != oracle(shape, survivors) && got != oracle(shape, members) {
				t.Error("the result is neither group's average")
			}
			await(t, 1, got, survivors...)
		})
	}
}

func TestValidatorComesBack(t *testing.T) {
	t.Parallel()
	shape := commit.StandardShape(merkle.ChunkElements)
	v, members := testNetwork(t, 3, shape, nil)
	voted := make(chan struct{}, 8)
	for _, m := range members {
		m.phase = func(p reduce.Phase) {
			if p == reduce.PhaseVoted {
				voted <- struct{}{}
			}
		}
	}
	v.open(members)
	<-voted
	v.stop() // with or without the decision in its journal
	v.start()
	for _, m := range members {
		m.driver.Want([]reduce.Peer{{ID: v.id, Address: v.address}})
	}
	await(t, 1, oracle(shape, members), members...)
}

func TestThrottleBoundsTheRate(t *testing.T) {
	a, b := listen(t, 1, Options{}), listen(t, 2, Options{})
	ctx := testContext(t)
	out, err := a.Dial(ctx, b.ID(), b.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	in, err := b.Accept(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	go func() {
		buf := make([]byte, 1<<16)
		for {
			if _, err := in.Read(buf); err != nil {
				return
			}
		}
	}()
	c := newConn(out, true, terms{commit.StandardShape(1), reduce.DefaultWindow, 1 << 20}, &backlog{})
	defer c.stop(errClosed)
	start := time.Now()
	if _, err := c.sink().Write(make([]byte, 1<<19)); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took < 300*time.Millisecond {
		t.Errorf("half a second's worth of bytes went out in %v", took)
	}
}
