package reduce

import (
	"time"

	"lockstep/reduce/commit"
)

// Observer is the machine of a validator that receives the averaged parts
// without contributing. It keeps no journal: what was decided, its leader tells
// it again after a restart.
type Observer struct{ follower }

// NewObserver returns an observer. Errors are fault.Config.
func NewObserver(cfg Config) (*Observer, error) {
	common, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	return &Observer{newFollower(common)}, nil
}

// Records implements Machine: there are none.
func (o *Observer) Records() []Record { return nil }

// Current implements Machine.
func (o *Observer) Current() (commit.Signed[commit.Roster], bool) { return o.follower.current() }

// Step implements Machine.
func (o *Observer) Step(now time.Duration, e Event) []Action {
	o.now = now
	switch e := e.(type) {
	case Arrival:
		o.arrive(e)
	case Connected:
		o.peers.add(e.Peer)
		if r := o.round; r != nil {
			if i := r.roster.Index(e.Peer); i >= 0 {
				o.offer(i)
			}
		}
	case Disconnected:
		o.peers.remove(e.Peer)
	case Applied:
		o.applied(e)
	}
	o.timers()
	return o.take()
}

func (o *Observer) arrive(e Arrival) {
	switch msg := e.Message.(type) {
	case RosterMessage:
		o.roster(e)
	case DecisionMessage:
		o.decision(e.From, msg)
	case OpeningMessage:
		if o.round != nil && o.round.id == msg.RosterID() && msg.Want {
			if i := o.round.roster.Index(e.From); i >= 0 {
				o.offer(i)
			}
		}
	case ChunkMessage:
		if o.round == nil || o.round.id != msg.RosterID() {
			return
		}
		if msg.Header.Signer() != e.From || msg.Header.Doc().Stream != commit.Gather {
			o.do(Drop{e.From, "a chunk that is not its own average"})
			return
		}
		o.averaged(e.From, msg)
	case ReceiptMessage:
		if o.round != nil && o.round.id == msg.RosterID() {
			o.receipt(e.From, msg)
		}
	}
}

// roster follows an attempt that names this node as an observer.
func (o *Observer) roster(e Arrival) {
	msg := e.Message.(RosterMessage)
	r := msg.Roster.Doc()
	if !r.Observes(o.self) || !o.admissible(e.From, msg.Roster, false) {
		return
	}
	if err := quotesClaims(r, msg.Claims); err != nil {
		o.do(Refused{err})
		return
	}
	o.round = newRound(msg.Roster, o.self, o.now, o.buffer())
	o.seen = slot{r.Epoch, r.Attempt}
	o.enter(PhaseOpen)
	o.do(Link{memberLinks(r, o.self)})
	o.subscribe()
	o.resend = o.now + o.round.due.resend()
}

// timers repeats credits and looks for parts that stall.
func (o *Observer) timers() {
	r := o.round
	if r == nil {
		o.resend = Never
		return
	}
	if o.now < o.resend {
		return
	}
	o.resend = Never
	if r.phase == PhaseOpen && !r.complete() || r.phase == PhaseCommitted && o.pending() && !o.handed {
		o.lateParts()
		o.nudge()
		o.resend = o.now + r.due.resend()
	}
}

// Next implements Machine.
func (o *Observer) Next() time.Duration { return o.resend }
