package swarm

import (
	"context"
	"errors"
	"fmt"
	"time"

	"lockstep/internal/fault"
	"lockstep/internal/signed"
	"lockstep/swarm/control"
)

// joinPatience is how long a miner waits for its validator at the start, unless
// it is told otherwise.
const joinPatience = 30 * time.Second

// joinFirst joins the network. A validator that does not answer, or another node
// in its place, is given some time, and the first failure is told at once; one
// that answers no is believed: fault.Network where the key is not registered,
// fault.Fingerprint where the run is another.
func (m *miner) joinFirst(ctx context.Context) (control.Joined, error) {
	patience := m.cfg.JoinWithin
	if patience == 0 {
		patience = joinPatience
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	told := false
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		joined, err := m.join(ctx)
		if err == nil || control.IsRefusal(err, control.Unregistered, control.Malformed) || fault.KindOf(err) == fault.Fingerprint {
			return joined, err
		}
		if !told {
			m.warn("%v; trying again for %v", err, patience)
			told = true
		}
		stopped := m.pause(ctx, wait)
		if errors.Is(stopped, errStopped) {
			return joined, stopped
		}
		if stopped != nil {
			if k := fault.KindOf(err); k == fault.Interrupted || k == fault.Unexpected {
				err = fault.Errorf(fault.Network, "the validator does not answer within %v", patience)
			}
			return control.Joined{}, fmt.Errorf("join at %s: %w", m.cfg.Validator, err)
		}
	}
}

// join asks the validator for this miner's seat.
func (m *miner) join(ctx context.Context) (control.Joined, error) {
	var joined control.Joined
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	err := m.client.Post(ctx, m.cfg.Validator.Peer, "/v1/join", 0, control.Join{
		Run: *m.Run, Role: control.Miner, Address: m.address, Hotkey: m.Hotkey, RunID: m.runID(),
	}, &joined)
	if r := new(control.Refusal); errors.As(err, &r) && r.Code == control.OtherRun && len(r.Differences) == 0 {
		err = m.otherRun(err)
	}
	if err != nil {
		return joined, err
	}
	r, err := control.Open[control.Registry](joined.Registry, m.cfg.Validator.Peer)
	if err == nil {
		err = m.recognise(r)
	}
	if err != nil {
		return joined, err
	}
	m.book.set(r)
	m.emit(Joined{UID: joined.UID, Peer: m.id.Peer, Role: string(control.Miner), Address: m.address})
	return joined, nil
}

// fetchRegistry asks for the registry of this miner's run as it is now. Before
// the miner has joined it has none.
func (m *miner) fetchRegistry(ctx context.Context) (control.Registry, error) {
	var w word
	if err := m.client.Get(ctx, m.cfg.Validator.Peer, "/v1/registry", 0, &w); err != nil {
		return control.Registry{}, err
	}
	r, err := control.Open[control.Registry](w.Signed, m.cfg.Validator.Peer)
	if err == nil && !m.ours(r.Fingerprint, r.RunID) {
		err = fault.Errorf(fault.Damaged, "a registry of run %s", r.RunID.Short())
	}
	return r, err
}

// leave says goodbye. Whoever does not hear it will notice.
func (m *miner) leave() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	_ = m.client.Post(ctx, m.cfg.Validator.Peer, "/v1/leave", 0, struct{}{}, &struct{}{})
}

// startWatching begins to watch. stop ends that and waits for its end.
func (m *miner) startWatching(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		m.watch(ctx)
	}()
	return func() {
		cancel()
		<-ended
	}
}

// watch follows the epochs that the validator certifies until ctx ends. While
// the validator is away the network waits, and so do we.
func (m *miner) watch(ctx context.Context) {
	next, told := m.base, false
	for ctx.Err() == nil {
		var p control.Progress
		err := m.client.Get(ctx, m.cfg.Validator.Peer, fmt.Sprintf("/v1/epoch/%d", next), poll, &p)
		if err == nil && !p.Seated { // the validator was restarted, or had given us up
			if _, err = m.join(ctx); err == nil {
				m.meet()
			} else if fault.KindOf(err) == fault.Fingerprint {
				m.fail(err)
				return
			}
		}
		if err == nil && len(p.Record) > 0 {
			err = m.certify(p.Record)
		}
		if err != nil {
			if !told && ctx.Err() == nil {
				m.warn("the validator: %v; waiting for it", err)
				told = true
			}
			_ = sleep(ctx, 300*time.Millisecond)
			continue
		}
		told = false
		m.now.set(p)
		switch {
		case p.Latest > next: // only the newest matters
			next = p.Latest
		case len(p.Record) > 0:
			next++
		}
		if p.Ended {
			close(m.ended)
			return
		}
	}
}

// certify checks a record and passes it on.
func (m *miner) certify(e signed.Envelope) error {
	r, err := control.Open[control.Record](e, m.cfg.Validator.Peer)
	if err == nil && !m.ours(r.Fingerprint, r.RunID) {
		err = fault.Errorf(fault.Damaged, "a record of run %s", r.RunID.Short())
	}
	if err == nil {
		m.certified.put(r)
	}
	return err
}
