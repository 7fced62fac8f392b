package main

import (
	"fmt"
	"strings"

	"lockstep/observe"
	"lockstep/swarm"
	"lockstep/swarm/control"
)

// nodeScreen shows one node's own events: what stays as lines, and on a terminal
// how far it is in the status line.
type nodeScreen struct{ terminal *observe.Terminal }

func (s nodeScreen) show(event swarm.Event) {
	if p, ok := event.(swarm.Progress); ok && s.terminal.Live() {
		part := float64(p.Done) / float64(max(p.Quota, 1))
		s.terminal.Progress(part, fmt.Sprintf("epoch %d", p.Epoch), p.Phase, fmt.Sprintf("%d of %d sequences", p.Done, p.Quota),
			fmt.Sprintf("%d local steps", p.Steps), observe.Count(int64(p.Global))+" tokens in all")
		return
	}
	if line := describe(event); line != "" {
		s.terminal.Line("%s", line)
	}
}

// describe turns a node's event into a line; "" where none is worth it.
func describe(event swarm.Event) string {
	switch e := event.(type) {
	case swarm.Listening:
		if e.Role == string(control.Miner) {
			return "listening at " + e.Address
		}
		return fmt.Sprintf("listening: others join at %s/%s", e.Address, e.Peer)
	case swarm.Joined:
		if e.Wanted == 0 { // said by the miner itself
			return fmt.Sprintf("joined as %s %d", e.Role, e.UID)
		}
		return fmt.Sprintf("%s %d (%s) joined from %s, %d of %d miners are here", e.Role, e.UID, e.Peer.Short(), e.Address, e.Seated, e.Wanted)
	case swarm.Left:
		return fmt.Sprintf("miner %d left: %s", e.UID, e.Reason)
	case swarm.Progress:
		if e.Done > 0 || strings.HasPrefix(e.Phase, "averaging") {
			return "" // other events say the same
		}
		return fmt.Sprintf("epoch %d: %s, %d of %d sequences; %d local steps, %d samples, %s tokens in all", e.Epoch, e.Phase, e.Done, e.Quota, e.Steps, e.Local, observe.Count(int64(e.Global)))
	case swarm.ClaimReady:
		return fmt.Sprintf("epoch %d: claim of miner %d, loss %.4f on %s tokens in %.1fs, gradient %s", e.Epoch, e.UID, e.Loss, observe.Count(int64(e.Tokens)), e.Seconds, e.Gradient.Short())
	case swarm.Judged:
		what := e.Outcome
		if e.Kind != "" {
			what += ", " + e.Kind
		}
		return fmt.Sprintf("epoch %d: miner %d is %s: %s", e.Epoch, e.UID, what, e.Text)
	case swarm.RoundStarted:
		return fmt.Sprintf("epoch %d: attempt %d with miners %v", e.Epoch, e.Attempt, e.Members)
	case swarm.Attempt:
		return fmt.Sprintf("epoch %d: attempt %d ends in %s", e.Epoch, e.Attempt, e.Verdict)
	case swarm.Committed:
		return fmt.Sprintf("epoch %d: loss %.4f, norm %.2f, lr %.1e, %d members, attempt %d, state %s", e.Epoch, e.Loss, e.Norm, e.Rate, len(e.Members), e.Attempts, e.State)
	case swarm.StateRoot:
		return fmt.Sprintf("epoch %d: miner %d reports state %s", e.Epoch, e.UID, e.Root)
	case swarm.Settled:
		return fmt.Sprintf("epoch %d: settled, nodes agree: %v, %d chunks of the average audited", e.Epoch, e.Agree, e.Audited)
	case swarm.Pushed:
		return fmt.Sprintf("epoch %d: tag %s, commit %s", e.Epoch, e.Tag, e.Commit)
	case swarm.CaughtUp:
		return fmt.Sprintf("caught up to epoch %d by its %s, state %s", e.Epoch, e.From, e.Root)
	case swarm.Warning:
		return "warning: " + e.Text
	case swarm.Ended:
		return fmt.Sprintf("the run ended with epoch %d, state %s", e.Epoch, e.Root)
	}
	return ""
}
