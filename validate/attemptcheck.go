package validate

import (
	"slices"

	"lockstep/internal/merkle"
	"lockstep/reduce/commit"
	"lockstep/validate/ledger"
)

// attemptChecker follows the documents of one averaging attempt through a
// ledger: what its members bound themselves to before anybody showed anything
// must be what they showed afterwards, if their gradients are in an average.
type attemptChecker struct {
	roster      commit.Roster
	id          merkle.Digest
	commitments map[uint32]commit.Commitment
	set         []merkle.Digest // of the signed commitments, as they stand in the ledger
	broken      map[uint32]bool // whose opening does not fit
}

// entry looks at one verified document.
func (c *attemptChecker) entry(e ledger.Entry, doc any) error {
	switch d := doc.(type) {
	case commit.Roster:
		*c = attemptChecker{roster: d, id: e.Signed.Digest(), commitments: map[uint32]commit.Commitment{}, broken: map[uint32]bool{}}
	case commit.Commitment:
		if d.Roster == c.id {
			c.commitments[d.UID] = d
			c.set = append(c.set, e.Signed.Digest())
		}
	case commit.Set:
		if d.Roster == c.id && !slices.Equal(d.Commitments, c.set) {
			return damagedEntry(e, "the set is of other commitments than those before it")
		}
	case openingView:
		i := c.roster.IndexUID(d.UID)
		if d.Roster == c.id && (i < 0 || !d.Opens(c.commitments[d.UID], c.roster.Members[i])) {
			c.broken[d.UID] = true
		}
	case commit.Decision:
		if d.Roster != c.id || d.Verdict != commit.Commit {
			return nil // who opened otherwise than committed is why an attempt is aborted
		}
		for _, uid := range d.Members {
			if c.broken[uid] {
				return damagedEntry(e, "uid %d opened otherwise than it committed, and yet its gradient is averaged", uid)
			}
		}
	}
	return nil
}
