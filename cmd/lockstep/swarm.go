package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"lockstep/config"
	"lockstep/internal/fault"
	"lockstep/internal/merkle"
	"lockstep/observe"
	"lockstep/swarm"
	"lockstep/swarm/control"
)

// settingsFile holds a run folder's settings, for its nodes and for verify.
const settingsFile = "lockstep.yaml"

// swarmed is the result of `lockstep swarm --json`.
type swarmed struct {
	swarm.Summary
	Model   string  `json:"model"`
	Data    string  `json:"data"`
	Dir     string  `json:"dir"`
	Seconds float64 `json:"seconds"`
}

func (a *app) swarm() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "swarm",
		Short:   "Run a whole network on this machine",
		GroupID: "run",
		Args:    cobra.NoArgs,
		Long: `Start miners and a validator as separate processes on loopback, with a local
repository that takes every epoch's model. No account and no network is needed.
With --cheaters the last miners lie, each in another way, and are found out.`,
		Example: `  lockstep swarm
  lockstep swarm --miners 6 --cheaters 4
  lockstep swarm --model tiny --data ./fineweb --miners 3 --epochs 3 --json`,
	}
	config.AddFlags(cmd.Flags(), "model", "init", "data", "seed", "seq-len", "sequences", "slots", "segments", "segment-rows",
		"lr", "min-lr", "warmup", "decay-steps", "miners", "epochs", "cheaters", "round-deadline", "claim-deadline",
		"micro-batch", "threads", "dir", "hub-dir", "repo", "json")
	cmd.RunE = a.runs(func(ctx context.Context, c config.Config, t *observe.Terminal) error {
		n, err := planNetwork(ctx, c)
		if err != nil {
			return err
		}
		ints := catch(ctx, t)
		defer ints.release()
		start := time.Now()
		s := newScreen(t, n.config, n.fingerprint)
		err = n.run(ints, s)
		t.Status("")
		if n.finished && c.Output.JSON {
			err = errors.Join(err, a.printJSON(swarmed{n.summary, n.config.Protocol.Model, n.config.Protocol.Data, n.dir, time.Since(start).Seconds()}))
		} else if n.finished {
			a.printSwarm(n, time.Since(start))
		}
		return ints.outcome(err, "the run is saved in "+n.dir)
	})
	return cmd
}

// network is a local network: its folder, its processes, what came of it.
type network struct {
	config      config.Config
	dir         string
	fingerprint merkle.Digest
	validator   *child
	miners      []*child
	summary     swarm.Summary
	finished    bool
}

// planNetwork lays out the run folder: keys, settings, one folder a node. It
// assembles the run once to find every mistake before a process is started.
func planNetwork(ctx context.Context, c config.Config) (*network, error) {
	b, err := assemble(ctx, &c, networkSlots, func(c config.Config) int { return c.Protocol.Sequences })
	if err != nil {
		return nil, err
	}
	b.close()
	if c.Protocol.Slots == 0 {
		c.Protocol.Slots = networkSlots(c)
	}
	setDefault(&c.Node.RoundDeadline, presetOf(c.Protocol.Model).deadline)
	n := &network{config: c, fingerprint: b.run.Fingerprint()}
	if n.dir, err = runDir(c.Output.Dir); err != nil {
		return nil, err
	}
	n.config.Output.Dir = n.dir
	if c.Hub.Dir == "" {
		n.config.Hub.Dir = filepath.Join(n.dir, "hub")
	}
	if c.Hub.Repo == "" {
		n.config.Hub.Repo = modelName(&c)
	}
	return n, n.layOut()
}

// runDir returns the run folder: the one asked for, which must not hold a run
// yet, or the first free runs/swarm-N.
func runDir(asked string) (string, error) {
	if asked != "" {
		if _, err := os.Stat(filepath.Join(asked, settingsFile)); err == nil {
			return "", fault.Errorf(fault.Config, "--dir %s holds a run already; choose another folder", asked)
		}
		return asked, os.MkdirAll(asked, 0o755)
	}
	if err := os.MkdirAll("runs", 0o755); err != nil {
		return "", err
	}
	for i := 1; ; i++ {
		dir := filepath.Join("runs", "swarm-"+strconv.Itoa(i))
		err := os.Mkdir(dir, 0o755)
		if err == nil || !errors.Is(err, os.ErrExist) {
			return dir, err
		}
	}
}

// layOut makes a key for each node and the settings that all nodes share. The
// validator works in the run folder itself, so that evidence and ledger lie
// where one looks first.
func (n *network) layOut() error {
	c := n.config
	admit := make([]config.Seat, c.Swarm.Miners)
	for i := range admit {
		dir := filepath.Join(n.dir, "miner-"+strconv.Itoa(i))
		id, err := makeIdentity(dir)
		if err != nil {
			return err
		}
		admit[i] = config.Seat{UID: i, PeerID: id.Peer.String(), Role: string(control.Miner)}
		n.miners = append(n.miners, &child{name: "miner " + strconv.Itoa(i), dir: dir})
	}
	if _, err := makeIdentity(filepath.Join(n.dir, "validator")); err != nil {
		return err
	}
	c.Node.Admit = admit
	c.Node.Listen = "127.0.0.1:0"
	settings := filepath.Join(n.dir, settingsFile)
	if err := config.Save(settings, c); err != nil {
		return err
	}
	n.validator = &child{name: "validator", dir: filepath.Join(n.dir, "validator"), args: []string{
		"validator", "--config", settings, "--dir", n.dir,
		"--key", filepath.Join(n.dir, "validator", "identity.key"), "--json", "--child",
	}}
	honest := c.Swarm.Miners - c.Swarm.Cheaters
	for i, m := range n.miners {
		m.args = []string{"miner", "--config", settings, "--dir", m.dir, "--threads", strconv.Itoa(n.minerThreads()), "--json", "--child"}
		if i >= honest {
			m.args = append(m.args, "--cheat", swarm.CheatNumber(i-honest).String())
		}
	}
	return nil
}

// minerThreads shares this machine's cores among the miners, who compute at the
// same time; the validator computes while they wait.
func (n *network) minerThreads() int {
	if n.config.Node.Threads > 0 {
		return n.config.Node.Threads
	}
	return max(1, runtime.GOMAXPROCS(0)/len(n.miners))
}

func makeIdentity(dir string) (swarm.Identity, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return swarm.Identity{}, err
	}
	return swarm.EnsureIdentity(filepath.Join(dir, "identity.key"))
}

// run starts the processes and follows them until all have ended.
func (n *network) run(ints *interrupts, s *screen) error {
	sup := &supervisor{network: n, screen: s, reports: make(chan report, 256), rested: make(chan *child, 1+len(n.miners))}
	err := sup.launch(n.validator)
	if err == nil {
		err = sup.follow(ints)
	}
	sup.endAll()
	return err
}

func (n *network) each(f func(*child)) {
	f(n.validator)
	for _, m := range n.miners {
		f(m)
	}
}

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
	resting int         // children that wait for another start
	leaving bool        // a signal came: the network is to end
}

func (s *supervisor) launch(c *child) error {
	err := c.start(s.reports)
	if err == nil {
		s.alive++
	}
	return err
}

// follow hears the processes until all have ended, or one of them ends the
// network by an error.
func (s *supervisor) follow(ints *interrupts) error {
	stop := ints.Stop
	for s.alive+s.resting > 0 {
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
			s.validator.leave() // after the epoch in hand, for which it needs the miners
		case <-ints.Context.Done():
			return nil
		}
	}
	return nil
}

// endAll makes what is still alive go: by asking, by SIGTERM, by force.
func (s *supervisor) endAll() {
	s.each((*child).leave)
	hurry, late := time.After(timeToLeave), time.After(timeToLeave+timeToHurry)
	if s.leaving { // it was asked long ago
		hurry = time.After(0)
	}
	for s.alive > 0 {
		select {
		case r := <-s.reports:
			if r.event == nil {
				s.alive--
			}
		case <-hurry:
			s.each((*child).hurry)
		case <-late:
			s.each((*child).kill)
		}
	}
}

// hear takes one report: an event goes to the screen, the end of a process is
// judged.
func (s *supervisor) hear(r report) error {
	switch e := r.event.(type) {
	case nil:
		s.alive--
		return s.ended(r)
	case swarm.Listening:
		if r.from == s.validator {
			return s.admitMiners(e)
		}
	case swarm.Finished:
		s.summary, s.finished = e.Summary, true
	}
	s.screen.show(r.from.name, r.event)
	return nil
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
	if !s.leaving {
		if pause, ok := r.from.mayRestart(r.err); ok {
			s.screen.terminal.Line("%v; starting it again", r.err)
			s.resting++
			time.AfterFunc(pause, func() { s.rested <- r.from })
			return nil
		}
	}
	s.gone(r.from)
	if s.leaving && isInterruption(r.err) {
		return nil
	}
	return r.err
}

// restart starts a child again, unless the network is about to end.
func (s *supervisor) restart(c *child) error {
	if s.leaving {
		s.gone(c)
		return nil
	}
	return s.launch(c)
}

// gone lets the miners go when the validator will not come back.
func (s *supervisor) gone(c *child) {
	if c == s.validator {
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
