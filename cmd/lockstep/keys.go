package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"lockstep/config"
	"lockstep/internal/fault"
	"lockstep/internal/signed"
	"lockstep/observe"
	"lockstep/swarm"
)

// keyInfo is the result of `lockstep keys --json`.
type keyInfo struct {
	File string        `json:"file"`
	Peer signed.PeerID `json:"peer_id"`
}

func (a *app) keys() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "keys",
		Short:   "Make a node's key, print the peer ID of one",
		GroupID: "run",
		Long: `A node is known to others by its peer ID, the SHA-256 of its ed25519 public key.
A validator admits miners by it, before they were ever started.`,
	}
	cmd.AddCommand(
		a.key("new FILE", "Make a key; a file that is there is left alone", func(path string) (swarm.Identity, error) {
			if exists(path) {
				return swarm.Identity{}, fault.Errorf(fault.Config, "%s is there already; keys are never overwritten (lockstep keys show %s)", path, path)
			}
			return swarm.EnsureIdentity(path)
		}),
		a.key("show FILE", "Print the peer ID of a key", swarm.LoadIdentity),
	)
	return cmd
}

// key makes a verb that gets an identity from a file and prints its peer ID.
func (a *app) key(use, short string, get func(path string) (swarm.Identity, error)) *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use: use, Short: short, Args: cobra.ExactArgs(1),
		Example: "  lockstep keys new m0/identity.key\n  lockstep keys show m0/identity.key\n  lockstep keys show m0/identity.key --json",
	}
	config.AddFlags(cmd.Flags(), "json")
	body := a.runs(func(_ context.Context, c config.Config, _ *observe.Terminal) error {
		id, err := get(path)
		if err != nil {
			return err
		}
		if c.Output.JSON {
			return a.printJSON(keyInfo{path, id.Peer})
		}
		_, err = fmt.Fprintln(a.stdout, id.Peer)
		return err
	})
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		path = args[0]
		return body(cmd, args)
	}
	return cmd
}
