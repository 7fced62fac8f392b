package swarm

import (
	"context"
	"crypto/ed25519"
	"net"
	"slices"
	"sync"

	"lockstep/internal/fault"
	"lockstep/internal/merkle"
	"lockstep/internal/signed"
	"lockstep/internal/spec"
	"lockstep/swarm/control"
)

// ValidatorUID is the seat of the first validator: above every miner's, as
// miners' seats are numbered below spec.MaxSlots.
const ValidatorUID = spec.MaxSlots

// seating is the validator's side of the registry: who is admitted, and who is
// there. It is safe for concurrent use.
type seating struct {
	run         *spec.Run
	fingerprint merkle.Digest
	id          spec.RunID
	key         ed25519.PrivateKey
	book        *book
	bell        bell // rung when somebody comes or goes

	mu       sync.Mutex
	version  uint64
	seats    []control.Seat // admitted miners and this validator; with an address while there
	envelope signed.Envelope
}

// newSeating checks the admission list, adds the validator's own seat, and
// writes the registry into the book. life counts the validator's starts: the
// registries of a later one are newer than all of an earlier one, which others
// may still hold.
func newSeating(run *spec.Run, runID spec.RunID, id Identity, admit []control.Seat, address string, life uint64, b *book) (*seating, error) {
	s := &seating{run: run, fingerprint: run.Fingerprint(), id: runID, key: id.Key, book: b, version: life << 32}
	own := control.Seat{UID: ValidatorUID, Peer: id.Peer, Role: control.Validator}
	for _, a := range admit {
		a.Address, a.Hotkey = "", ""
		if a.Role == control.Miner && a.UID >= run.Assignment.Slots {
			return nil, fault.Errorf(fault.Config, "admission list: uid %d; the run has seats 0 to %d (assignment.slots)", a.UID, run.Assignment.Slots-1)
		}
		if a.Peer == id.Peer {
			own.UID = a.UID
			continue
		}
		s.seats = append(s.seats, a)
	}
	own.Address = address
	s.seats = append(s.seats, own)
	slices.SortStableFunc(s.seats, func(a, b control.Seat) int { return int(a.UID) - int(b.UID) })
	if err := control.CheckSeats(s.seats); err != nil {
		return nil, fault.Errorf(fault.Config, "admission list: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.publish()
	return s, nil
}

// publish signs the seats as the next version. s.mu is held.
func (s *seating) publish() {
	s.version++
	r := control.Registry{Fingerprint: s.fingerprint, RunID: s.id, Version: s.version, Seats: slices.Clone(s.seats)}
	s.envelope = control.Seal(r, s.key)
	s.book.set(r)
	s.bell.ring()
}

// join seats a peer, or says why not. host is where the peer calls from: a node
// that listens on all its addresses is reached there.
func (s *seating) join(p signed.PeerID, host string, j control.Join) (control.Seat, signed.Envelope, error) {
	if err := j.Check(); err != nil {
		return control.Seat{}, nil, control.Refuse(control.Malformed, "%v", err)
	}
	if _, port, _ := net.SplitHostPort(j.Address); !specific(j.Address) && host != "" {
		j.Address = net.JoinHostPort(host, port)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.seats, func(a control.Seat) bool { return a.Peer == p })
	if i < 0 {
		return control.Seat{}, nil, control.Refuse(control.Unregistered, "the key of this node is not registered: ask the validator's operator to admit peer ID %s as %s", p, j.Role)
	}
	if s.seats[i].Role != j.Role {
		return control.Seat{}, nil, control.Refuse(control.Unregistered, "peer ID %s is registered as %s, not as %s", p, s.seats[i].Role, j.Role)
	}
	if j.Run.Fingerprint() != s.fingerprint {
		r := control.Refuse(control.OtherRun, "fingerprint differs (%s here, %s there)", j.Run.Fingerprint().Short(), s.fingerprint.Short())
		for _, d := range spec.Diff(&j.Run, s.run) {
			r.Differences = append(r.Differences, d.String())
		}
		r.Differences = r.Differences[:min(len(r.Differences), control.MaxDifferences)]
		return control.Seat{}, nil, r
	}
	if !j.RunID.IsZero() && j.RunID != s.id {
		return control.Seat{}, nil, control.Refuse(control.OtherRun, "this is run %s of the spec, not run %s", s.id.Short(), j.RunID.Short())
	}
	if s.seats[i].Address != j.Address || s.seats[i].Hotkey != j.Hotkey {
		s.seats[i].Address, s.seats[i].Hotkey = j.Address, j.Hotkey
		s.publish()
	}
	return s.seats[i], s.envelope, nil
}

// leave takes a peer for gone until it joins again. It reports whether it was
// there.
func (s *seating) leave(p signed.PeerID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.seats, func(a control.Seat) bool { return a.Peer == p && a.Address != "" })
	if i < 0 {
		return false
	}
	s.seats[i].Address = ""
	s.publish()
	return true
}

// present returns the miners that are there, ascending by uid.
func (s *seating) present() []control.Seat {
	return s.pick(func(a control.Seat) bool { return a.Role == control.Miner && a.Address != "" })
}

// miners returns all admitted miners, ascending by uid.
func (s *seating) miners() []control.Seat {
	return s.pick(func(a control.Seat) bool { return a.Role == control.Miner })
}

func (s *seating) pick(want func(control.Seat) bool) []control.Seat {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []control.Seat
	for _, a := range s.seats {
		if want(a) {
			out = append(out, a)
		}
	}
	return out
}

// isHere reports whether a peer has joined and not left.
func (s *seating) isHere(p signed.PeerID) bool {
	seat, ok := s.book.lookup(p)
	return ok && seat.Address != ""
}

// registry returns the newest signed registry.
func (s *seating) registry() signed.Envelope {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.envelope
}

func (s *seating) serveRegistry(context.Context, control.Call) (control.Reply, error) {
	return control.Reply{Document: word{s.registry()}, View: s.book.get()}, nil
}

// specific reports whether others can dial an address: it is not that of all
// interfaces.
func specific(address string) bool {
	host, _, err := net.SplitHostPort(address)
	ip := net.ParseIP(host)
	return err == nil && (ip == nil || !ip.IsUnspecified())
}
