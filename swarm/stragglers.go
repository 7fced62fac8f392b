package swarm

import (
	"lockstep/internal/signed"
	"lockstep/reduce"
	"lockstep/reduce/commit"
)

// stragglers remembers who lets deadlines pass, so that one node that does so
// again and again does not cost the others a deadline each time. Nobody is
// punished by it: who is not waited for may still come in time. The zero value
// is ready to use; it serves one goroutine.
type stragglers struct {
	late   debts                     // of claims
	mute   debts                     // of reports which state a node has
	silent map[signed.PeerID]silence // stopped the last rounds that they were in
}

// debts are what nodes owe for deadlines that they let pass. The zero value is
// empty and ready to use, see note.
type debts map[signed.PeerID]debt

// debt is how often a node must be in time before it is waited for again, and how
// much that will be after its next delay. The price doubles with every delay that
// cost the others a deadline and falls by one whenever a node without debts is in
// time: one that is late every other time soon costs them few deadlines, and one
// that is late once in a while is forgiven.
type debt struct{ owes, price int }

// longestDebt bounds both.
const longestDebt = 16

// note counts one more deadline.
func (d *debts) note(p signed.PeerID, inTime bool) {
	if *d == nil {
		*d = debts{}
	}
	was := (*d)[p]
	switch {
	case inTime && was.owes > 0:
		was.owes--
	case inTime:
		was.price = max(was.price-1, 0)
	case was.owes > 0:
		was.owes = was.price
	default:
		was.price = min(max(2*was.price, 1), longestDebt)
		was.owes = was.price
	}
	(*d)[p] = was
}

// silence is how often in a row a member stopped its rounds.
type silence struct {
	epochs int    // in which it did
	last   uint64 // the newest of them
}

// claimed notes whether a miner's claim came in time.
func (s *stragglers) claimed(p signed.PeerID, inTime bool) { s.late.note(p, inTime) }

// isLate reports whether a miner's claims are not waited for.
func (s *stragglers) isLate(p signed.PeerID) bool { return s.late[p].owes > 0 }

// reported notes whether a miner said in time which state it has.
func (s *stragglers) reported(p signed.PeerID, inTime bool) { s.mute.note(p, inTime) }

// keepsWaiting reports whether a miner is not waited for, in whatever.
func (s *stragglers) keepsWaiting(p signed.PeerID) bool { return s.isLate(p) || s.mute[p].owes > 0 }

// concluded notes who stopped an attempt by silence, and who was part of an
// average.
func (s *stragglers) concluded(c reduce.Concluded) {
	d, roster := c.Certified.Decision(), c.Roster.Doc()
	if s.silent == nil {
		s.silent = map[signed.PeerID]silence{}
	}
	for _, x := range d.Excluded {
		i := roster.IndexUID(x.UID)
		if i < 0 || x.Kind != commit.Silent {
			continue
		}
		p := roster.Members[i].Peer
		if was := s.silent[p]; was.last != d.Epoch {
			s.silent[p] = silence{was.epochs + 1, d.Epoch}
		}
	}
	if d.Verdict == commit.Commit {
		for _, m := range roster.Members {
			delete(s.silent, m.Peer)
		}
	}
}

// longestRest bounds for how many epochs a silent member is left out.
const longestRest = 16

// rests reports whether a member is left out of an epoch: who stopped its last
// round is asked again at once, who did so twice in a row after one epoch, then
// after two, four and so on.
func (s *stragglers) rests(p signed.PeerID, epoch uint64) bool {
	was := s.silent[p]
	if was.epochs < 2 {
		return false
	}
	rest := uint64(longestRest)
	if k := was.epochs - 2; k < 4 {
		rest = 1 << k
	}
	return epoch > was.last && epoch <= was.last+rest
}
