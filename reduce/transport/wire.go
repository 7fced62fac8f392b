package transport

import (
	"encoding/binary"
	"hash/crc32"
	"slices"

	"lockstep/internal/fault"
	"lockstep/internal/merkle"
	"lockstep/internal/signed"
	"lockstep/reduce"
	"lockstep/reduce/commit"
)

// Largest parts of a payload. Lists of signed documents may fill a document's
// cap, and a roster with its claims a record's; single ones are small. Evidence in a round is one leaf and the documents
// around it; the inputs of a wrong sum are gathered by audits, elsewhere.
const (
	maxRoster   = reduce.MaxRecord
	maxList     = signed.MaxDocument
	maxSingle   = 64 << 10
	maxEvidence = 2 << 20
)

// bundle is the document part of most payloads: the message's own signed
// document, and those that travel with it.
type bundle struct {
	Main   signed.Envelope   `cbor:"1,keyasint"`
	Beside []signed.Envelope `cbor:"2,keyasint"`
	Want   bool              `cbor:"3,keyasint"` // OpeningMessage.Want
}

// roundBundle is the document part of messages that name their roster apart.
type roundBundle struct {
	Roster merkle.Digest     `cbor:"1,keyasint"`
	Signed []signed.Envelope `cbor:"2,keyasint"`
}

// credit is the document part of a CreditMessage.
type credit struct {
	Roster merkle.Digest `cbor:"1,keyasint"`
	Stream commit.Stream `cbor:"2,keyasint"`
	Next   uint32        `cbor:"3,keyasint"`
	Limit  uint32        `cbor:"4,keyasint"`
}

// A payload is u32 length ‖ document (canonical CBOR) ‖ tail. The tail is a
// chunk's encoded elements, a list of digests, evidence, or nothing.
func payload(doc any, tail int) []byte {
	d, err := signed.Marshal(doc)
	if err != nil {
		panic("transport: " + err.Error()) // plain structs always encode
	}
	b := takeBuffer(4 + len(d) + tail)[:0]
	b = binary.LittleEndian.AppendUint32(b, uint32(len(d)))
	return append(b, d...)
}

// encode returns a message as header (without sequence) and payload. The
// payload holds no view of the message's slices.
func encode(shape commit.Shape, m reduce.Message) (frameHeader, []byte) {
	h := frameHeader{roster: prefix(m.RosterID())}
	var b []byte
	switch m := m.(type) {
	case reduce.RosterMessage:
		h.kind, b = frameRoster, payload(bundle{Main: m.Roster.Envelope(), Beside: envelopes(m.Claims)}, 0)
	case reduce.CommitmentMessage:
		h.kind, b = frameCommitment, payload(bundle{Main: m.Commitment.Envelope()}, 0)
	case reduce.SetMessage:
		h.kind, b = frameSet, payload(bundle{Main: m.Set.Envelope(), Beside: envelopes(m.Commitments)}, 0)
	case reduce.OpeningMessage:
		h.kind, b = frameOpening, payload(bundle{Main: m.Opening.Envelope(), Want: m.Want}, 32*len(m.Leaves))
		b = appendDigests(b, m.Leaves)
	case reduce.ChunkMessage:
		n := shape.Bytes(len(m.Data))
		h.kind, h.chunk, b = frameChunk, m.Header.Doc().Chunk, payload(bundle{Main: m.Header.Envelope()}, n)
		b = b[:len(b)+n]
		commit.Encode(b[len(b)-n:], m.Data)
	case reduce.ReceiptMessage:
		h.kind, b = frameReceipt, payload(bundle{Main: m.Receipt.Envelope()}, 32*len(m.Leaves))
		b = appendDigests(b, m.Leaves)
	case reduce.CreditMessage:
		h.kind, b = frameCredit, payload(credit{m.Roster, m.Stream, m.Next, m.Limit}, 0)
	case reduce.VoteMessage:
		h.kind, b = frameVote, payload(bundle{Main: m.Vote.Envelope(), Beside: m.Receipts}, 0)
	case reduce.ComplaintMessage:
		h.kind, b = frameComplaint, payload(bundle{Main: m.Complaint.Envelope()}, 0)
	case reduce.EvidenceMessage:
		e := m.Evidence.Encode()
		h.kind, b = frameEvidence, append(payload(roundBundle{Roster: m.Roster}, len(e)), e...)
	case reduce.DecisionMessage:
		h.kind, b = frameDecision, payload(roundBundle{m.Roster, envelopes(m.Signatures)}, 0)
	default:
		panic("transport: unknown message")
	}
	h.length, h.checksum = uint32(len(b)), crc32.Checksum(b, castagnoli)
	return h, b
}

func envelopes[T commit.Document](docs []commit.Signed[T]) []signed.Envelope {
	out := make([]signed.Envelope, len(docs))
	for i, d := range docs {
		out[i] = d.Envelope()
	}
	return out
}

func appendDigests(b []byte, digests []merkle.Digest) []byte {
	for _, d := range digests {
		b = append(b, d[:]...)
	}
	return b
}

// maxPayload returns the largest legal payload of a frame in a run of this
// shape. It is asked before anything is allocated.
func maxPayload(shape commit.Shape, k frameType) int {
	switch k {
	case frameRoster:
		return 4 + maxRoster
	case frameSet, frameVote, frameDecision:
		return 4 + maxList
	case frameChunk:
		return 4 + maxSingle + shape.Bytes(shape.ChunkElements())
	case frameOpening, frameReceipt:
		return 4 + maxSingle + 32*shape.Leaves()
	case frameEvidence:
		return 4 + maxSingle + maxEvidence
	case framePing:
		return 0
	}
	return 4 + maxSingle
}

// decode reads a payload whose checksum was right. Signatures are verified,
// and the leaves of a chunk hashed, here, on the connection's own goroutine.
// The message keeps a view of b. Errors are fault.Damaged.
func decode(shape commit.Shape, h frameHeader, b []byte) (reduce.Message, error) {
	if len(b) < 4 {
		return nil, fault.Errorf(fault.Damaged, "frame: a payload of %d bytes", len(b))
	}
	n := binary.LittleEndian.Uint32(b)
	if uint64(n) > uint64(len(b)-4) {
		return nil, fault.Errorf(fault.Damaged, "frame: a document of %d bytes in a payload of %d", n, len(b))
	}
	m, err := message(shape, h.kind, b[4:4+n], b[4+n:])
	if err != nil {
		return nil, err
	}
	if h.roster != prefix(m.RosterID()) {
		return nil, fault.Errorf(fault.Damaged, "frame: header and document name different rosters")
	}
	if c, ok := m.(reduce.ChunkMessage); (!ok && h.chunk != 0) || (ok && h.chunk != c.Header.Doc().Chunk) {
		return nil, fault.Errorf(fault.Damaged, "frame: header and document name different chunks")
	}
	return m, nil
}

func message(shape commit.Shape, k frameType, doc, tail []byte) (reduce.Message, error) {
	switch k {
	case frameCredit:
		var c credit
		err := document(doc, tail, &c)
		return reduce.CreditMessage(c), err
	case frameEvidence:
		var r roundBundle
		if err := document(doc, nil, &r); err != nil {
			return nil, err
		}
		if len(r.Signed) > 0 {
			return nil, fault.Errorf(fault.Damaged, "frame: evidence with documents beside it")
		}
		e, err := commit.ParseEvidence(tail)
		return reduce.EvidenceMessage{Roster: r.Roster, Evidence: e}, err
	case frameDecision:
		var r roundBundle
		if err := document(doc, tail, &r); err != nil {
			return nil, err
		}
		signatures, err := openAll[commit.Decision](r.Signed)
		return reduce.DecisionMessage{Roster: r.Roster, Signatures: signatures}, err
	}
	return bundled(shape, k, doc, tail)
}

// bundled reads the messages that are one signed document and what goes with it.
func bundled(shape commit.Shape, k frameType, doc, tail []byte) (reduce.Message, error) {
	var b bundle
	bare := tail // must be empty where the message has no tail
	if k == frameOpening || k == frameChunk || k == frameReceipt {
		bare = nil
	}
	if err := document(doc, bare, &b); err != nil {
		return nil, err
	}
	if (len(b.Beside) > 0 && k != frameRoster && k != frameSet && k != frameVote) || (b.Want && k != frameOpening) {
		return nil, fault.Errorf(fault.Damaged, "frame: fields that a message of type %d has not", k)
	}
	switch k {
	case frameRoster:
		roster, err := commit.Open[commit.Roster](b.Main)
		if err != nil {
			return nil, err
		}
		claims, err := openAll[commit.Claim](b.Beside)
		return reduce.RosterMessage{Roster: roster, Claims: claims}, err
	case frameCommitment:
		c, err := commit.Open[commit.Commitment](b.Main)
		return reduce.CommitmentMessage{Commitment: c}, err
	case frameSet:
		set, err := commit.Open[commit.Set](b.Main)
		if err != nil {
			return nil, err
		}
		commitments, err := openAll[commit.Commitment](b.Beside)
		return reduce.SetMessage{Set: set, Commitments: commitments}, err
	case frameOpening:
		o, err := commit.Open[commit.Opening](b.Main)
		if err != nil {
			return nil, err
		}
		leaves, err := digests(shape, tail)
		return reduce.OpeningMessage{Opening: o, Leaves: leaves, Want: b.Want}, err
	case frameChunk:
		header, err := commit.Open[commit.Header](b.Main)
		if err != nil {
			return nil, err
		}
		d := header.Doc()
		return reduce.ChunkMessage{
			Header: header, Payload: tail,
			Digests: shape.ChunkDigests(d.Stream.Kind(), int(d.Chunk), tail),
		}, nil
	case frameReceipt:
		r, err := commit.Open[commit.Receipt](b.Main)
		if err != nil {
			return nil, err
		}
		leaves, err := digests(shape, tail)
		return reduce.ReceiptMessage{Receipt: r, Leaves: leaves}, err
	case frameVote:
		v, err := commit.Open[commit.Vote](b.Main)
		if len(b.Beside) > commit.MaxMembers {
			return nil, fault.Errorf(fault.Damaged, "frame: a vote with %d receipts", len(b.Beside))
		}
		return reduce.VoteMessage{Vote: v, Receipts: b.Beside}, err
	case frameComplaint:
		c, err := commit.Open[commit.Complaint](b.Main)
		return reduce.ComplaintMessage{Complaint: c}, err
	}
	return nil, fault.Errorf(fault.Damaged, "frame: unknown type %d", k)
}

// document reads the document part; bare must be empty.
func document(doc, bare []byte, v any) error {
	if len(bare) > 0 {
		return fault.Errorf(fault.Damaged, "frame: %d bytes follow the document", len(bare))
	}
	return signed.UnmarshalUpTo(doc, v, maxRoster)
}

func openAll[T commit.Document](list []signed.Envelope) ([]commit.Signed[T], error) {
	if len(list) > commit.MaxMembers {
		return nil, fault.Errorf(fault.Damaged, "frame: a list of %d documents; at most %d are read", len(list), commit.MaxMembers)
	}
	out := make([]commit.Signed[T], len(list))
	for i, e := range list {
		var err error
		if out[i], err = commit.Open[T](e); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// digests reads a list of leaf digests, at most one for each leaf of the run.
func digests(shape commit.Shape, b []byte) ([]merkle.Digest, error) {
	if len(b)%32 != 0 || len(b)/32 > shape.Leaves() {
		return nil, fault.Errorf(fault.Damaged, "frame: a list of %d bytes of digests; the vector has %d leaves", len(b), shape.Leaves())
	}
	var out []merkle.Digest
	for d := range slices.Chunk(b, 32) {
		out = append(out, merkle.Digest(d))
	}
	return out, nil
}
