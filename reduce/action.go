package reduce

import (
	"time"

	"lockstep/internal/merkle"
	"lockstep/internal/signed"
	"lockstep/reduce/commit"
)

// Action is an output of a machine. Actions are carried out in order.
type Action interface{ action() }

// Send delivers a message to a peer, which may be this node itself (its other
// machines). Without a connection it is dropped: the machine sends again what
// still matters when Connected comes.
type Send struct {
	To      signed.PeerID
	Message Message
}

// Append writes a record to the machine's journal. It must be durable before
// any later action is carried out.
type Append struct{ Record Record }

// Save keeps an average that a COMMIT may rest on. It must be durable before any
// later action is carried out. Saving the same root again is harmless. Averages
// that are applied should be kept for two epochs as well, for peers that catch
// up; that is the caller's business.
type Save struct {
	Epoch   uint64
	Attempt uint32
	Root    merkle.Digest
	Average []float32       // view; valid during the action only
	Leaves  []merkle.Digest // of kind average
}

// Peer is a node and where to reach it, as host:port.
type Peer struct {
	ID      signed.PeerID
	Address string
}

// Link names peers that the machine wants a connection to.
type Link struct{ Peers []Peer }

// Drop asks to close the connection to a peer that broke the protocol.
type Drop struct {
	Peer   signed.PeerID
	Reason string
}

// Apply hands over a certified average: take the optimizer step of the epoch,
// make the new state durable, then answer with Applied. Average is a view that
// stays valid until then.
type Apply struct {
	Certified commit.Certified
	Average   []float32
	Leaves    []merkle.Digest
}

// CatchUp says that an epoch was decided whose average this machine does not
// have: get it (from this node's own store, or chunk by chunk from any peer,
// against the certified root) or take a whole later state, then answer with
// Applied.
type CatchUp struct{ Certified commit.Certified }

// Diverged says that the leader's roster rests on another state than ours. The
// caller should compare and take the state from its peers.
type Diverged struct {
	Epoch uint64
	Want  merkle.Digest // the roster's base
	Have  merkle.Digest
}

// Entered reports that an attempt reached a phase, for progress displays.
type Entered struct {
	Epoch   uint64
	Attempt uint32
	Phase   Phase
}

// Concluded reports how an attempt ended, with all that a ledger needs. Only
// leaders emit it: once, and after a restart again for the newest attempts, since
// nobody knows how far the caller had come.
type Concluded struct {
	Certified   commit.Certified
	Roster      commit.Signed[commit.Roster]
	Claims      []commit.Signed[commit.Claim]
	Set         commit.Signed[commit.Set] // zero if the attempt did not get that far
	Commitments []commit.Signed[commit.Commitment]
	Openings    []commit.Signed[commit.Opening]
	Receipts    []commit.Signed[commit.Receipt]
	Votes       []commit.Signed[commit.Vote]
	Complaints  []commit.Signed[commit.Complaint]
	Evidence    []commit.Evidence // what convicted members, judged
	Retry       bool              // the leader goes on with the rest by itself
}

// Convicted hands over the evidence that a decision is about to rest on. It must
// be durable before any later action is carried out: once the decision is known,
// a crash must not leave a conviction that nobody can prove.
type Convicted struct {
	Epoch    uint64
	Evidence []commit.Evidence
}

// Stalled reports that the leader pauses the epoch until a time; then it emits
// Reopen. State and epoch number do not move.
type Stalled struct {
	Epoch   uint64
	Attempt uint32 // the last one
	Until   time.Duration
	Reason  string
}

// Reopen asks the caller for an Open of the same epoch, with the members that
// are alive now.
type Reopen struct{ Epoch uint64 }

// Refused reports that the caller's own event cannot be taken.
type Refused struct{ Err error }

func (Send) action()      {}
func (Append) action()    {}
func (Save) action()      {}
func (Link) action()      {}
func (Drop) action()      {}
func (Apply) action()     {}
func (CatchUp) action()   {}
func (Diverged) action()  {}
func (Entered) action()   {}
func (Concluded) action() {}
func (Convicted) action() {}
func (Stalled) action()   {}
func (Reopen) action()    {}
func (Refused) action()   {}
