package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"lockstep/config"
	"lockstep/internal/fault"
	"lockstep/internal/signed"
	"lockstep/model"
	"lockstep/observe"
	"lockstep/swarm"
	"lockstep/swarm/control"
)

// nodeFlags are the settings of miner and validator, beside textFlags. The rest of the run spec
// belongs in the file that all nodes share.
var nodeFlags = []string{
	"model", "init", "seed", "seq-len", "sequences", "slots", "segments", "segment-rows",
	"lr", "min-lr", "warmup", "decay-steps", "listen", "announce", "key", "round-deadline", "claim-deadline",
	"micro-batch", "threads", "throttle", "dir", "hub-dir", "repo", "hub-url", "hub-token", "json",
}

func (a *app) miner() *cobra.Command {
	var cheat string
	var child bool
	cmd := &cobra.Command{
		Use:     "miner",
		Short:   "Take part in a network as a miner",
		GroupID: "run",
		Args:    cobra.NoArgs,
		Long: `Join a network: compute gradients on the segments that the run deals to this
miner's seat, and average them with the others. The validator must have admitted
this node's key; its peer ID is printed at the start. All nodes share one file of
settings, whose fingerprint is compared when they meet.`,
		Example: `  lockstep miner --config run.yaml --dir m0 --validator 203.0.113.9:4138/PEERID
  lockstep miner --config run.yaml --dir m0 --validator localhost:4138/PEERID --listen :0
  lockstep miner --config run.yaml --dir m0 --validator localhost:4138/PEERID --json`,
	}
	config.AddFlags(cmd.Flags(), slices.Concat(textFlags, nodeFlags, []string{"validator"})...)
	cmd.Flags().StringVar(&cheat, "cheat", "", "lie: random, switch, recommit or tokens")
	cmd.Flags().BoolVar(&child, "child", false, "leave when stdin ends")
	cmd.Flags().MarkHidden("cheat")
	cmd.Flags().MarkHidden("child")
	cmd.RunE = a.runs(func(ctx context.Context, c config.Config, t *observe.Terminal) error {
		kind, err := swarm.ParseCheat(cheat)
		if err != nil {
			return err
		}
		at, err := swarm.ParseAddress(c.Node.Validator)
		if err != nil {
			return fmt.Errorf("--validator: %w", err)
		}
		n, err := a.openNode(ctx, &c, t, child)
		if err != nil {
			return err
		}
		defer n.close()
		err = swarm.RunMiner(n.ints.Context, swarm.MinerConfig{Node: n.node, Validator: at, Cheat: kind, Throttle: c.Node.Throttle})
		return n.ints.outcome(err, "state saved in "+c.Output.Dir)
	})
	return cmd
}

func (a *app) validator() *cobra.Command {
	var child bool
	cmd := &cobra.Command{
		Use:     "validator",
		Short:   "Check the miners of a network, decide its epochs, score it",
		GroupID: "run",
		Args:    cobra.NoArgs,
		Long: `Run a network's validator: admit the miners that node.admit lists, recompute
their gradients, open the averaging, decide it, and keep evidence, ledger, scores
and weights in the run folder. Restarted, it goes on where it was.`,
		Example: `  lockstep validator --config run.yaml --dir v --listen 0.0.0.0:4138 --announce host9:4138
  lockstep validator --config run.yaml --dir v --epochs 100
  lockstep validator --config run.yaml --dir v --json`,
	}
	config.AddFlags(cmd.Flags(), slices.Concat(textFlags, nodeFlags, []string{"epochs"})...)
	cmd.Flags().BoolVar(&child, "child", false, "leave when stdin ends")
	cmd.Flags().MarkHidden("child")
	cmd.RunE = a.runs(func(ctx context.Context, c config.Config, t *observe.Terminal) error {
		admit, err := seats(c)
		if err != nil {
			return err
		}
		n, err := a.openNode(ctx, &c, t, child)
		if err != nil {
			return err
		}
		defer n.close()
		summary, err := swarm.RunValidator(n.ints.Context, swarm.ValidatorConfig{
			Node: n.node, Admit: admit, Epochs: uint64(c.Swarm.Epochs),
			ClaimDeadline: c.Node.ClaimDeadline, RoundDeadline: c.Node.RoundDeadline,
		})
		if err == nil && !c.Output.JSON {
			a.printMiners(summary)
		}
		return n.ints.outcome(err, "state saved in "+c.Output.Dir)
	})
	return cmd
}

// seats reads node.admit.
func seats(c config.Config) ([]control.Seat, error) {
	var out []control.Seat
	for i, s := range c.Node.Admit {
		var peer signed.PeerID
		if err := peer.UnmarshalText([]byte(s.PeerID)); err != nil {
			return nil, fault.Errorf(fault.Config, "node.admit[%d].peer-id: %w", i, err)
		}
		if s.UID < 0 || s.UID > 1<<16 {
			return nil, fault.Errorf(fault.Config, "node.admit[%d].uid is %d", i, s.UID)
		}
		if s.Role != string(control.Miner) && s.Role != string(control.Validator) {
			return nil, fault.Errorf(fault.Config, "node.admit[%d].role is %q; it must be miner or validator", i, s.Role)
		}
		out = append(out, control.Seat{UID: uint32(s.UID), Peer: peer, Role: control.Role(s.Role)})
	}
	return out, nil
}

// openedNode is what miner and validator have in common.
type openedNode struct {
	node  swarm.Node
	basis *basis
	ints  *interrupts
}

func (n *openedNode) close() {
	n.ints.release()
	n.basis.close()
}

// openNode opens what a node stands on and shows its events: as one JSON object
// a line on stdout, or as text on stderr.
func (a *app) openNode(ctx context.Context, c *config.Config, t *observe.Terminal, child bool) (*openedNode, error) {
	if c.Output.Dir == "" {
		return nil, fault.Errorf(fault.Config, "--dir is needed: the folder for this node's key and state")
	}
	b, err := assemble(ctx, c, t, networkSlots, func(c config.Config) int { return c.Protocol.Sequences })
	if err != nil {
		return nil, err
	}
	repo, err := openRepository(ctx, *c)
	if err != nil {
		b.close()
		return nil, err
	}
	key := c.Node.Key
	if key == "" {
		key = filepath.Join(c.Output.Dir, "identity.key")
	}
	identity, err := swarm.EnsureIdentity(key)
	if err != nil {
		b.close()
		return nil, err
	}
	ints := a.catchAs(ctx, t, child)
	t.Line("peer ID %s, run %s", identity.Peer, b.run.Fingerprint().Short())
	emit := nodeScreen{t}.show
	if c.Output.JSON {
		emit = a.tell
	}
	return &openedNode{
		node: swarm.Node{
			Dir: c.Output.Dir, Key: identity.Key, Listen: c.Node.Listen, Announce: c.Node.Announce,
			Run: &b.run, Source: b.source,
			Initial: func() (*model.Parameters, error) { return b.weights, nil },
			Hub:     repo, MicroBatch: c.Node.MicroBatch, Emit: emit, Stop: ints.Stop,
		},
		basis: b, ints: ints,
	}, nil
}

// catchAs catches signals as a child of a supervisor does, or as a process of
// its own.
func (a *app) catchAs(ctx context.Context, t *observe.Terminal, child bool) *interrupts {
	if child {
		return catchAsChild(ctx, t, os.Stdin)
	}
	return catch(ctx, t)
}

// tell writes an event as one JSON object on a line of stdout.
func (a *app) tell(e swarm.Event) {
	if line, err := swarm.EncodeEvent(e); err == nil {
		a.stdout.Write(line)
	}
}

// networkSlots is the number of seats among which segments are dealt. It does
// not follow the number of miners, so that a miner more or less leaves the
// others' text as it was.
func networkSlots(c config.Config) int {
	if c.Protocol.Slots > 0 {
		return c.Protocol.Slots
	}
	return max(8, c.Swarm.Miners)
}
