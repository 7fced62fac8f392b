package reduce

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"time"

	"lockstep/internal/fault"
	"lockstep/internal/merkle"
	"lockstep/reduce/commit"
)

// checker holds the invariants. Numbers in its messages are those of the list
// in doc.go.
type checker struct {
	w   *world
	err error

	rosters   []commit.Signed[commit.Roster]
	decisions []commit.Decision
	votes     []commit.Signed[commit.Vote]
	inputs    []input
	results   []result // by epoch, of applied averages
	states    []stateOf

	certificates []commit.Certificate // verified already
	opened       time.Duration        // of the newest roster
	proved       map[slot]bool        // epoch and uid of those whose evidence was handed over
	statements   []statement
	evidence     int
	aborts       int
}

type input struct {
	root     merkle.Digest
	gradient []float32 // the member's own slice
	copy     []float32 // as it was when frozen; honest gradients have no NaN
}

type result struct {
	epoch   uint64
	root    merkle.Digest
	members []uint32
}

type stateOf struct {
	epoch uint64
	root  merkle.Digest
}

func newChecker(w *world) *checker { return &checker{w: w, proved: map[slot]bool{}} }

func (c *checker) fail(invariant int, format string, args ...any) {
	if c.err == nil {
		c.err = fmt.Errorf("at %v, invariant %d: %s", c.w.now, invariant, fmt.Sprintf(format, args...))
	}
}

// must turns an unexpected error into a finding.
func (c *checker) must(err error) bool {
	if err != nil {
		c.fail(0, "%v", err)
	}
	return err == nil
}

func (c *checker) froze(n *node, x []float32) {
	if n.role != honest {
		return
	}
	root := n.claim.Doc().Gradient
	if slices.ContainsFunc(c.inputs, func(in input) bool { return in.root == root }) {
		return // the same memory, frozen before
	}
	c.inputs = append(c.inputs, input{root, x, slices.Clone(x)})
}

// action looks at what a machine wants done.
func (c *checker) action(n *node, a Action) {
	switch a := a.(type) {
	case Send:
		c.sent(n, a.Message)
	case Apply:
		c.apply(n, a)
	case CatchUp:
		c.catchUp(n, a.Certified.Decision())
	case Entered:
		if a.Phase == PhaseCommit && n.isMember() && n.role == honest {
			c.joined(n, a)
		}
	case Convicted:
		for _, e := range a.Evidence {
			if f, err := commit.Judge(e); c.must(err) {
				c.proved[slot{a.Epoch, f.UID}] = true
			}
		}
	case Append:
		c.provenFirst(a.Record)
	case Concluded:
		c.concluded(a)
	case Refused:
		if n.isMember() && n.role == honest && fault.KindOf(a.Err) != fault.Unexpected {
			c.fail(0, "uid %d refuses: %v", n.uid, a.Err)
		}
	}
}

func (c *checker) sent(n *node, m Message) {
	switch m := m.(type) {
	case RosterMessage:
		c.roster(m)
	case VoteMessage:
		if n.role == honest {
			c.vote(n, m)
		}
	case DecisionMessage:
		if n.isValidator() {
			c.decision(m)
		}
	case EvidenceMessage:
		if n.role == honest {
			c.convicted(m.Evidence)
		}
	}
}

// apply: only a certified average, whole, finite and the same everywhere.
func (c *checker) apply(n *node, a Apply) {
	d := a.Certified.Decision()
	if n.role != honest {
		return
	}
	if a.Certified.IsZero() || d.Verdict != commit.Commit || !c.valid(n, a.Certified.Certificate()) {
		c.fail(8, "node %d applies without a certificate", n.uid)
		return
	}
	if d.Epoch != n.disk.epoch+1 {
		c.fail(7, "node %d applies epoch %d on epoch %d", n.uid, d.Epoch, n.disk.epoch)
	}
	leaves := n.cfg.Shape.Digests(merkle.KindAverage, a.Average)
	if merkle.Root(leaves) != d.Result || !slices.Equal(leaves, a.Leaves) {
		c.fail(4, "node %d applies bytes that are not the certified ones", n.uid)
	}
	for i, v := range a.Average {
		if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
			c.fail(14, "node %d applies %v at %d", n.uid, v, i)
		}
	}
}

// catchUp: what a node gives up its own state for was decided, in this run.
func (c *checker) catchUp(n *node, d commit.Decision) {
	if !slices.ContainsFunc(c.decisions, func(k commit.Decision) bool {
		return k.Roster == d.Roster && k.Verdict == commit.Commit && k.Result == d.Result && d.Verdict == commit.Commit
	}) {
		c.fail(8, "node %d catches up with epoch %d, which was not decided", n.uid, d.Epoch)
	}
}

// valid verifies a certificate from its bytes, once.
func (c *checker) valid(n *node, cert commit.Certificate) bool {
	for _, known := range c.certificates {
		if bytes.Equal(known.Signatures[0], cert.Signatures[0]) {
			return true
		}
	}
	_, err := n.cfg.Validators.Decision(cert)
	c.certificates = append(c.certificates, cert)
	return err == nil
}

// applied: any two nodes that apply an epoch apply the same root.
func (c *checker) applied(n *node, d commit.Decision) {
	if n.isValidator() {
		c.documented(n, d)
	}
	for _, r := range c.results {
		if r.epoch == d.Epoch {
			if r.root != d.Result || !slices.Equal(r.members, d.Members) {
				c.fail(1, "node %d applies %s in epoch %d, others %s", n.uid, d.Result.Short(), d.Epoch, r.root.Short())
			}
			return
		}
	}
	c.results = append(c.results, result{d.Epoch, d.Result, d.Members})
	if r, ok := c.rosterOf(d.Roster); ok {
		c.rightSum(r, d.Result)
		if d.Tokens != r.Tokens() {
			c.fail(9, "epoch %d is divided by %d, the commitments say %d", d.Epoch, d.Tokens, r.Tokens())
		}
	}
}

// state: epochs never go back and name one state.
func (c *checker) state(n *node) {
	for _, s := range c.states {
		if s.epoch == n.disk.epoch {
			if s.root != n.disk.root {
				c.fail(1, "node %d has another state at epoch %d", n.uid, s.epoch)
			}
			return
		}
	}
	c.states = append(c.states, stateOf{n.disk.epoch, n.disk.root})
}

// joined: a member never goes back to an earlier attempt, nor joins one whose
// end it was told.
func (c *checker) joined(n *node, a Entered) {
	for _, d := range c.decisions {
		if d.Epoch == a.Epoch && d.Attempt == a.Attempt && n.heard(d) {
			c.fail(7, "uid %d joins epoch %d, attempt %d after its decision", n.uid, a.Epoch, a.Attempt)
		}
	}
	if n.joined.before(slot{a.Epoch, a.Attempt}) {
		n.joined = slot{a.Epoch, a.Attempt}
	} else if n.joinedLife == n.life {
		c.fail(7, "uid %d goes from attempt %v back to %d of epoch %d", n.uid, n.joined, a.Attempt, a.Epoch)
	}
	n.joinedLife = n.life
}

// concluded: retries shrink, evidence convicts liars only, wrong sums are found
// by an audit.
func (c *checker) concluded(a Concluded) {
	d := a.Certified.Decision()
	for _, e := range a.Evidence {
		c.convicted(e)
	}
	c.contradicted(a)
	if d.Verdict == commit.Abort && a.Retry && len(d.Excluded) == 0 {
		c.fail(18, "epoch %d is tried again without excluding anybody", d.Epoch)
	}
	if d.Verdict == commit.Commit {
		if len(a.Evidence) > 0 {
			c.fail(8, "epoch %d is certified although a member is proved wrong", d.Epoch)
		}
		c.audit(a)
	}
	if took := c.w.now - max(c.opened, c.w.validator().awake); took > c.w.plan.deadline+c.w.plan.deadline/10 {
		c.fail(16, "attempt %d of epoch %d took %v", d.Attempt, d.Epoch, took)
	}
}

// always holds after every event: inputs are untouched, memory is bounded.
func (c *checker) always() {
	for _, in := range c.inputs {
		if !slices.Equal(in.gradient, in.copy) {
			c.fail(5, "a frozen gradient changed: root %s", in.root.Short())
		}
	}
	for _, n := range c.w.nodes[:c.w.plan.members] {
		m, ok := n.machines[0].(*Member)
		if !ok {
			continue
		}
		held := len(m.slots)
		if m.round != nil && m.round.member != nil {
			for _, window := range m.round.member.held {
				for _, buf := range window {
					if buf != nil {
						held++
					}
				}
			}
		}
		if limit := (c.w.plan.members - 1) * c.w.plan.window; held > limit {
			c.fail(15, "uid %d holds %d chunk buffers; %d are allowed", n.uid, held, limit)
		}
	}
}
