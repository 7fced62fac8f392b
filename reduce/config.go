package reduce

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"math"
	"time"

	"lockstep/internal/fault"
	"lockstep/internal/merkle"
	"lockstep/internal/signed"
	"lockstep/internal/spec"
	"lockstep/reduce/commit"
)

// Never is later than every time: what Machine.Next returns when only a
// message can move the machine.
const Never = time.Duration(math.MaxInt64)

// Machine is one role of a round, without I/O. Times are monotonic and start
// anywhere; Step must be called from one goroutine at a time.
type Machine interface {
	// Step takes one event and returns what must be done, in order.
	Step(now time.Duration, e Event) []Action
	// Next returns when the machine wants a Tick, or Never.
	Next() time.Duration
	// Current returns the roster whose messages the machine takes now; ok is
	// false between rounds. Transports size their reads by it.
	Current() (r commit.Signed[commit.Roster], ok bool)
	// Records returns the least journal from which the machine can be restored.
	Records() []Record
}

// Config is what all roles need. The zero value is not valid.
type Config struct {
	Fingerprint merkle.Digest      // of the run spec
	RunID       spec.RunID         // of the run: documents of another one count for nothing
	Key         ed25519.PrivateKey // this node's
	Validators  commit.Validators  // whose rosters and decisions count
	Shape       commit.Shape       // of the run's vectors
	Window      int                // chunks a sender may be ahead on one stream; 0 means DefaultWindow
	Epoch       uint64             // of the caller's durable state; 0 before the first step
	Root        merkle.Digest      // of that state

	mutant mutant
}

// MemberConfig configures a Member.
type MemberConfig struct {
	Config
	UID uint32
}

// LeaderConfig configures a Leader.
type LeaderConfig struct {
	Config
	MinGroup int           // fewest members of a round; 0 means 2
	Deadline time.Duration // of one attempt; 0 means 2 minutes
	Backoff  time.Duration // pause after three attempts; 0 means Deadline
}

// DefaultWindow is what a Config.Window of 0 stands for, MaxWindow its cap.
const (
	DefaultWindow = 4
	MaxWindow     = 16
)

// withDefaults fills in defaults and checks the rest. Errors are fault.Config.
func (c Config) withDefaults() (Config, error) {
	if c.Window == 0 {
		c.Window = DefaultWindow
	}
	switch {
	case len(c.Key) != ed25519.PrivateKeySize:
		return c, fault.Errorf(fault.Config, "all-reduce: no ed25519 key")
	case c.RunID.IsZero():
		return c, fault.Errorf(fault.Config, "all-reduce: no run id")
	case !c.Shape.Valid():
		return c, fault.Errorf(fault.Config, "all-reduce: impossible shape %+v", c.Shape)
	case c.Window < 1 || c.Window > MaxWindow:
		return c, fault.Errorf(fault.Config, "all-reduce: window of %d chunks; 1 to %d are allowed", c.Window, MaxWindow)
	case len(c.Validators.Peers) == 0 || c.Validators.Need < 1 || c.Validators.Need > len(c.Validators.Peers):
		return c, fault.Errorf(fault.Config, "all-reduce: %d of %d validators must sign", c.Validators.Need, len(c.Validators.Peers))
	}
	return c, nil
}

func (c LeaderConfig) withDefaults() (LeaderConfig, error) {
	var err error
	c.Config, err = c.Config.withDefaults()
	if c.MinGroup == 0 {
		c.MinGroup = 2
	}
	if c.Deadline == 0 {
		c.Deadline = 2 * time.Minute
	}
	if c.Backoff == 0 {
		c.Backoff = c.Deadline
	}
	switch {
	case err != nil:
		return c, err
	case c.MinGroup < 1 || c.MinGroup > commit.MaxMembers:
		return c, fault.Errorf(fault.Config, "all-reduce: min_group %d; 1 to %d are allowed", c.MinGroup, commit.MaxMembers)
	case c.Deadline < 100*time.Millisecond || c.Deadline > 24*time.Hour:
		return c, fault.Errorf(fault.Config, "all-reduce: round deadline %v; 100ms to 24h are allowed", c.Deadline)
	case c.Backoff < 0 || c.Backoff > 24*time.Hour:
		return c, fault.Errorf(fault.Config, "all-reduce: back-off %v; up to 24h are allowed", c.Backoff)
	}
	return c, nil
}

// ours reports whether a document that names its run belongs to this one.
func (c *Config) ours(fingerprint merkle.Digest, run spec.RunID) bool {
	return fingerprint == c.Fingerprint && run == c.RunID
}

// self returns the peer ID of the key.
func (c *Config) self() signed.PeerID { return signed.IDOf(c.Key.Public().(ed25519.PublicKey)) }

// secret derives 32 bytes that only this node can know, and always the same
// ones: after a crash it must commit to the same salt again, or it would have
// signed two commitments.
func (c *Config) secret(domain string, context []byte) [32]byte {
	b := append([]byte(domain), c.Key.Seed()...)
	return sha256.Sum256(append(b, context...))
}

// salt returns the salt of this node's commitment under a roster.
func (c *Config) salt(roster merkle.Digest) [32]byte { return c.secret("lockstep/salt/1", roster[:]) }

// ownerSeed returns the seed of a roster's permutation of owners: nobody knows
// it before the roster, and a restarted leader draws it again.
func (c *Config) ownerSeed(epoch uint64, attempt uint32) uint64 {
	context := binary.LittleEndian.AppendUint64(c.RunID[:], epoch)
	context = binary.LittleEndian.AppendUint32(context, attempt)
	s := c.secret("lockstep/owners/1", context)
	return binary.LittleEndian.Uint64(s[:])
}
