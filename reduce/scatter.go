package reduce

import (
	"slices"

	"lockstep/internal/merkle"
	"lockstep/internal/signed"
	"lockstep/reduce/commit"
)

// scattered takes a chunk of this member's part from another member.
func (m *Member) scattered(from signed.PeerID, msg ChunkMessage) {
	r, x := m.round, m.round.member
	h := msg.Header.Doc()
	i := r.roster.Index(from)
	if i < 0 || i == r.me || h.UID != r.uid(i) || !r.part(r.me).Holds(h.Chunk) {
		m.do(Drop{from, "a chunk of a part that is not ours"})
		return
	}
	in := &x.in[i]
	ord := h.Chunk - r.part(r.me).First
	switch in.admit(ord) {
	case stale:
		return
	case beyond:
		m.do(Drop{from, "more chunks than it had credit for"})
		return
	}
	if msg.Digests == nil || !slices.Equal(msg.Digests, h.Leaves) {
		m.complain(i, commit.Garbage, commit.Evidence{})
		return
	}
	lo, hi := r.shape.ChunkLeafSpan(int(h.Chunk))
	opened := x.openings[i].Leaves
	if k := merkle.FirstDifference(opened[lo:hi], h.Leaves); k >= 0 && m.cfg.mutant != acceptUnopened {
		m.complain(i, commit.Switch, commit.Evidence{
			Kind: commit.Switch, Roster: r.signed.Envelope(), First: msg.Header.Envelope(),
			Leaf: uint32(lo + k), LeafDigest: opened[lo+k], Path: merkle.Prove(opened, lo+k),
		})
		return
	}
	first, end := r.shape.ChunkSpan(int(h.Chunk))
	buf := m.slot()[:end-first]
	if !commit.Decode(buf, msg.Payload) {
		m.slots = append(m.slots, buf)
		m.complain(i, commit.NonFinite, nonFinite(r, msg))
		return
	}
	x.held[i][ord%uint32(m.cfg.Window)] = buf
	if ord == x.reduced {
		x.order = append(x.order, i)
	}
	in.next++
	in.moved = m.now
	m.reduceReady()
}

// slot returns a free chunk buffer. At most window chunks of each other member
// are held at a time, for that is the credit they have.
func (m *Member) slot() []float32 {
	if k := len(m.slots); k > 0 {
		buf := m.slots[k-1]
		m.slots = m.slots[:k-1]
		return buf[:cap(buf)]
	}
	return make([]float32, m.cfg.Shape.ChunkElements())
}

// reduceReady averages the chunks of this member's part of which all members'
// copies are in.
func (m *Member) reduceReady() {
	r, x := m.round, m.round.member
	part := r.part(r.me)
	before := x.reduced
	for x.reduced < part.Count && m.copiesIn(x.reduced) {
		m.reduce(part.First + x.reduced)
		x.reduced++
		x.order = x.order[:0]
	}
	if x.reduced == before {
		return
	}
	r.others(func(i int) {
		if x.in[i].grant(x.reduced, uint32(m.cfg.Window)) {
			x.in[i].moved = m.now // its time runs anew
			m.invite(i)
		}
	})
	if x.reduced == part.Count {
		m.sealPart()
	}
}

func (m *Member) copiesIn(ord uint32) bool {
	r := m.round
	for i := range r.member.in {
		if i != r.me && r.member.in[i].next <= ord {
			return false
		}
	}
	return true
}

// reduce averages one chunk by N16: members in ascending uid order, this one's
// own values in its place. What is kept and sent is the encoded average,
// decoded again: float32 in, float32 out.
func (m *Member) reduce(chunk uint32) {
	r, x := m.round, m.round.member
	lo, hi := r.shape.ChunkSpan(int(chunk))
	if m.sum == nil {
		m.sum = commit.NewSum(r.shape.ChunkElements())
	}
	m.sum.Reset(hi - lo)
	at := int((chunk - r.part(r.me).First) % uint32(m.cfg.Window))
	for _, i := range m.addends() {
		if i == r.me {
			m.sum.Add(m.frozen.gradient[lo:hi])
			continue
		}
		m.sum.Add(x.held[i][at])
	}
	r.others(func(i int) {
		m.slots = append(m.slots, x.held[i][at])
		x.held[i][at] = nil
	})
	out := r.gather.average[lo:hi]
	m.sum.Mean(out, r.roster.Tokens())
	m.sealChunk(chunk, out)
}

// addends returns the members in the order of the sum.
func (m *Member) addends() []int {
	r := m.round
	order := make([]int, len(r.roster.Members))
	for i := range order {
		order[i] = i
	}
	switch m.cfg.mutant {
	case sumByArrival:
		order = append(slices.Clone(r.member.order), r.me)
		r.others(func(i int) {
			if !slices.Contains(order, i) {
				order = append(order, i)
			}
		})
	case dropSender:
		if len(order) > 1 {
			order = order[:len(order)-1]
		}
	}
	return order
}

// sealChunk signs for an averaged chunk.
func (m *Member) sealChunk(chunk uint32, out []float32) {
	r, x := m.round, m.round.member
	if m.encoded == nil {
		m.encoded = make([]byte, r.shape.Bytes(r.shape.ChunkElements()))
	}
	encoded := m.encoded[:r.shape.Bytes(len(out))]
	commit.Encode(encoded, out)
	leaves := r.shape.ChunkDigests(merkle.KindAverage, int(chunk), encoded)
	first, end := r.shape.ChunkLeafSpan(int(chunk))
	copy(r.gather.leaves[first:end], leaves)
	x.headers[chunk-r.part(r.me).First] = commit.Seal(commit.Header{
		Roster: r.id, UID: m.uid, Stream: commit.Gather, Chunk: chunk, Leaves: leaves,
	}, m.cfg.Key)
}

// sealPart signs for the whole part and tells everybody.
func (m *Member) sealPart() {
	r, x := m.round, m.round.member
	lo, hi := r.shape.PartLeafSpan(r.part(r.me))
	leaves := slices.Clone(r.gather.leaves[lo:hi])
	x.receipt = ReceiptMessage{commit.Seal(commit.Receipt{
		Roster: r.id, UID: m.uid, Inputs: r.roster.Inputs(), Result: merkle.Root(leaves),
	}, m.cfg.Key), leaves}
	r.gather.receipts[r.me] = x.receipt
	r.gather.checked[r.me] = true
	r.others(func(i int) { m.send(r.peer(i), x.receipt) })
	for _, o := range r.roster.Observers {
		m.send(o.Peer, x.receipt)
	}
	if !r.roster.Observes(r.leader) {
		m.send(r.leader, ReceiptMessage{Receipt: x.receipt.Receipt})
	}
	m.settle()
}

// credit lets a stream to a peer go on, or start again after a new connection.
func (m *Member) credit(from signed.PeerID, msg CreditMessage) {
	r, x := m.round, m.round.member
	i := r.roster.Index(from)
	switch {
	case i == r.me:
	case i >= 0 && msg.Stream == commit.Scatter:
		x.scatter[i].credit(msg.Next, msg.Limit)
	case i >= 0 && msg.Stream == commit.Gather:
		x.gather[i].credit(msg.Next, msg.Limit)
	case msg.Stream == commit.Gather:
		for k, o := range r.roster.Observers {
			if o.Peer == from {
				x.observers[k].credit(msg.Next, msg.Limit)
			}
		}
	}
	if msg.Stream == commit.Gather && msg.Next == r.part(r.me).Count && !x.receipt.Receipt.IsZero() && x.repeats < maxGreetings*len(x.greeted) {
		x.repeats++
		m.send(from, x.receipt) // it has all chunks and still asks: the receipt was lost
	}
}

// cut stops the streams to a peer whose connection is gone or new.
func (m *Member) cut(p signed.PeerID) {
	if m.round == nil {
		return
	}
	r, x := m.round, m.round.member
	if i := r.roster.Index(p); i >= 0 {
		x.scatter[i].reset()
		x.gather[i].reset()
	}
	for k, o := range r.roster.Observers {
		if o.Peer == p {
			x.observers[k].reset()
		}
	}
}

// stopScatter ends the scatter side: the gradient is the caller's again.
func (x *exchange) stopScatter() {
	for i := range x.scatter {
		x.scatter[i].count = 0
		x.in[i].closed = true
	}
}

// pump sends what credits allow.
func (m *Member) pump() {
	if m.round == nil || m.round.phase < PhaseOpen {
		return
	}
	r, x := m.round, m.round.member
	r.others(func(i int) {
		for f := &x.scatter[i]; m.frozen != nil && f.ready(f.count); f.next++ {
			m.sendScatter(i, r.part(i).First+f.next)
		}
	})
	r.others(func(i int) { m.sendGather(r.peer(i), &x.gather[i]) })
	for k, o := range r.roster.Observers {
		m.sendGather(o.Peer, &x.observers[k])
	}
}

func (m *Member) sendScatter(i int, chunk uint32) {
	r := m.round
	lo, hi := r.shape.ChunkSpan(int(chunk))
	first, end := r.shape.ChunkLeafSpan(int(chunk))
	header := commit.Seal(commit.Header{
		Roster: r.id, UID: m.uid, Stream: commit.Scatter, Chunk: chunk, Leaves: m.frozen.leaves[first:end],
	}, m.cfg.Key)
	m.send(r.peer(i), ChunkMessage{Header: header, Data: m.frozen.gradient[lo:hi]})
}

func (m *Member) sendGather(to signed.PeerID, f *outflow) {
	r, x := m.round, m.round.member
	for ; f.ready(x.reduced); f.next++ {
		lo, hi := r.shape.ChunkSpan(int(r.part(r.me).First + f.next))
		m.send(to, ChunkMessage{Header: x.headers[f.next], Data: r.gather.average[lo:hi]})
	}
}
