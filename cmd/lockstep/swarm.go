package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"lockstep/config"
	"lockstep/hub"
	"lockstep/internal/fault"
	"lockstep/internal/merkle"
	"lockstep/internal/spec"
	"lockstep/observe"
	"lockstep/swarm"
	"lockstep/swarm/control"
)

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
		Long: `Start a Hub, a validator and miners as separate processes on loopback. The Hub,
on the folder DIR/hub, takes every epoch's model. No account and no network is needed.
With --cheaters the last miners lie, each in another way, and are found out.
With --resume an interrupted network goes on, or a finished one to more epochs.`,
		Example: `  lockstep swarm
  lockstep swarm --miners 6 --cheaters 4
  lockstep swarm --resume --dir runs/swarm-1 --epochs 32
  lockstep swarm --model tiny --data ./fineweb --miners 3 --epochs 3 --json`,
	}
	config.AddFlags(cmd.Flags(), append(textFlags, "model", "init", "seed", "seq-len", "sequences", "slots", "segments", "segment-rows",
		"lr", "min-lr", "warmup", "decay-steps", "miners", "epochs", "cheaters", "round-deadline", "claim-deadline",
		"micro-batch", "threads", "dir", "hub-dir", "repo", "hub-url", "hub-token", "json")...)
	resume := addResume(cmd)
	cmd.RunE = a.runs(func(ctx context.Context, c config.Config, t *observe.Terminal) error {
		t.Status("preparing %s", c.Protocol.Model)
		n, err := planNetwork(ctx, c, t, *resume)
		t.Status("")
		if err != nil {
			return err
		}
		defer n.release()
		ints := catch(ctx, t)
		defer ints.release()
		start := time.Now()
		s := newScreen(t, n)
		err = n.run(ints, s)
		t.Status("")
		if n.finished && c.Output.JSON {
			err = errors.Join(err, a.printJSON(swarmed{n.summary, n.config.Protocol.Model, n.config.Protocol.Data, n.dir, time.Since(start).Seconds()}))
		} else if n.finished {
			a.printSwarm(n, time.Since(start))
		}
		return ints.outcome(err, "the run is saved; go on with: lockstep swarm --resume --dir "+n.dir)
	})
	return cmd
}

// network is a local network: its folder, its processes, what came of it.
type network struct {
	config      config.Config
	dir         string
	fingerprint merkle.Digest
	base        uint64 // epochs that earlier processes did
	release     func() // gives the folder back
	hub         *child // nil where the nodes use another, or a folder
	validator   *child
	miners      []*child
	summary     swarm.Summary
	finished    bool
}

// planNetwork lays out the run folder: keys, settings, one folder a node. It
// assembles the run once to find every mistake before a process is started. With
// resume it finds the folder laid out, and the run in it must be the same.
func planNetwork(ctx context.Context, c config.Config, t *observe.Terminal, resume bool) (*network, error) {
	b, err := assemble(ctx, &c, t, networkSlots, func(c config.Config) int { return c.Protocol.Sequences })
	if err != nil {
		return nil, err
	}
	b.close()
	if c.Protocol.Slots == 0 {
		c.Protocol.Slots = networkSlots(c)
	}
	setDefault(&c.Node.RoundDeadline, presetOf(c.Protocol.Model).deadline)
	if c.Hub.Repo == "" {
		c.Hub.Repo = "lockstep/" + modelName(&c)
	}
	if _, err := hub.HubID(c.Hub.Repo); err != nil {
		return nil, fault.Errorf(fault.Config, "--repo: %w", err)
	}
	if c.Output.Dir, err = runDir(c.Output.Dir, resume); err != nil {
		return nil, err
	}
	n := &network{config: c, dir: c.Output.Dir, fingerprint: b.run.Fingerprint()}
	// The validator takes the run folder itself.
	if n.release, err = swarm.Folder(filepath.Join(n.dir, "validator")).Lock(); err != nil {
		return nil, err
	}
	if resume {
		err = n.compare(&b.run)
	}
	if err == nil && resume {
		err = n.awaitNodes(ctx)
	}
	if err == nil {
		err = n.requireSpace(b.weights.Layout.Elements)
	}
	if err == nil {
		err = n.layOut()
	}
	if err != nil {
		n.release()
		return nil, err
	}
	return n, nil
}

// runDir returns the run folder: the one asked for, which holds a run only if
// that one is to be resumed, or the first free runs/swarm-N.
func runDir(asked string, resume bool) (string, error) {
	if asked != "" {
		if !resume && exists(filepath.Join(asked, settingsFile)) {
			return "", refuseSecondRun(asked)
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

// compare checks what is asked for against the run in the folder: the run spec,
// the seats, and where it has arrived.
func (n *network) compare(run *spec.Run) (err error) {
	folder := swarm.Folder(n.dir)
	if exists(folder.Run()) {
		if err := folder.CheckRun(run); err != nil {
			return err
		}
	}
	if n.base, err = folder.LastEpoch(); err != nil {
		return err
	}
	if n.base > uint64(n.config.Swarm.Epochs) {
		return fault.Errorf(fault.Config, "--epochs is %d; the run in %s has %d already", n.config.Swarm.Epochs, n.dir, n.base)
	}
	saved := filepath.Join(n.dir, settingsFile)
	if !exists(saved) {
		return nil
	}
	before, err := config.Load(nil, nil, saved)
	if err == nil && before.Swarm.Miners != n.config.Swarm.Miners {
		err = fault.Errorf(fault.Config, "--miners is %d; the run in %s has %d", n.config.Swarm.Miners, n.dir, before.Swarm.Miners)
	}
	return err
}

// timeToVanish is how long the nodes of a supervisor that was killed may need to
// notice it and leave.
const timeToVanish = 20 * time.Second

// awaitNodes waits until no node of an earlier start is at work in the folder.
func (n *network) awaitNodes(ctx context.Context) error {
	dirs := []string{n.dir}
	for i := range n.config.Swarm.Miners {
		dirs = append(dirs, n.minerDir(i))
	}
	deadline := time.Now().Add(timeToVanish)
	for _, dir := range dirs {
		for {
			release, err := swarm.Folder(dir).Lock()
			if err == nil {
				release()
				break
			}
			if fault.KindOf(err) != fault.Config || time.Now().After(deadline) {
				return err
			}
			if err := hub.Sleep(ctx, 100*time.Millisecond); err != nil {
				return err
			}
		}
	}
	return nil
}

// minerDir is the folder of a miner.
func (n *network) minerDir(uid int) string {
	return filepath.Join(n.dir, "miner-"+strconv.Itoa(uid))
}

// savedPerNode is how many vectors of a model's size each node has on disk at the
// most: three states of three, one of them being written, and two averages.
const savedPerNode = 3*3 + 2

// requireSpace makes sure of room for what the nodes keep, and a tag. More tags
// come one by one, of a run that may be meant to go on for ever.
func (n *network) requireSpace(elements int) error {
	nodes := n.config.Swarm.Miners + 1
	if err := hub.RequireSpace(n.dir, int64(4*elements)*int64(nodes*savedPerNode+1)); err != nil {
		return fmt.Errorf("the states of %d nodes: %w", nodes, err)
	}
	return nil
}

// layOut makes a key for each node and the settings that all nodes share. The
// validator works in the run folder itself, so that evidence and ledger lie
// where one looks first.
func (n *network) layOut() (err error) {
	c := n.config
	if n.hub, err = n.planHub(); err != nil {
		return err
	}
	admit := make([]config.Seat, c.Swarm.Miners)
	for i := range admit {
		dir := n.minerDir(i)
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
	if err := saveSettings(n.dir, c); err != nil {
		return err
	}
	shared := []string{"--config", filepath.Join(n.dir, settingsFile), "--hub-dir", n.hubDir(), "--json", "--child"}
	n.validator = &child{name: "validator", dir: filepath.Join(n.dir, "validator"), args: append([]string{
		"validator", "--dir", n.dir, "--key", filepath.Join(n.dir, "validator", "identity.key"),
	}, shared...)}
	honest := c.Swarm.Miners - c.Swarm.Cheaters
	for i, m := range n.miners {
		m.args = append([]string{"miner", "--dir", m.dir, "--threads", strconv.Itoa(n.minerThreads())}, shared...)
		if i >= honest {
			m.args = append(m.args, "--cheat", swarm.CheatNumber(i-honest).String())
		}
	}
	return nil
}

// hubDir is the folder of repositories that all nodes use.
func (n *network) hubDir() string {
	if n.config.Hub.Dir != "" {
		return n.config.Hub.Dir
	}
	return filepath.Join(n.dir, "hub")
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
