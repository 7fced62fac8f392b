package reduce

import (
	"time"

	"lockstep/internal/merkle"
	"lockstep/internal/signed"
	"lockstep/reduce/commit"
)

// round is one attempt as a member or an observer sees it: the gather side, and
// for members the scatter side in member.
type round struct {
	signed commit.Signed[commit.Roster]
	roster commit.Roster
	id     merkle.Digest
	shape  commit.Shape
	leader signed.PeerID
	me     int // position among the members; -1 for an observer
	start  time.Duration
	due    deadlines
	phase  Phase
	failed bool // this member voted fail, or will as soon as its part is done

	gather gather
	member *exchange // nil for an observer
}

// gather is the average as far as it has come.
type gather struct {
	average  []float32                      // (Elements)
	leaves   []merkle.Digest                // of the average, chunk by chunk
	in       []inflow                       // from each owner, in roster order
	headers  []commit.Signed[commit.Header] // of the chunks received, for evidence
	receipts []ReceiptMessage               // of each owner
	checked  []bool                         // receipt and chunks agree
}

func newRound(r commit.Signed[commit.Roster], self signed.PeerID, now time.Duration, average []float32) *round {
	doc := r.Doc()
	n := len(doc.Members)
	ro := &round{
		signed: r, roster: doc, id: r.Digest(), shape: doc.Shape(), leader: r.Signer(),
		me: doc.Index(self), start: now, due: deadlinesOf(doc), phase: PhaseCommit,
	}
	ro.gather = gather{
		average:  average,
		leaves:   make([]merkle.Digest, ro.shape.Leaves()),
		in:       make([]inflow, n),
		headers:  make([]commit.Signed[commit.Header], ro.shape.Chunks()),
		receipts: make([]ReceiptMessage, n),
		checked:  make([]bool, n),
	}
	for i, m := range doc.Members {
		ro.gather.in[i].count = m.Part.Count
		ro.gather.checked[i] = m.Part.Count == 0
	}
	return ro
}

// complete reports whether every part is here and agrees with its receipt.
func (r *round) complete() bool {
	for i := range r.gather.checked {
		if !r.gather.checked[i] {
			return false
		}
	}
	return true
}

func (r *round) peer(i int) signed.PeerID { return r.roster.Members[i].Peer }
func (r *round) part(i int) commit.Part   { return r.roster.Members[i].Part }
func (r *round) uid(i int) uint32         { return r.roster.Members[i].UID }

// others calls f for every member but this node, in roster order.
func (r *round) others(f func(i int)) {
	for i := range r.roster.Members {
		if i != r.me {
			f(i)
		}
	}
}
