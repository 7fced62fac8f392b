package reduce

import (
	"lockstep/internal/merkle"
	"lockstep/internal/signed"
	"lockstep/reduce/commit"
)

// Event is an input of a machine.
type Event interface{ event() }

// Arrival delivers a message. From is the authenticated peer of the connection.
type Arrival struct {
	From    signed.PeerID
	Message Message
}

// Connected says that a connection to Peer stands. Whatever was sent before may
// be lost, whatever is sent from now on arrives in order, or Disconnected comes.
type Connected struct{ Peer signed.PeerID }

// Disconnected says that the connection to Peer is gone.
type Disconnected struct{ Peer signed.PeerID }

// Tick says that the time of Machine.Next has come.
type Tick struct{}

// Freeze hands a member its gradient for the epoch after the one it last
// applied. Claim must be on the current state and over Root(Leaves), Leaves
// those of Gradient. From here until the epoch's Applied the caller must not
// change Gradient. Freeze first, publish the claim afterwards: a roster may
// follow at once. A second Freeze replaces the first while no roster is open.
type Freeze struct {
	Claim    commit.Signed[commit.Claim]
	Gradient []float32
	Leaves   []merkle.Digest // of kind gradient
}

// Applied tells a member or observer that the caller's durable state is now
// that of Epoch, with the state root Root: after Apply, after CatchUp, or
// because it took the state from elsewhere. It never goes back.
type Applied struct {
	Epoch uint64
	Root  merkle.Digest
}

// Open asks the leader to average an epoch over the candidates. If attempts
// were made before, for instance before a crash, their numbers are not reused,
// and members that were proved wrong in this epoch stay out.
type Open struct {
	Epoch      uint64
	Base       merkle.Digest // state root of Epoch-1
	Candidates []Candidate
	Observers  []commit.Observer
}

// Candidate is a member that an Open proposes.
type Candidate struct {
	Claim   commit.Signed[commit.Claim]
	Address string
}

// Expel tells the leader that the validators found a claim of the open epoch
// false by recomputation. It ends the attempt that the member is in.
type Expel struct {
	Epoch uint64
	UID   uint32
}

func (Arrival) event()      {}
func (Connected) event()    {}
func (Disconnected) event() {}
func (Tick) event()         {}
func (Freeze) event()       {}
func (Applied) event()      {}
func (Open) event()         {}
func (Expel) event()        {}
