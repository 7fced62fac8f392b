package reduce

import (
	"slices"

	"lockstep/internal/merkle"
	"lockstep/internal/signed"
	"lockstep/reduce/commit"
)

// averaged takes a chunk of owner i's part.
func (f *follower) averaged(from signed.PeerID, m ChunkMessage) {
	r := f.round
	h := m.Header.Doc()
	i := r.roster.Index(from)
	if i < 0 || i == r.me || h.UID != r.uid(i) || !r.part(i).Holds(h.Chunk) {
		f.do(Drop{from, "an averaged chunk of a part it does not own"})
		return
	}
	in := &r.gather.in[i]
	switch in.admit(h.Chunk - r.part(i).First) {
	case stale:
		return
	case beyond:
		f.do(Drop{from, "more averaged chunks than it had credit for"})
		return
	}
	if m.Digests == nil || !slices.Equal(m.Digests, h.Leaves) {
		f.blame(i, commit.Garbage, commit.Evidence{})
		return
	}
	lo, hi := r.shape.ChunkSpan(int(h.Chunk))
	first, end := r.shape.ChunkLeafSpan(int(h.Chunk))
	if !commit.Decode(r.gather.average[lo:hi], m.Payload) {
		f.blame(i, commit.NonFinite, nonFinite(r, m))
		return
	}
	copy(r.gather.leaves[first:end], h.Leaves)
	r.gather.headers[h.Chunk] = m.Header
	in.next++
	in.moved = f.now
	if in.grant(in.next, uint32(f.cfg.Window)) {
		f.offer(i)
	}
	f.check(i)
}

// receipt takes an owner's word for its part.
func (f *follower) receipt(from signed.PeerID, m ReceiptMessage) {
	r := f.round
	doc := m.Receipt.Doc()
	i := r.roster.Index(from)
	if i < 0 || i == r.me || m.Receipt.Signer() != from || doc.UID != r.uid(i) || r.part(i).Count == 0 {
		f.do(Drop{from, "a receipt that is not its own"})
		return
	}
	if r.gather.in[i].closed {
		return
	}
	if known := r.gather.receipts[i].Receipt; !known.IsZero() {
		if known.Digest() != m.Receipt.Digest() {
			f.blame(i, commit.Equivocation, commit.Evidence{
				Kind: commit.Equivocation, Roster: r.signed.Envelope(),
				First: known.Envelope(), Second: m.Receipt.Envelope(),
			})
		}
		return
	}
	lo, hi := r.shape.PartLeafSpan(r.part(i))
	switch {
	case doc.Inputs != r.roster.Inputs():
		f.blame(i, commit.WrongSum, commit.Evidence{
			Kind: commit.WrongSum, Roster: r.signed.Envelope(), First: m.Receipt.Envelope(),
		})
	case len(m.Leaves) != hi-lo || merkle.Root(m.Leaves) != doc.Result:
		f.blame(i, commit.Garbage, commit.Evidence{})
	default:
		r.gather.receipts[i] = m
		f.check(i)
	}
}

// check compares owner i's chunks with its receipt once both are whole.
func (f *follower) check(i int) {
	r := f.round
	in, receipt := &r.gather.in[i], &r.gather.receipts[i]
	if r.gather.checked[i] || !in.complete() || receipt.Receipt.IsZero() {
		return
	}
	lo, hi := r.shape.PartLeafSpan(r.part(i))
	k := merkle.FirstDifference(r.gather.leaves[lo:hi], receipt.Leaves)
	if k >= 0 {
		header := r.gather.headers[(lo+k)/r.shape.ChunkLeaves]
		f.blame(i, commit.Fork, commit.Evidence{
			Kind: commit.Fork, Roster: r.signed.Envelope(),
			First: header.Envelope(), Second: receipt.Receipt.Envelope(),
			Leaf: uint32(lo + k), LeafDigest: receipt.Leaves[k], Path: merkle.Prove(receipt.Leaves, k),
		})
		return
	}
	r.gather.checked[i] = true
	for c := range r.part(i).Count {
		r.gather.headers[r.part(i).First+c] = commit.Signed[commit.Header]{}
	}
	f.settle()
}

// settle acts on a result that became whole: a member votes, an observer bears
// witness, and a certified round is handed over. Whoever a COMMIT rests on saves
// the average first, so that certified bytes are never lost: the leader's own
// observer, or the members where the leader observes nothing.
func (f *follower) settle() {
	r := f.round
	if !r.complete() {
		return
	}
	if r.phase == PhaseOpen && !r.failed {
		root := merkle.Root(r.gather.leaves)
		if f.member == nil || !r.roster.Observes(r.leader) {
			f.do(Save{r.roster.Epoch, r.roster.Attempt, root, r.gather.average, r.gather.leaves})
		}
		if f.member != nil {
			f.member.approve(root)
		} else {
			f.testify(WitnessMessage{Roster: r.id, Root: root})
		}
	}
	if r.phase == PhaseCommitted {
		f.deliver()
	}
}

// testify tells the leader on this node what its observer sees.
func (f *follower) testify(w WitnessMessage) {
	if f.round.leader == f.self {
		f.send(f.self, w)
	}
}

// blame gives up on member i and tells the leader: a member whatever it saw, an
// observer what it can prove.
func (f *follower) blame(i int, k commit.Kind, e commit.Evidence) {
	r := f.round
	r.gather.in[i].closed = true
	switch {
	case r.phase == PhaseCommitted:
		r.failed = true
		f.deliver() // the average can be had elsewhere
	case f.member != nil:
		f.member.complain(i, k, e)
	default:
		r.failed = true
		if !e.IsZero() {
			f.send(r.leader, EvidenceMessage{r.id, e})
		}
	}
}

// nonFinite bundles the proof that a chunk holds NaN or Inf.
func nonFinite(r *round, m ChunkMessage) commit.Evidence {
	chunk := int(m.Header.Doc().Chunk)
	base, _ := r.shape.ChunkSpan(chunk)
	leaf := (base + commit.Finite(m.Payload)) / r.shape.LeafElements
	lo, hi := r.shape.LeafSpan(leaf)
	return commit.Evidence{
		Kind: commit.NonFinite, Roster: r.signed.Envelope(), First: m.Header.Envelope(),
		Leaf: uint32(leaf), Data: slices.Clone(m.Payload[r.shape.Bytes(lo-base):r.shape.Bytes(hi-base)]),
	}
}

// lateParts looks for averaged parts that do not come. Once the round is
// certified, the average can be had elsewhere. Before, a member gives up when
// its time for the whole result is over or a stream has stopped, and an observer
// tells its leader.
func (f *follower) lateParts() {
	r := f.round
	over := f.now >= r.start+r.due.gather()
	var missing []uint32
	for i := range r.gather.in {
		in := &r.gather.in[i]
		if i == r.me || r.gather.checked[i] || in.closed && f.member != nil || !in.active {
			continue
		}
		idle := f.now - in.moved
		stalled := in.closed || idle >= r.due.gatherStall() || f.member == nil && idle >= r.due.lost() && !f.peers.has(r.peer(i))
		switch {
		case r.phase == PhaseCommitted && stalled:
			r.failed = true
			f.deliver()
			return
		case r.phase == PhaseCommitted || !stalled && !over:
		case f.member != nil:
			f.blame(i, commit.Stalled, commit.Evidence{})
		default:
			missing = append(missing, r.uid(i))
		}
	}
	if missing != nil {
		f.testify(WitnessMessage{Roster: r.id, Missing: missing})
	}
}

// nudge repeats credits of streams that do not move: the peer may have had no
// roster yet when the first one came.
func (f *follower) nudge() {
	r := f.round
	r.others(func(i int) {
		if f.now >= r.gather.in[i].moved+r.due.resend() {
			f.offer(i)
		}
	})
}
