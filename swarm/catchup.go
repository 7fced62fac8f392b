package swarm

import (
	"context"
	"fmt"

	"lockstep/internal/fault"
	"lockstep/internal/signed"
	"lockstep/optim"
	"lockstep/reduce/commit"
	"lockstep/swarm/control"
)

// decisionOf returns the decision behind a record, checked against the
// validators that this node trusts.
func (n *node) decisionOf(r control.Record) (commit.Decision, error) {
	if r.Epoch == 0 {
		return commit.Decision{}, nil
	}
	return r.Decision(n.trusted)
}

// step applies an average to the state in memory. An average with a NaN or an
// infinity, or one that leads to such, ends the run (N21).
func (n *node) step(average []float32) (optim.Info, error) {
	info, err := n.state.ApplyAverage(average, n.optimizer)
	if err != nil {
		return info, fmt.Errorf("epoch %d: %w", n.state.Epoch+1, err)
	}
	n.digests = digestsOf(n.fingerprint, n.runID(), n.state)
	return info, nil
}

// save makes the state in memory durable and shows it to others.
func (n *node) save(ctx context.Context, tagged uint64) error {
	word := control.Seal(n.digests.State, n.id.Key)
	// A state is saved whole even if the node is asked to leave meanwhile.
	lost, err := n.archive.put(context.WithoutCancel(ctx), n.state, n.digests, word, tagged)
	if err != nil {
		return err
	}
	for _, epoch := range lost {
		n.warn("there is no room here to wait longer for the repository: the state of epoch %d, which is not in it, is given up", epoch)
	}
	n.news.ring()
	return nil
}

// sources lists who may have states and averages: miners first, to spare the
// validator, and this node never.
func (n *node) sources() []signed.PeerID {
	var miners, validators []signed.PeerID
	n.book.refresh()
	r := n.book.get()
	for _, s := range r.Seats {
		switch {
		case s.Peer == n.id.Peer || s.Address == "":
		case s.Role == control.Miner:
			miners = append(miners, s.Peer)
		default:
			validators = append(validators, s.Peer)
		}
	}
	for _, v := range n.book.validators() {
		if _, seated := r.SeatOf(v.Peer); !seated {
			validators = append(validators, v.Peer)
		}
	}
	return append(miners, validators...)
}

// catchUp brings the state in memory to a certified epoch: by its average if
// that is all that is missing, else by taking the state. It returns which way
// it was. Errors are fault.Network where nobody serves what is missing; then
// the state may be half overwritten, and only catching up mends it: what is on
// disk is untouched.
func (n *node) catchUp(ctx context.Context, r control.Record) (from string, err error) {
	d, err := n.decisionOf(r)
	if err != nil {
		return "", err
	}
	if n.digests != nil && r.Epoch == n.state.Epoch+1 && r.Base == n.digests.root {
		switch err := n.takeAverage(ctx, d); {
		case err == nil && n.digests.root == rootOf(r.State):
			return "average", nil
		case ctx.Err() != nil:
			return "", ctx.Err()
		case err != nil && !mayPass(err):
			return "", err
		}
	}
	have := n.digests
	if have == nil { // half overwritten before: what is right of it is not asked for again
		have = digestsOf(n.fingerprint, n.runID(), n.state)
	}
	n.digests = nil // until the state is sound again
	if err := n.fetch.state(ctx, r.State, n.sources, n.state, have); err != nil {
		return "", err
	}
	n.digests = digestsOf(n.fingerprint, n.runID(), n.state)
	if n.digests.root != rootOf(r.State) {
		return "", fault.Errorf(fault.Damaged, "the state taken for epoch %d has root %s; certified is %s", r.Epoch, n.digests.root.Short(), rootOf(r.State).Short())
	}
	return "state", nil
}

// takeAverage gets the average of the next epoch, from this node's own store or
// from others, and applies it.
func (n *node) takeAverage(ctx context.Context, d commit.Decision) error {
	average, err := n.lostAverage(ctx, d)
	if err != nil {
		return err
	}
	_, err = n.step(average)
	return err
}

// lostAverage gets the average that a decision names.
func (n *node) lostAverage(ctx context.Context, d commit.Decision) ([]float32, error) {
	if x, ok := n.averages.load(d.Epoch, d.Result); ok {
		return x, nil
	}
	return n.fetch.average(ctx, d.Epoch, d.Result, n.shape, n.sources)
}

// mayPass reports whether a failure to get something from others may pass: they
// are away, or served what is not right.
func mayPass(err error) bool {
	k := fault.KindOf(err)
	return k == fault.Network || k == fault.Damaged
}
