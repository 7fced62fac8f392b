package reduce

import (
	"time"

	"lockstep/reduce/commit"
)

// Phase is how far an attempt has come, as one machine sees it.
type Phase uint8

// The phases of an attempt.
const (
	PhaseIdle      Phase = iota // no roster
	PhaseCommit                 // commitments go to the leader
	PhaseOpen                   // the group is fixed; openings, chunks and receipts flow
	PhaseVoted                  // this member voted and waits for the decision
	PhaseCommitted              // certified; the average is being completed or applied
)

var phaseNames = [...]string{"idle", "commit", "exchange", "voted", "committed"}

// String returns the phase's name.
func (p Phase) String() string {
	if int(p) < len(phaseNames) {
		return phaseNames[p]
	}
	return "unknown"
}

// deadlines are all derived from the one deadline of the roster and count from
// the roster's arrival at this machine: clocks of different machines are never
// compared. The owner of a part gives up on a sender before anybody gives up on
// the owner, so that the blame falls where the fault is.
type deadlines struct{ whole time.Duration }

func deadlinesOf(r commit.Roster) deadlines {
	return deadlines{time.Duration(r.Deadline) * time.Millisecond}
}

func (d deadlines) share(percent time.Duration) time.Duration { return d.whole / 100 * percent }

func (d deadlines) commit() time.Duration  { return d.share(10) } // all commitments are in (leader)
func (d deadlines) open() time.Duration    { return d.share(25) } // all openings are in
func (d deadlines) scatter() time.Duration { return d.share(60) } // own part is reduced
func (d deadlines) gather() time.Duration  { return d.share(85) } // the result is whole
func (d deadlines) decide() time.Duration  { return d.whole }     // the leader decides (leader)

// scatterStall and gatherStall bound the wait for the next chunk of one stream.
func (d deadlines) scatterStall() time.Duration { return d.share(20) }
func (d deadlines) gatherStall() time.Duration  { return d.share(30) }

// lost is how long the leader waits for a member whose connection is gone, and
// grace how long it collects further complaints after the first that dooms the
// attempt.
func (d deadlines) lost() time.Duration  { return d.share(8) }
func (d deadlines) grace() time.Duration { return d.share(3) }

// resend is the pace at which members and observers repeat what is still
// unanswered, ask the pace at which the leader does: its rosters are long.
func (d deadlines) resend() time.Duration { return d.pace(250 * time.Millisecond) }
func (d deadlines) ask() time.Duration    { return d.pace(2 * time.Second) }

func (d deadlines) pace(slowest time.Duration) time.Duration {
	return min(max(d.share(4), 10*time.Millisecond), slowest)
}
