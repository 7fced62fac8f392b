package transport

import (
	"bytes"
	"hash/crc32"
	"reflect"
	"slices"
	"strings"
	"testing"

	"lockstep/internal/fault"
	"lockstep/internal/merkle"
	"lockstep/internal/signed"
	"lockstep/internal/spec"
	"lockstep/reduce"
	"lockstep/reduce/commit"
)

// samples returns one message of every kind, in a run of the given shape.
func samples(shape commit.Shape) []reduce.Message {
	k := testKey(1)
	roster := commit.Seal(commit.Roster{
		Epoch: 2, Attempt: 1, Codec: shape.Codec, Elements: uint64(shape.Elements),
		LeafElements: uint32(shape.LeafElements), ChunkLeaves: uint32(shape.ChunkLeaves), Deadline: 1000, MinGroup: 1,
		Members: []commit.Member{{Peer: testID(1), Address: "host:1", Tokens: 5, Part: commit.Part{Count: uint32(shape.Chunks())}}},
	}, k)
	id := roster.Digest()
	x := make([]float32, shape.Elements)
	for i := range x {
		x[i] = float32(i)
	}
	leaves := shape.Digests(merkle.KindGradient, x)
	lo, hi := shape.ChunkSpan(1)
	first, end := shape.ChunkLeafSpan(1)
	receipt := commit.Seal(commit.Receipt{Roster: id, Result: merkle.Root(leaves)}, k)
	decision := commit.Decision{Epoch: 2, Attempt: 1, Roster: id, Verdict: commit.Commit, Result: merkle.Digest{1}}
	commitment := commit.Seal(commit.Commitment{Roster: id, Tokens: 5}, k)
	return []reduce.Message{
		reduce.RosterMessage{Roster: roster, Claims: []commit.Signed[commit.Claim]{commit.Seal(commit.Claim{Epoch: 2, Tokens: 5, Elements: 9}, k)}},
		reduce.CommitmentMessage{Commitment: commitment},
		reduce.SetMessage{Set: commit.Seal(commit.Set{Roster: id, Commitments: []merkle.Digest{{3}}}, k), Commitments: []commit.Signed[commit.Commitment]{commitment}},
		reduce.OpeningMessage{Opening: commit.Seal(commit.Opening{Roster: id, Salt: [32]byte{9}}, k), Leaves: leaves, Want: true},
		reduce.OpeningMessage{Opening: commit.Seal(commit.Opening{Roster: id}, k)},
		reduce.ChunkMessage{Header: commit.Seal(commit.Header{Roster: id, Stream: commit.Scatter, Chunk: 1, Leaves: leaves[first:end]}, k), Data: x[lo:hi]},
		reduce.ReceiptMessage{Receipt: receipt, Leaves: leaves},
		reduce.CreditMessage{Roster: id, Stream: commit.Gather, Next: 3, Limit: 7},
		reduce.VoteMessage{Vote: commit.Seal(commit.Vote{Roster: id, Epoch: 2, Attempt: 1, OK: true, Result: merkle.Digest{1}, Reduced: true}, k), Receipts: []signed.Envelope{receipt.Envelope()}},
		reduce.ComplaintMessage{Complaint: commit.Seal(commit.Complaint{Roster: id, Blame: commit.Blame{UID: 3, Kind: commit.Missing}}, k)},
		reduce.EvidenceMessage{Roster: id, Evidence: commit.Evidence{Kind: commit.Switch, Roster: roster.Envelope(), Path: []merkle.Digest{{1}}, Data: []byte{1, 2}}},
		reduce.DecisionMessage{Roster: id, Signatures: []commit.Signed[commit.Decision]{commit.Seal(decision, k), commit.Seal(decision, testKey(2))}},
	}
}

// smallShape has chunks of 64 bytes.
var smallShape = commit.Shape{Codec: merkle.CodecF32, Elements: 30, LeafElements: 8, ChunkLeaves: 2}

// landed is what a chunk message is on the other side.
func landed(shape commit.Shape, m reduce.Message) reduce.Message {
	c, ok := m.(reduce.ChunkMessage)
	if !ok {
		return m
	}
	c.Payload = make([]byte, 4*len(c.Data))
	commit.Encode(c.Payload, c.Data)
	c.Digests = shape.ChunkDigests(c.Header.Doc().Stream.Kind(), int(c.Header.Doc().Chunk), c.Payload)
	c.Data = nil
	return c
}

func TestMessagesRoundTrip(t *testing.T) {
	seen := map[frameType]bool{}
	for _, m := range samples(smallShape) {
		h, b := encode(smallShape, m)
		seen[h.kind] = true
		if len(b) > maxPayload(smallShape, h.kind) {
			t.Errorf("%T: %d bytes, the cap is %d", m, len(b), maxPayload(smallShape, h.kind))
		}
		parsed, err := parseHeader(h.append(nil))
		if err != nil || parsed != h {
			t.Fatalf("%T: header %+v came back as %+v (%v)", m, h, parsed, err)
		}
		got, err := decode(smallShape, h, b)
		if err != nil {
			t.Fatalf("%T: %v", m, err)
		}
		if want := landed(smallShape, m); !reflect.DeepEqual(normal(got), normal(want)) {
			t.Errorf("%T came back as\n%+v, want\n%+v", m, got, want)
		}
	}
	for k := frameRoster; k < framePing; k++ {
		if !seen[k] {
			t.Errorf("no sample of frame type %d", k)
		}
	}
}

// normal makes empty and nil slices equal: they are the same on the wire.
func normal(m reduce.Message) reduce.Message {
	switch m := m.(type) {
	case reduce.EvidenceMessage:
		m.Evidence.First, m.Evidence.Second, m.Evidence.Paths = nil, nil, nil
		return m
	case reduce.VoteMessage:
		return reduce.VoteMessage{Receipts: m.Receipts}
	case reduce.RosterMessage, reduce.ComplaintMessage, reduce.DecisionMessage:
		h, b := encode(smallShape, m)
		return frameOf{h, string(b)}
	}
	return m
}

// frameOf stands for a message by its bytes.
type frameOf struct {
	header  frameHeader
	payload string
}

func (frameOf) RosterID() merkle.Digest { return merkle.Digest{} }

// TestFramesSeeFlippedBits changes bytes all over each frame: header and payload
// are refused before anything is made of them (invariant 21).
// TestLargestRosterFits: the caps of rosters on the wire and in the journal hold
// the largest roster that a run spec allows.
func TestLargestRosterFits(t *testing.T) {
	const n = commit.MaxMembers
	shape := commit.StandardShape(commit.MaxElements / 4)
	r := commit.Roster{
		Fingerprint: merkle.Digest{1}, RunID: spec.RunID{1}, Epoch: 1<<64 - 1, Attempt: 1<<32 - 1, Base: merkle.Digest{2},
		Codec: shape.Codec, Elements: uint64(shape.Elements), LeafElements: uint32(shape.LeafElements), ChunkLeaves: uint32(shape.ChunkLeaves),
		Deadline: 1<<32 - 1, MinGroup: n, Seed: 1<<64 - 1,
	}
	address := strings.Repeat("x", commit.MaxAddress)
	m := reduce.RosterMessage{}
	record := reduce.Record{Kind: reduce.RecordRoster, Envelopes: []signed.Envelope{nil}}
	claim := commit.Claim{
		Fingerprint: r.Fingerprint, RunID: r.RunID, Epoch: r.Epoch, Base: r.Base, Segments: slices.Repeat([]uint64{1<<64 - 1}, commit.MaxSegments),
		Sequences: 1<<32 - 1, Tokens: commit.MaxTokens/n - 1, LossBits: 1<<62 - 1, Elements: r.Elements,
	}
	parts := commit.Parts(shape.Chunks(), n, r.Seed)
	for i := range n {
		claim.UID = uint32(1<<32 - n + i)
		s := commit.Seal(claim, testKey(byte(i)))
		m.Claims = append(m.Claims, s)
		record.Envelopes = append(record.Envelopes, s.Envelope())
		r.Members = append(r.Members, commit.Member{UID: claim.UID, Peer: s.Signer(), Address: address, Claim: s.Digest(), Tokens: claim.Tokens, Part: parts[i]})
	}
	for range commit.MaxObservers {
		r.Observers = append(r.Observers, commit.Observer{Address: address})
	}
	m.Roster = commit.Seal(r, testKey(0))
	record.Envelopes[0] = m.Roster.Envelope()
	h, b := encode(shape, m)
	if most := maxPayload(shape, h.kind); len(b) > most {
		t.Errorf("%d bytes on the wire; the cap is %d", len(b), most)
	}
	if got, err := decode(shape, h, b); err != nil || len(got.(reduce.RosterMessage).Claims) != n {
		t.Errorf("on the wire: %v", err)
	}
	if _, err := appendRecord(nil, record); err != nil {
		t.Errorf("in the journal: %v", err)
	}
}

func TestFramesSeeFlippedBits(t *testing.T) {
	for _, m := range samples(smallShape) {
		h, b := encode(smallShape, m)
		frame := append(h.append(nil), b...)
		for i := range frame {
			if i > headerSize+64 && i%7 != 0 {
				continue
			}
			bad := bytes.Clone(frame)
			bad[i] ^= 1 << (i % 8)
			if _, err := readFrame(bad); err == nil {
				t.Fatalf("%T: byte %d of %d changed, and it is read", m, i, len(frame))
			}
		}
	}
}

// readFrame reads one frame as a connection does.
func readFrame(frame []byte) (reduce.Message, error) {
	c := newConn(&memoryConn{Reader: bytes.NewReader(frame)}, true, terms{smallShape, reduce.DefaultWindow, 0}, &backlog{})
	var got reduce.Message
	err := c.read(func(m reduce.Message, _ []byte) { got = m })
	if got != nil {
		err = nil
	}
	return got, err
}

// TestDecodeRefuses gives the decoder frames whose parts do not belong together.
func TestDecodeRefuses(t *testing.T) {
	for name, change := range map[string]func(*frameHeader, *[]byte){
		"other roster":     func(h *frameHeader, _ *[]byte) { h.roster[0]++ },
		"other chunk":      func(h *frameHeader, _ *[]byte) { h.chunk += 5 },
		"shorter than u32": func(_ *frameHeader, b *[]byte) { *b = (*b)[:3] },
		"document beyond":  func(_ *frameHeader, b *[]byte) { (*b)[3] = 0xff },
		"empty document":   func(_ *frameHeader, b *[]byte) { *b = []byte{0, 0, 0, 0} },
		"unknown type":     func(h *frameHeader, _ *[]byte) { h.kind = frameTypes },
	} {
		for _, m := range samples(smallShape) {
			h, b := encode(smallShape, m)
			change(&h, &b)
			if _, err := decode(smallShape, h, b); fault.KindOf(err) != fault.Damaged {
				t.Errorf("%s, %T: %v", name, m, err)
			}
		}
	}
	for _, m := range samples(smallShape) { // a tail where none belongs, or of odd length
		h, b := encode(smallShape, m)
		if _, isChunk := m.(reduce.ChunkMessage); isChunk {
			continue // its length is the machine's business: the digests are nil then
		}
		if _, err := decode(smallShape, h, append(b, 1)); err == nil {
			t.Errorf("%T with a byte too much is read", m)
		}
	}
}

// TestMessagesDoNotViewTheirPayload: only a chunk's bytes may be views, for the
// payload's memory is used again.
func TestMessagesDoNotViewTheirPayload(t *testing.T) {
	for _, m := range samples(smallShape) {
		if _, isEvidence := m.(reduce.EvidenceMessage); isEvidence {
			continue // its memory is not used again
		}
		h, b := encode(smallShape, m)
		got, err := decode(smallShape, h, b)
		if err != nil {
			t.Fatal(err)
		}
		again, _ := decode(smallShape, h, bytes.Clone(b))
		clear(b)
		if c, ok := got.(reduce.ChunkMessage); ok {
			c.Payload = again.(reduce.ChunkMessage).Payload
			got = c
		}
		if !reflect.DeepEqual(got, again) {
			t.Errorf("%T changed when its payload did", m)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, m := range samples(smallShape) {
		h, b := encode(smallShape, m)
		f.Add(uint8(h.kind), h.chunk, h.roster[:], b)
	}
	f.Fuzz(func(t *testing.T, kind uint8, chunk uint32, roster []byte, b []byte) {
		h := frameHeader{kind: frameType(kind), chunk: chunk}
		copy(h.roster[:], roster)
		if len(b) > maxPayload(smallShape, h.kind) {
			return
		}
		decode(smallShape, h, b)
	})
}

func FuzzParseHeader(f *testing.F) {
	h, _ := encode(smallShape, samples(smallShape)[5])
	f.Add(h.append(nil))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) != headerSize {
			return
		}
		if h, err := parseHeader(data); err == nil && !bytes.Equal(h.append(nil), data) {
			t.Error("a header re-encodes to other bytes")
		}
	})
}

// FuzzRead feeds a connection frames whose numbers and checksums are right and
// whose contents are anything, and then the bytes as they are. What is delivered
// is exactly what is counted.
func FuzzRead(f *testing.F) {
	var all []byte
	for _, m := range samples(smallShape) {
		h, b := encode(smallShape, m)
		piece := append([]byte{byte(h.kind), byte(h.chunk), byte(len(b)), byte(len(b) >> 8)}, append(h.roster[:], b...)...)
		f.Add(piece)
		all = append(all, piece...)
	}
	f.Add(all)
	f.Add([]byte{byte(framePing), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, stream := range [][]byte{framed(data), data} {
			c := newConn(&memoryConn{Reader: bytes.NewReader(stream)}, true, terms{smallShape, 1, 0}, &backlog{})
			var got []queued
			if err := c.read(func(m reduce.Message, b []byte) {
				got = append(got, queued{reduce.Arrival{Message: m}, c, b})
			}); err == nil {
				t.Error("a stream ends without an error")
			}
			if n := c.backlog.chunks + c.backlog.others; n != len(got) {
				t.Errorf("%d messages wait, %d are counted", len(got), n)
			}
			for _, q := range got {
				c.handled(q)
			}
			if *c.backlog != (backlog{}) {
				t.Errorf("nothing waits, and yet %d chunks and %d messages of %d bytes are counted", c.backlog.chunks, c.backlog.others, c.backlog.bytes)
			}
		}
	})
}

// framed reads data as a list of type, chunk, u16 len, roster and payload, and
// makes frames of them.
func framed(data []byte) (stream []byte) {
	for sequence := uint32(0); len(data) >= 12; sequence++ {
		h := frameHeader{kind: frameType(data[0]), chunk: uint32(data[1]), sequence: sequence, roster: [8]byte(data[4:12])}
		n := int(data[2]) | int(data[3])<<8
		data = data[12:]
		b := data[:min(n, len(data))]
		data = data[len(b):]
		h.length, h.checksum = uint32(len(b)), crc32.Checksum(b, castagnoli)
		stream = append(h.append(stream), b...)
	}
	return stream
}
