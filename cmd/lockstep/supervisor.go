package main

import (
	"syscall"
	"time"

	"lockstep/internal/fault"
	"lockstep/swarm"
)

// run starts the processes and follows them until all have ended.
func (n *network) run(ints *interrupts, s *screen) error {
	sup := &supervisor{network: n, screen: s, reports: make(chan report, 256), rested: make(chan *child, 2+len(n.miners))}
	first := n.hub
	if first == nil {
		first = n.validator
	}
	err := sup.launch(first)
	if err == nil {
		err = sup.follow(ints)
	}
	sup.endAll()
	return err
}

// nodes are the processes that the Hub serves.
func (n *network) nodes() []*child { return append([]*child{n.validator}, n.miners...) }

// How long processes may take to leave when asked, and when told to hurry.
const (
	timeToLeave = 10 * time.Second
	timeToHurry = 5 * time.Second
)

// supervisor follows a network's processes.
type supervisor struct {
	*network
	screen  *screen
	reports chan report
	rested  chan *child // whose pause before another start is over
	alive   int         // processes
	serving bool        // the Hub is one of them
	resting int         // children that wait for another start
	leaving bool        // a signal came: the network is to end
	closing bool        // the validator is done, or will not come back
}

func (s *supervisor) launch(c *child) error {
	err := c.start(s.reports)
	if err == nil {
		s.alive++
		s.serving = s.serving || c == s.hub
	}
	return err
}

// end takes note of the end of a process.
func (s *supervisor) end(c *child) {
	s.alive--
	if c == s.hub {
		s.serving = false
	}
}

// atWork counts the nodes that are alive.
func (s *supervisor) atWork() int {
	if s.serving {
		return s.alive - 1
	}
	return s.alive
}

// follow hears the processes until all nodes have ended, or one process ends the
// network by an error.
func (s *supervisor) follow(ints *interrupts) error {
	stop := ints.Stop
	for s.atWork()+s.resting > 0 || !s.closing && !s.leaving {
		select {
		case r := <-s.reports:
			if err := s.hear(r); err != nil {
				return err
			}
		case c := <-s.rested:
			s.resting--
			if err := s.restart(c); err != nil {
				return err
			}
		case <-stop:
			stop, s.leaving = nil, true
			s.validator.leave() // after the epoch in hand, for which it needs the miners and the Hub
		case <-ints.Context.Done():
			return nil
		}
	}
	return nil
}

// endAll makes what is still alive go, the Hub after the nodes that use it: by
// asking, by SIGTERM, by force.
func (s *supervisor) endAll() {
	patience := timeToLeave
	if s.leaving { // they were asked long ago
		patience = 0
	}
	s.await(s.nodes(), patience, func() bool { return s.atWork() == 0 })
	if s.hub != nil {
		s.await([]*child{s.hub}, timeToLeave, func() bool { return s.alive == 0 })
	}
}

// await asks processes to go and waits until they are gone.
func (s *supervisor) await(all []*child, patience time.Duration, gone func() bool) {
	for _, c := range all {
		c.leave()
	}
	hurry, late := time.After(patience), time.After(timeToLeave+timeToHurry)
	for !gone() {
		select {
		case r := <-s.reports:
			if r.event == nil {
				s.end(r.from)
			}
		case <-hurry:
			for _, c := range all {
				c.hurry()
			}
		case <-late:
			for _, c := range all {
				c.kill()
			}
		}
	}
}

// hear takes one report: an event goes to the screen, the end of a process is
// judged.
func (s *supervisor) hear(r report) error {
	switch e := r.event.(type) {
	case nil:
		s.end(r.from)
		return s.ended(r)
	case swarm.Listening:
		switch r.from {
		case s.hub:
			return s.useHub(e)
		case s.validator:
			return s.admitMiners(e)
		}
	case swarm.Finished:
		s.summary, s.finished = e.Summary, true
	}
	if _, warns := r.event.(swarm.Warning); warns && s.leaving && r.from != s.validator {
		return nil // miners miss a validator that leaves first
	}
	s.screen.show(r.from.name, r.event)
	return nil
}

// useHub starts the validator once the Hub can be reached. A Hub that was
// restarted keeps its address, and finds the nodes running.
func (s *supervisor) useHub(e swarm.Listening) error {
	if s.validator.cmd != nil {
		return nil
	}
	s.hub.args = append(s.hub.args, "--listen", e.Address)
	for _, c := range s.nodes() {
		c.args = append(c.args, "--hub-url", "http://"+e.Address, "--hub-token", s.tokenPath())
	}
	return s.launch(s.validator)
}

// admitMiners starts the miners once the validator can be reached. A validator
// that was restarted keeps its address, and finds its miners running.
func (s *supervisor) admitMiners(e swarm.Listening) error {
	if s.miners[0].cmd != nil {
		return nil
	}
	s.validator.args = append(s.validator.args, "--listen", e.Address)
	for _, m := range s.miners {
		m.args = append(m.args, "--validator", e.Address+"/"+e.Peer.String())
		if err := s.launch(m); err != nil {
			return err
		}
	}
	return nil
}

// ended judges the end of a process. One that was killed is started again after
// a pause, as an operator would. When the validator is done, the miners go too;
// any other end by an error ends the network.
func (s *supervisor) ended(r report) error {
	if !s.leaving && !s.closing {
		if pause, ok := r.from.mayRestart(r.err); ok {
			s.screen.terminal.Line("%v; starting it again", r.err)
			s.resting++
			time.AfterFunc(pause, func() { s.rested <- r.from })
			return nil
		}
	}
	s.gone(r.from)
	if (s.leaving || s.closing) && isInterruption(r.err) {
		return nil
	}
	return r.err
}

// restart starts a child again, unless the network is about to end.
func (s *supervisor) restart(c *child) error {
	if s.leaving || s.closing {
		s.gone(c)
		return nil
	}
	return s.launch(c)
}

// gone lets the miners go when the validator will not come back.
func (s *supervisor) gone(c *child) {
	if c == s.validator {
		s.closing = true
		for _, m := range s.miners {
			m.leave()
		}
	}
}

// isInterruption reports whether a process ended because it was asked to.
func isInterruption(err error) bool {
	k := fault.KindOf(err)
	return k == fault.Interrupted || k == fault.Terminated
}

// leave asks a process to finish its work and go.
func (c *child) leave() {
	if c.stdin != nil {
		c.stdin.Close()
	}
}

// hurry asks a process to save what is consistent and go now.
func (c *child) hurry() {
	c.leave()
	if c.cmd != nil && c.cmd.Process != nil {
		c.cmd.Process.Signal(syscall.SIGTERM)
	}
}

// kill ends a process now.
func (c *child) kill() {
	if c.cmd != nil && c.cmd.Process != nil {
		c.cmd.Process.Kill()
	}
}
