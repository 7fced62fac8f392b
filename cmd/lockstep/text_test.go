package main

import (
	"io"
	"testing"

	"github.com/spf13/cobra"
)

// TestWhoReadsTextSaysHow: each command that takes --data takes the settings of
// fetching too, whatever text it will be given.
func TestWhoReadsTextSaysHow(t *testing.T) {
	found := map[string]bool{}
	var visit func(cmd *cobra.Command)
	visit = func(cmd *cobra.Command) {
		if cmd.Flags().Lookup("data") != nil {
			found[cmd.Name()] = true
			for _, name := range fetchFlags {
				if cmd.Flags().Lookup(name) == nil {
					t.Errorf("%s has --data and no --%s", cmd.CommandPath(), name)
				}
			}
		}
		for _, sub := range cmd.Commands() {
			visit(sub)
		}
	}
	visit((&app{stdout: io.Discard, stderr: io.Discard}).root())
	for _, name := range []string{"train", "swarm", "miner", "validator", "eval", "hash", "verify", "fetch"} {
		if !found[name] {
			t.Errorf("%s has no --data", name)
		}
	}
}
