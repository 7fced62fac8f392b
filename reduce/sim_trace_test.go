package reduce

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"io"
	"math"
	"testing"
	"time"

	"lockstep/internal/merkle"
	"lockstep/internal/signed"
	"lockstep/reduce/commit"
)

// trace is a hash over all that happens in a world: every event with its time,
// and every action with every byte that it carries. A nil trace takes nothing.
type trace struct{ hash.Hash }

func newTrace() *trace { return &trace{sha256.New()} }

// event takes what happens when.
func (t *trace) event(at time.Duration, what string) {
	if t != nil {
		t.number(uint64(at))
		t.text(what)
	}
}

// action takes what machine i of a node wants done.
func (t *trace) action(n *node, i int, a Action) {
	if t == nil {
		return
	}
	t.text(fmt.Sprintf("%d.%d %T", n.uid, i, a))
	switch a := a.(type) {
	case Send:
		t.Write(a.To[:])
		t.message(a.Message)
	case Append:
		t.Write(a.Record.Encode())
	case Save:
		t.average(a.Root, a.Average, a.Leaves)
	case Apply:
		t.Write(a.Certified.Certificate().Signatures[0])
		t.average(a.Certified.Decision().Result, a.Average, a.Leaves)
	case CatchUp:
		t.Write(a.Certified.Certificate().Signatures[0])
	case Concluded:
		for _, r := range append(a.records(), evidenceOf(a.Evidence)...) {
			t.Write(r.Encode())
		}
		t.documents(envelopes(a.Complaints)...)
		t.Write(a.Certified.Certificate().Signatures[0])
		t.text(fmt.Sprint(a.Retry))
	case Convicted:
		for _, r := range evidenceOf(a.Evidence) {
			t.Write(r.Encode())
		}
	default: // without slices of bytes or numbers inside
		t.text(fmt.Sprint(a))
	}
}

// evidenceOf makes evidence comparable with records.
func evidenceOf(evidence []commit.Evidence) (out []Record) {
	for _, e := range evidence {
		out = append(out, Record{Envelopes: []signed.Envelope{e.Encode()}})
	}
	return out
}

// message takes every field of a message.
func (t *trace) message(m Message) {
	switch m := m.(type) {
	case RosterMessage:
		t.documents(append(envelopes(m.Claims), m.Roster.Envelope())...)
	case CommitmentMessage:
		t.documents(m.Commitment.Envelope())
	case SetMessage:
		t.documents(append(envelopes(m.Commitments), m.Set.Envelope())...)
	case OpeningMessage:
		t.documents(m.Opening.Envelope())
		t.digests(m.Leaves)
		t.text(fmt.Sprint(m.Want))
	case ChunkMessage:
		t.documents(m.Header.Envelope())
		t.floats(m.Data)
	case ReceiptMessage:
		t.documents(m.Receipt.Envelope())
		t.digests(m.Leaves)
	case VoteMessage:
		t.documents(m.Vote.Envelope())
		t.documents(m.Receipts...)
	case ComplaintMessage:
		t.documents(m.Complaint.Envelope())
	case EvidenceMessage:
		t.Write(m.Roster[:])
		t.Write(m.Evidence.Encode())
	case DecisionMessage:
		t.Write(m.Roster[:])
		t.documents(envelopes(m.Signatures)...)
	default: // credits and witnesses: numbers and digests only
		t.text(fmt.Sprintf("%T %v", m, m))
	}
}

func (t *trace) average(root merkle.Digest, x []float32, leaves []merkle.Digest) {
	t.Write(root[:])
	t.floats(x)
	t.digests(leaves)
}

func (t *trace) documents(es ...signed.Envelope) {
	for _, e := range es {
		t.number(uint64(len(e)))
		t.Write(e)
	}
}

func (t *trace) digests(ds []merkle.Digest) {
	t.number(uint64(len(ds)))
	for _, d := range ds {
		t.Write(d[:])
	}
}

func (t *trace) floats(x []float32) {
	t.number(uint64(len(x)))
	for _, v := range x {
		t.number(uint64(math.Float32bits(v)))
	}
}

func (t *trace) text(s string) {
	t.number(uint64(len(s)))
	io.WriteString(t, s)
}

func (t *trace) number(n uint64) {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], n)
	t.Write(b[:])
}

// traced runs one seed and returns the hash over all that happened.
func traced(seed uint64, spoil uint64) (outcome, []byte) {
	p := drawPlan(seed)
	p.spoil = spoil
	t := newTrace()
	o := live(seed, p, mutation{}, t)
	return o, t.Sum(nil)
}

// TestSimulationReplays: a seed gives one trace, down to the last bit of every
// message, record and average (invariant 20).
func TestSimulationReplays(t *testing.T) {
	seeds := uint64(40)
	if testing.Short() {
		seeds = 5
	}
	for seed := uint64(1); seed <= seeds; seed++ {
		a, first := traced(seed, 0)
		b, second := traced(seed, 0)
		if !bytes.Equal(first, second) || a.events != b.events {
			t.Errorf("seed %d: two runs differ: %d and %d events", seed, a.events, b.events)
		}
	}
}

// TestTraceCoversContents changes gradients and nothing else: the same events
// happen at the same times, and the trace is another one.
func TestTraceCoversContents(t *testing.T) {
	for seed := uint64(1); seed <= 5; seed++ {
		a, first := traced(seed, 0)
		b, second := traced(seed, 1)
		if bytes.Equal(first, second) {
			t.Errorf("seed %d: other gradients leave no trace", seed)
		}
		if a.events != b.events {
			t.Errorf("seed %d: %d events, with other gradients %d: this test proves nothing", seed, a.events, b.events)
		}
	}
}
