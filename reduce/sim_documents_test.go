package reduce

import (
	"lockstep/internal/merkle"
	"lockstep/reduce/commit"
)

// roster: one for each attempt, parts as invariant 10 wants them.
func (c *checker) roster(m RosterMessage) {
	r := m.Roster.Doc()
	for _, s := range c.rosters {
		k := s.Doc()
		if s.Digest() == m.Roster.Digest() {
			return
		}
		if k.Epoch == r.Epoch && k.Attempt == r.Attempt {
			c.fail(6, "two rosters for epoch %d, attempt %d", r.Epoch, r.Attempt)
		}
	}
	owned := make([]int, r.Shape().Chunks())
	for _, p := range r.Members {
		for k := range p.Part.Count {
			owned[p.Part.First+k]++
		}
	}
	for chunk, owners := range owned {
		if owners != 1 {
			c.fail(10, "chunk %d has %d owners", chunk, owners)
		}
	}
	c.rosters = append(c.rosters, m.Roster)
	c.opened = c.w.now
}

func (c *checker) rosterOf(id merkle.Digest) (commit.Roster, bool) {
	for _, r := range c.rosters {
		if r.Digest() == id {
			return r.Doc(), true
		}
	}
	return commit.Roster{}, false
}

// vote: honest members vote once for each roster, and only for the right sum.
func (c *checker) vote(n *node, m VoteMessage) {
	v := m.Vote.Doc()
	for _, k := range c.votes {
		if k.Signer() != m.Vote.Signer() || k.Doc().Roster != v.Roster {
			continue
		}
		if k.Digest() != m.Vote.Digest() {
			c.fail(7, "uid %d votes twice on one roster", n.uid)
		}
		return
	}
	c.votes = append(c.votes, m.Vote)
	if r, ok := c.rosterOf(v.Roster); ok && v.OK {
		c.rightSum(r, v.Result)
	}
}

// rightSum compares a root with the naive sum over the roster's members, unless
// one of them sums wrongly on purpose.
func (c *checker) rightSum(r commit.Roster, root merkle.Digest) {
	for _, m := range r.Members {
		if r := c.w.plan.roles[m.UID]; r == wrongSum || r == twoReceipts {
			return
		}
	}
	if merkle.Root(r.Shape().Digests(merkle.KindAverage, c.oracle(r))) != root {
		c.fail(2, "the root of epoch %d, attempt %d is not that of the sum over its members", r.Epoch, r.Attempt)
	}
}

// oracle is the second, naive reducer.
func (c *checker) oracle(r commit.Roster) []float32 {
	out := make([]float32, r.Elements)
	for i := range out {
		var sum float64
		var tokens uint64
		for _, m := range r.Members {
			sum += float64(c.w.nodes[m.UID].work(r.Epoch, r.Base).gradient[i])
			tokens += m.Tokens
		}
		out[i] = float32(sum / float64(tokens))
	}
	return out
}

// decision: one for each attempt, one COMMIT for each epoch, and a COMMIT rests
// on votes.
func (c *checker) decision(m DecisionMessage) {
	certified, err := c.w.validator().cfg.Validators.Certify(m.Signatures)
	if !c.must(err) {
		return
	}
	d := certified.Decision()
	for _, k := range c.decisions {
		if k.Epoch != d.Epoch {
			continue
		}
		if k.Attempt == d.Attempt {
			if k.Roster != d.Roster || k.Verdict != d.Verdict || k.Result != d.Result {
				c.fail(6, "two decisions for epoch %d, attempt %d", d.Epoch, d.Attempt)
			}
			return
		}
		if k.Verdict == commit.Commit && d.Verdict == commit.Commit {
			c.fail(6, "two COMMITs for epoch %d", d.Epoch)
		}
	}
	c.decisions = append(c.decisions, d)
	r, ok := c.rosterOf(d.Roster)
	if !ok {
		c.fail(8, "a decision without its roster")
		return
	}
	if d.Verdict == commit.Commit {
		c.enoughVotes(r, d)
	} else {
		c.aborts++
	}
	for _, e := range d.Excluded {
		if e.Kind.Provable() && c.w.plan.roles[e.UID] == honest {
			c.fail(12, "uid %d is honest and was convicted of %s", e.UID, e.Kind)
		}
	}
}

// enoughVotes counts the honest votes that were really sent; liars may vote as
// they like.
func (c *checker) enoughVotes(r commit.Roster, d commit.Decision) {
	votes := 0
	for _, m := range r.Members {
		if c.w.plan.roles[m.UID] != honest {
			votes++
		}
	}
	for _, v := range c.votes {
		if v.Doc().Roster == d.Roster && v.Doc().OK && v.Doc().Result == d.Result {
			votes++
		}
	}
	if 3*votes <= 2*len(r.Members) {
		c.fail(8, "COMMIT of epoch %d on %d of %d votes", d.Epoch, votes, len(r.Members))
	}
}

// documented: when the leader's node takes a step, its caller holds the documents
// that the step rests on.
func (c *checker) documented(n *node, d commit.Decision) {
	for _, a := range n.disk.docket {
		if a.Roster.Digest() != d.Roster {
			continue
		}
		ok := 0
		for _, v := range a.Votes {
			if v.Doc().Roster == d.Roster && v.Doc().OK && v.Doc().Result == d.Result {
				ok++
			}
		}
		if ok >= a.Roster.Doc().Quorum() && !a.Set.IsZero() && len(a.Commitments) == len(d.Members) {
			return
		}
	}
	c.fail(11, "epoch %d is applied, and the documents of attempt %d are lost", d.Epoch, d.Attempt)
}
