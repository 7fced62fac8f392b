package control

import (
	"crypto/ed25519"
	"fmt"
	"math"
	"net"
	"strconv"
	"unicode/utf8"

	"lockstep/internal/fault"
	"lockstep/internal/merkle"
	"lockstep/internal/signed"
	"lockstep/internal/spec"
	"lockstep/reduce/commit"
)

// Role says what a seat is for.
type Role string

// The roles.
const (
	Miner     Role = "miner"
	Validator Role = "validator"
)

// Limits of what documents may hold.
const (
	MaxSeats       = 512
	MaxAddress     = commit.MaxAddress // bytes of host:port: what a roster takes
	MaxHotkey      = 64                // bytes of an SS58 address
	MaxDifferences = 64
)

// Seat is a place in the network and who sits there.
type Seat struct {
	UID     uint32        `cbor:"1,keyasint" json:"uid"`
	Peer    signed.PeerID `cbor:"2,keyasint" json:"peer_id"`
	Role    Role          `cbor:"3,keyasint" json:"role"`
	Address string        `cbor:"4,keyasint" json:"address"` // host:port; empty while the node is away
	Hotkey  string        `cbor:"5,keyasint" json:"hotkey"`  // Bittensor SS58 address, or empty
}

// Registry says who may take part: the metagraph's place. The validator signs a
// new version whenever a node joins or leaves.
type Registry struct {
	Fingerprint merkle.Digest `cbor:"1,keyasint" json:"fingerprint"`
	RunID       spec.RunID    `cbor:"2,keyasint" json:"run_id"`
	Version     uint64        `cbor:"3,keyasint" json:"version"`
	Seats       []Seat        `cbor:"4,keyasint" json:"seats"` // ascending by uid
}

func (Registry) domain() string { return "lockstep/registry/1" }

func (r Registry) check() error {
	if len(r.Seats) > MaxSeats {
		return fault.Errorf(fault.Damaged, "registry: %d seats; at most %d are allowed", len(r.Seats), MaxSeats)
	}
	if r.RunID.IsZero() {
		return fault.Errorf(fault.Damaged, "registry: no run id")
	}
	return CheckSeats(r.Seats)
}

// CheckSeats refuses a list whose uids do not ascend, in which a key has two
// seats, or whose strings are no addresses.
func CheckSeats(seats []Seat) error {
	peers := make(map[signed.PeerID]uint32, len(seats))
	for i, s := range seats {
		if i > 0 && s.UID <= seats[i-1].UID {
			return fault.Errorf(fault.Damaged, "registry: uid %d follows uid %d; seats ascend by uid", s.UID, seats[i-1].UID)
		}
		if other, taken := peers[s.Peer]; taken {
			return fault.Errorf(fault.Damaged, "registry: %s sits on uid %d and on uid %d", s.Peer.Short(), other, s.UID)
		}
		peers[s.Peer] = s.UID
		if s.Peer.IsZero() || (s.Role != Miner && s.Role != Validator) {
			return fault.Errorf(fault.Damaged, "registry: uid %d has no key or no role (miner, validator)", s.UID)
		}
		if err := checkPlace(s.Address, s.Hotkey); err != nil {
			return fmt.Errorf("registry: uid %d: %w", s.UID, err)
		}
	}
	return nil
}

// checkPlace checks what a node says of itself.
func checkPlace(address, hotkey string) error {
	if address != "" {
		if err := CheckAddress(address); err != nil {
			return err
		}
	}
	if len(hotkey) > MaxHotkey || !printable(hotkey) {
		return fault.Errorf(fault.Damaged, "the hotkey is longer than %d bytes or not printable", MaxHotkey)
	}
	return nil
}

// CheckAddress refuses what cannot be dialled as host:port.
func CheckAddress(address string) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil || host == "" || len(address) > MaxAddress || !printable(address) {
		return fault.Errorf(fault.Damaged, "%.80q is not host:port", address)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fault.Errorf(fault.Damaged, "%.80q has no port between 1 and 65535", address)
	}
	return nil
}

// printable reports whether s can be shown on a terminal as it is.
func printable(s string) bool {
	for _, r := range s {
		if r < ' ' || r == 0x7f || r == utf8.RuneError || (r >= 0x80 && r < 0xa0) {
			return false
		}
	}
	return true
}

// SeatOf returns the seat of a key.
func (r Registry) SeatOf(p signed.PeerID) (Seat, bool) {
	for _, s := range r.Seats {
		if s.Peer == p {
			return s, true
		}
	}
	return Seat{}, false
}

// Join asks a validator for a seat. The key is that of the connection.
type Join struct {
	Run     spec.Run   `cbor:"1,keyasint" json:"run"`
	Role    Role       `cbor:"2,keyasint" json:"role"`
	Address string     `cbor:"3,keyasint" json:"address"`
	Hotkey  string     `cbor:"4,keyasint" json:"hotkey"`
	RunID   spec.RunID `cbor:"5,keyasint" json:"run_id"` // zero from a node that has not joined a run yet
}

// Check refuses a request that cannot become a seat.
func (j Join) Check() error {
	if j.Role != Miner && j.Role != Validator {
		return fault.Errorf(fault.Damaged, "join: %.20q is not a role (miner, validator)", j.Role)
	}
	if err := CheckAddress(j.Address); err != nil {
		return fmt.Errorf("join: %w", err)
	}
	return checkPlace(j.Address, j.Hotkey)
}

// Joined is the answer to Join: the seat, and where the run stands.
type Joined struct {
	UID      uint32          `cbor:"1,keyasint" json:"uid"`
	Registry signed.Envelope `cbor:"2,keyasint" json:"registry"`
	Latest   uint64          `cbor:"3,keyasint" json:"latest"` // last certified epoch
	Final    uint64          `cbor:"4,keyasint" json:"final"`  // last epoch of the run; 0 while it is open
}

// Record is a certified epoch: what was decided, and the state that everybody
// has to have after it. Epoch 0 is the state that the run starts from.
type Record struct {
	Fingerprint merkle.Digest      `cbor:"1,keyasint" json:"fingerprint"`
	RunID       spec.RunID         `cbor:"2,keyasint" json:"run_id"`
	Epoch       uint64             `cbor:"3,keyasint" json:"epoch"`
	Previous    merkle.Digest      `cbor:"4,keyasint" json:"previous"`    // digest of the record of epoch-1; zero for epoch 0
	Base        merkle.Digest      `cbor:"5,keyasint" json:"base"`        // state root of epoch-1; zero for epoch 0
	Certificate commit.Certificate `cbor:"6,keyasint" json:"certificate"` // empty for epoch 0
	State       State              `cbor:"7,keyasint" json:"state"`
	LossBits    uint64             `cbor:"8,keyasint" json:"loss_bits"` // float64: the members' claimed losses, added in uid order
	Tokens      uint64             `cbor:"9,keyasint" json:"tokens"`    // averaged by the run up to this epoch
}

func (Record) domain() string { return "lockstep/record/1" }

func (r Record) check() error {
	switch start := r.Epoch == 0; {
	case r.State.Epoch != r.Epoch || r.State.Fingerprint != r.Fingerprint || r.State.RunID != r.RunID:
		return fault.Errorf(fault.Damaged, "record of epoch %d: its state is of epoch %d, or of another run", r.Epoch, r.State.Epoch)
	case start != r.Previous.IsZero() || start != r.Base.IsZero() || start != (len(r.Certificate.Signatures) == 0):
		return fault.Errorf(fault.Damaged, "record of epoch %d: epoch 0 has neither predecessor nor certificate, every other has both", r.Epoch)
	}
	if math.IsNaN(r.Loss()) || math.IsInf(r.Loss(), 0) {
		return fault.Errorf(fault.Damaged, "record of epoch %d: the loss is not finite", r.Epoch)
	}
	return r.State.check()
}

// Loss returns the sum of the token losses of the epoch's group, on the state
// before the step.
func (r Record) Loss() float64 { return math.Float64frombits(r.LossBits) }

// Decision returns the decision that the record rests on, checked against the
// validators that a member trusts, and against the record.
func (r Record) Decision(v commit.Validators) (commit.Decision, error) {
	c, err := v.Decision(r.Certificate)
	if err != nil {
		return commit.Decision{}, fmt.Errorf("record of epoch %d: %w", r.Epoch, err)
	}
	d := c.Decision()
	if d.Verdict != commit.Commit || d.Epoch != r.Epoch || d.Fingerprint != r.Fingerprint || d.RunID != r.RunID {
		return commit.Decision{}, fault.Errorf(fault.Damaged, "record of epoch %d: its certificate says %v of epoch %d, run %s", r.Epoch, d.Verdict, d.Epoch, d.RunID.Short())
	}
	return d, nil
}

// State is a node's word for the state that it holds after an epoch.
type State struct {
	Fingerprint merkle.Digest `cbor:"1,keyasint" json:"fingerprint"`
	RunID       spec.RunID    `cbor:"2,keyasint" json:"run_id"`
	Epoch       uint64        `cbor:"3,keyasint" json:"epoch"`
	Step        uint64        `cbor:"4,keyasint" json:"step"` // of the optimizer
	Parameters  merkle.Digest `cbor:"5,keyasint" json:"parameters"`
	M           merkle.Digest `cbor:"6,keyasint" json:"m"`
	V           merkle.Digest `cbor:"7,keyasint" json:"v"`
}

func (State) domain() string { return "lockstep/state/1" }

func (s State) check() error {
	if s.Parameters.IsZero() || s.M.IsZero() || s.V.IsZero() || s.Fingerprint.IsZero() || s.RunID.IsZero() {
		return fault.Errorf(fault.Damaged, "state of epoch %d: a root, the fingerprint or the run id is missing", s.Epoch)
	}
	return nil
}

// Progress is the answer to a wait for an epoch's record.
type Progress struct {
	Record signed.Envelope `cbor:"1,keyasint" json:"record"` // empty while the epoch is not certified
	Latest uint64          `cbor:"2,keyasint" json:"latest"` // last certified epoch
	Tagged uint64          `cbor:"3,keyasint" json:"tagged"` // all epochs up to this one are in the repository
	Final  uint64          `cbor:"4,keyasint" json:"final"`  // last epoch of the run; 0 while it is open
	Ended  bool            `cbor:"5,keyasint" json:"ended"`  // the run is over: save and leave
	Seated bool            `cbor:"6,keyasint" json:"seated"` // the caller has joined; if not, it should join again
}

// Status is what a node says of itself to whoever asks.
type Status struct {
	Role        Role          `cbor:"1,keyasint" json:"role"`
	Peer        signed.PeerID `cbor:"2,keyasint" json:"peer_id"`
	Fingerprint merkle.Digest `cbor:"3,keyasint" json:"fingerprint"`
	Epoch       uint64        `cbor:"4,keyasint" json:"epoch"`  // of its newest state
	Root        merkle.Digest `cbor:"5,keyasint" json:"root"`   // of that state; zero before the first epoch
	Seats       []Seat        `cbor:"6,keyasint" json:"seats"`  // the registry as it knows it
	RunID       spec.RunID    `cbor:"7,keyasint" json:"run_id"` // zero before it joined
}

// document is a signed document of this package.
type document interface {
	domain() string
	check() error
}

// Seal signs doc.
func Seal[T document](doc T, key ed25519.PrivateKey) signed.Envelope {
	e, err := signed.Seal(doc.domain(), doc, key)
	if err != nil {
		panic("control: " + err.Error()) // plain structs always encode
	}
	return e
}

// Open verifies an envelope: form, signature, the rules of the document, and
// that it is by one of signers. Errors are fault.Damaged.
func Open[T document](e signed.Envelope, signers ...signed.PeerID) (T, error) {
	var doc T
	by, err := signed.Open(doc.domain(), e, &doc)
	if err != nil {
		return doc, err
	}
	for _, s := range signers {
		if s == by {
			return doc, doc.check()
		}
	}
	return doc, fault.Errorf(fault.Damaged, "%s: signed by %s, who has no say in it", doc.domain(), by.Short())
}
