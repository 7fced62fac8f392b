package swarm

import (
	"sync/atomic"

	"lockstep/internal/merkle"
	"lockstep/internal/signed"
	"lockstep/reduce"
	"lockstep/reduce/transport"
)

// machinePlan is a machine of package reduce and how to make it from its
// journal.
type machinePlan struct {
	name   string
	memory bool // it has a journal; see Folder.Journal
	build  func(journal []reduce.Record) (reduce.Machine, error)
}

// drive starts the machines over the node's port. Their actions arrive in
// n.mail.
func (n *node) drive(plans ...machinePlan) error {
	kept, err := transport.OpenAverages(n.folder.Averages(), n.shape)
	if err != nil {
		return err
	}
	n.averages.kept.Store(kept)
	c := transport.DriverConfig{
		Transport: n.endpoint, Self: n.id.Peer, Shape: n.shape, Averages: kept,
		Notify: n.mail.put, Failed: n.fail, Keep: n.convictions.keep,
		Dropped: func(p signed.PeerID, why error) { n.warn("a connection to %s is closed: %v", p.Short(), why) },
	}
	for _, p := range plans {
		plan := transport.Plan{Build: func(journal []reduce.Record) (reduce.Machine, error) {
			m, err := p.build(journal)
			if err == nil && n.tap != nil {
				m = n.tap(p.name, m)
			}
			return m, err
		}}
		if p.memory {
			plan.Journal = n.folder.Journal(p.name)
		}
		c.Machines = append(c.Machines, plan)
	}
	if n.driver, err = transport.Start(c); err != nil {
		return err
	}
	n.cleanup = append(n.cleanup, func() { n.driver.Close() })
	return nil
}

// meet asks for bulk connections to everybody in the registry, so that they
// stand before a round needs them.
func (n *node) meet() {
	var peers []reduce.Peer
	for _, s := range n.book.get().Seats {
		if s.Address != "" && s.Peer != n.id.Peer {
			peers = append(peers, reduce.Peer{ID: s.Peer, Address: s.Address})
		}
	}
	n.driver.Want(peers)
}

// averages are what the driver keeps, once it has started. They are safe for
// concurrent use; the zero value keeps nothing.
type averages struct {
	kept atomic.Pointer[transport.Averages]
}

// leaves returns the leaf digests of the average of an epoch.
func (a *averages) leaves(epoch uint64) ([]merkle.Digest, bool) {
	if k := a.kept.Load(); k != nil {
		return k.Leaves(epoch)
	}
	return nil, false
}

// chunk returns an encoded chunk of the average of an epoch.
func (a *averages) chunk(epoch uint64, c int) ([]byte, bool) {
	if k := a.kept.Load(); k != nil {
		return k.Chunk(epoch, c)
	}
	return nil, false
}

// load returns the average of an epoch if its root is the given one.
func (a *averages) load(epoch uint64, root merkle.Digest) ([]float32, bool) {
	if k := a.kept.Load(); k != nil {
		return k.Load(epoch, root)
	}
	return nil, false
}
