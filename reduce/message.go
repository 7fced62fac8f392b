package reduce

import (
	"lockstep/internal/merkle"
	"lockstep/internal/signed"
	"lockstep/reduce/commit"
)

// Message is what peers send each other in a round. Documents inside are
// verified already: whoever makes an Arrival from bytes has opened them.
type Message interface {
	// RosterID names the attempt that the message belongs to.
	RosterID() merkle.Digest
}

// RosterMessage opens an attempt: leader to members and observers. The claims
// stand in the roster's order; the roster names their digests.
type RosterMessage struct {
	Roster commit.Signed[commit.Roster]
	Claims []commit.Signed[commit.Claim]
}

// CommitmentMessage goes from a member to the leader.
type CommitmentMessage struct {
	Commitment commit.Signed[commit.Commitment]
}

// SetMessage goes from the leader to the members.
type SetMessage struct {
	Set         commit.Signed[commit.Set]
	Commitments []commit.Signed[commit.Commitment] // in roster order
}

// OpeningMessage goes from each member to every other, with the digests of all
// its leaves, and to leader and observers, without them.
type OpeningMessage struct {
	Opening commit.Signed[commit.Opening]
	Leaves  []merkle.Digest
	Want    bool // the sender has not got the receiver's opening, or an observer's credits, yet
}

// ChunkMessage carries one chunk: scatter to the part's owner, gather to all.
// A sender sets Data, a view of its vector that is valid only until the Step
// that returned it is followed by another; a receiver gets Payload, the encoded
// bytes, and Digests, the hashes of Payload's leaves, which the transport
// computes (see Shape.ChunkDigests). Step keeps neither slice.
type ChunkMessage struct {
	Header  commit.Signed[commit.Header]
	Data    []float32
	Payload []byte
	Digests []merkle.Digest
}

// ReceiptMessage goes from an owner to everybody, with the digests of its
// part's leaves.
type ReceiptMessage struct {
	Receipt commit.Signed[commit.Receipt]
	Leaves  []merkle.Digest
}

// CreditMessage lets the peer send: the receiver has the first Next chunks of
// the stream and takes chunks up to number Limit, both counted from the start
// of the part. It is not signed; the connection says whose it is.
type CreditMessage struct {
	Roster merkle.Digest
	Stream commit.Stream
	Next   uint32
	Limit  uint32
}

// VoteMessage goes from a member to the leader. An ok vote brings along the
// receipts it rests on, so that two different ones meet.
type VoteMessage struct {
	Vote     commit.Signed[commit.Vote]
	Receipts []signed.Envelope
}

// ComplaintMessage goes from a member to the leader: an accusation that nothing
// proves.
type ComplaintMessage struct {
	Complaint commit.Signed[commit.Complaint]
}

// EvidenceMessage goes from members and observers to the leader. It speaks for
// itself, whoever brings it.
type EvidenceMessage struct {
	Roster   merkle.Digest
	Evidence commit.Evidence
}

// WitnessMessage goes from an observer to the leader on its own node: the root of
// the result that it holds whole, or the owners whose parts do not come.
type WitnessMessage struct {
	Roster  merkle.Digest
	Root    merkle.Digest // zero while the result is not whole
	Missing []uint32      // uids, ascending
}

// DecisionMessage goes from the leader to everybody who is connected. The
// signatures are valid; whether they are enough is for the receiver to say.
type DecisionMessage struct {
	Roster     merkle.Digest
	Signatures []commit.Signed[commit.Decision]
}

// RosterID implements Message.
func (m RosterMessage) RosterID() merkle.Digest { return m.Roster.Digest() }

// RosterID implements Message.
func (m CommitmentMessage) RosterID() merkle.Digest { return m.Commitment.Doc().Roster }

// RosterID implements Message.
func (m SetMessage) RosterID() merkle.Digest { return m.Set.Doc().Roster }

// RosterID implements Message.
func (m OpeningMessage) RosterID() merkle.Digest { return m.Opening.Doc().Roster }

// RosterID implements Message.
func (m ChunkMessage) RosterID() merkle.Digest { return m.Header.Doc().Roster }

// RosterID implements Message.
func (m ReceiptMessage) RosterID() merkle.Digest { return m.Receipt.Doc().Roster }

// RosterID implements Message.
func (m CreditMessage) RosterID() merkle.Digest { return m.Roster }

// RosterID implements Message.
func (m VoteMessage) RosterID() merkle.Digest { return m.Vote.Doc().Roster }

// RosterID implements Message.
func (m ComplaintMessage) RosterID() merkle.Digest { return m.Complaint.Doc().Roster }

// RosterID implements Message.
func (m EvidenceMessage) RosterID() merkle.Digest { return m.Roster }

// RosterID implements Message.
func (m WitnessMessage) RosterID() merkle.Digest { return m.Roster }

// RosterID implements Message.
func (m DecisionMessage) RosterID() merkle.Digest { return m.Roster }
