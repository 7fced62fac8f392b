package reduce

import (
	"time"

	"lockstep/internal/merkle"
	"lockstep/internal/signed"
	"lockstep/reduce/commit"
)

// follower is what members and observers share: where their state stands, the
// attempt they follow, the average that comes in, and what validators decided.
type follower struct {
	cfg  Config
	self signed.PeerID
	now  time.Duration
	out  []Action

	peers peerSet // connected
	epoch uint64  // of the caller's durable state
	root  merkle.Digest
	round *round
	seen  slot // newest attempt that this node joined or knows the end of

	// certified is the newest COMMIT seen. While its epoch is above ours it is
	// pending; handed says that Apply or CatchUp went out for it.
	certified commit.Certified
	handed    bool

	average []float32     // reused by every round
	resend  time.Duration // when unanswered messages go out again
	member  *Member       // nil for an observer
}

func newFollower(cfg Config) follower {
	return follower{cfg: cfg, self: cfg.self(), epoch: cfg.Epoch, root: cfg.Root, resend: Never}
}

func (f *follower) do(a Action) { f.out = append(f.out, a) }

func (f *follower) send(to signed.PeerID, m Message) { f.do(Send{to, m}) }

// take returns the actions of this step.
func (f *follower) take() []Action {
	out := f.out
	f.out = nil
	return out
}

// buffer returns the vector for a round's average.
func (f *follower) buffer() []float32 {
	if f.average == nil {
		f.average = make([]float32, f.cfg.Shape.Elements)
	}
	return f.average
}

// enter moves the round to a phase.
func (f *follower) enter(p Phase) {
	f.round.phase = p
	f.do(Entered{f.round.roster.Epoch, f.round.roster.Attempt, p})
}

// current returns the roster whose messages are taken now.
func (f *follower) current() (commit.Signed[commit.Roster], bool) {
	if f.round == nil {
		return commit.Signed[commit.Roster]{}, false
	}
	return f.round.signed, true
}

// pending reports whether an epoch is certified that the caller has not applied.
func (f *follower) pending() bool {
	return !f.certified.IsZero() && f.certified.Decision().Epoch > f.epoch
}

// slot orders attempts.
type slot struct {
	epoch   uint64
	attempt uint32
}

func (s slot) before(t slot) bool {
	return s.epoch < t.epoch || s.epoch == t.epoch && s.attempt < t.attempt
}

// admissible checks what members and observers both ask of a roster, again
// where it is known to be the one joined before. It reports a foreign base state
// to the caller.
func (f *follower) admissible(from signed.PeerID, s commit.Signed[commit.Roster], again bool) bool {
	r := s.Doc()
	switch {
	case s.Signer() != from || !f.cfg.Validators.Includes(from):
		f.do(Drop{from, "a roster that is not from a validator"})
		return false
	case !f.cfg.ours(r.Fingerprint, r.RunID) || r.Shape() != f.cfg.Shape:
		return false
	case !again && !f.seen.before(slot{r.Epoch, r.Attempt}) && f.cfg.mutant != acceptStaleRoster:
		return false
	case r.Epoch != f.epoch+1 || f.pending():
		return false // a late copy, or we are behind and the certificate will tell
	case r.Base != f.root:
		f.do(Diverged{r.Epoch, r.Base, f.root})
		return false
	}
	return true
}

// decision handles a certificate of this run. Whoever brings it, it speaks for
// itself; but one of an epoch beyond the next makes this node give up on its own
// state and take a later one, so that it must come from a validator, who does
// send it: see Leader.welcome.
func (f *follower) decision(from signed.PeerID, m DecisionMessage) {
	c, err := f.cfg.Validators.Certify(m.Signatures)
	d := c.Decision()
	if err != nil || !f.cfg.ours(d.Fingerprint, d.RunID) && f.cfg.mutant != acceptPastRun {
		return
	}
	if d.Epoch > f.epoch+1 && !f.cfg.Validators.Includes(from) {
		return
	}
	if at := (slot{d.Epoch, d.Attempt}); f.seen.before(at) {
		f.seen = at // its roster, should it still be on the way, is stale
	}
	if f.member != nil {
		f.member.unlock(d)
	}
	if d.Verdict == commit.Abort {
		if f.round != nil && f.round.id == d.Roster && f.round.phase < PhaseCommitted {
			f.abandon()
		}
		return
	}
	if d.Epoch <= f.epoch || f.pending() && f.certified.Decision().Epoch >= d.Epoch {
		return
	}
	f.certify(c)
}

// certify makes a COMMIT durable and goes on to apply it.
func (f *follower) certify(c commit.Certified) {
	f.certified, f.handed = c, false
	if f.member != nil {
		f.do(Append{Record{RecordCertificate, c.Certificate().Signatures}})
	}
	f.deliver()
}

// deliver hands the pending epoch to the caller: the average if this round made
// it, CatchUp if it cannot come any more, nothing yet while it is on its way.
func (f *follower) deliver() {
	if !f.pending() || f.handed {
		return
	}
	d := f.certified.Decision()
	r := f.round
	if r == nil || r.id != d.Roster || d.Epoch != f.epoch+1 || r.phase == PhaseCommit {
		f.catchUp() // without this round, or without having got anywhere in it
		return
	}
	if r.phase != PhaseCommitted {
		f.enter(PhaseCommitted)
		for i := range r.gather.in { // a stalled stream gets its full time again
			r.gather.in[i].moved = f.now
		}
	}
	switch {
	case !r.complete():
		// Averaged parts may still come, gradients do not any more: their
		// members go on to the next epoch.
		if r.failed || f.member != nil && !f.member.partDone() {
			f.catchUp()
		}
	case merkle.Root(r.gather.leaves) == d.Result:
		f.handed = true
		f.do(Apply{f.certified, r.gather.average, r.gather.leaves})
	default:
		f.catchUp() // this node was in the minority
	}
}

func (f *follower) catchUp() {
	f.handed = true
	if f.round != nil && f.round.phase != PhaseCommitted {
		f.abandon()
	}
	f.do(CatchUp{f.certified})
}

// abandon ends a round whose average is of no use. The frozen gradient stays.
func (f *follower) abandon() {
	epoch, attempt := f.round.roster.Epoch, f.round.roster.Attempt
	if f.round.member != nil {
		f.member.release(f.round.member)
	}
	f.round = nil
	f.do(Entered{epoch, attempt, PhaseIdle})
}

// applied moves on to the caller's new state. The round stays, so that slower
// peers can still get this node's part, until the next one needs its memory.
func (f *follower) applied(e Applied) {
	if e.Epoch < f.epoch || e.Epoch == f.epoch && e.Root == f.root {
		return
	}
	f.epoch, f.root = e.Epoch, e.Root
	if f.round != nil && f.round.phase != PhaseCommitted && f.round.roster.Epoch <= e.Epoch {
		f.abandon()
	}
	f.deliver()
}

// offer sends the stream position of owner i's part to it.
func (f *follower) offer(i int) {
	r := f.round
	in := &r.gather.in[i]
	if i == r.me || r.part(i).Count == 0 || in.closed || !in.active || r.gather.checked[i] {
		return
	}
	f.send(r.peer(i), CreditMessage{r.id, commit.Gather, in.next, in.limit})
}

// subscribe grants the first window of every part.
func (f *follower) subscribe() {
	f.round.others(func(i int) {
		in := &f.round.gather.in[i]
		in.active, in.moved = true, f.now
		in.grant(0, uint32(f.cfg.Window))
		f.offer(i)
	})
}
