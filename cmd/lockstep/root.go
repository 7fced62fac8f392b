package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"lockstep/config"
	"lockstep/internal/f32"
	"lockstep/observe"
)

// app is what the verbs share.
type app struct {
	stdout, stderr io.Writer
	configFile     string
	started        bool // a verb began: errors are no longer about usage
}

// verb is the body of a command: it gets the finished configuration, a
// terminal for the person watching, and a context that ends on the second
// interrupt.
type verb func(ctx context.Context, c config.Config, t *observe.Terminal) error

func (a *app) root() *cobra.Command {
	cobra.EnableCommandSorting = false // they stand in the order in which one meets them
	root := &cobra.Command{
		Use:   "lockstep",
		Short: "Train GPT-2 with strangers, and check every gradient bit for bit",
		Long: `lockstep is a decentralised training network on CPUs: miners train GPT-2 on
their own segments of text, a validator recomputes their gradients and finds
them equal bit for bit, and exactly those gradients are averaged.

Results go to stdout, everything else to stderr. Exit codes: 0 done, 1
unexpected, 2 usage, 3 configuration, 4 unfit environment, 5 damaged input, 10
claim is false, 11 cannot decide, 12 self-test failed, 20 network, 21 refused by
the Hub, 30 another run's fingerprint, 130/143 interrupted.`,
		Example: `  lockstep swarm                        a whole network on this machine
  lockstep train --steps 50 --dir run   one process, no network
  lockstep generate --model run/hub/nano --prompt "The sea"`,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.PersistentFlags().StringVar(&a.configFile, "config", "", "YAML file with settings")
	root.AddGroup(
		&cobra.Group{ID: "run", Title: "Run:"},
		&cobra.Group{ID: "check", Title: "Check:"},
		&cobra.Group{ID: "use", Title: "Use:"},
	)
	root.AddCommand(
		a.swarm(), a.train(), a.miner(), a.validator(), a.keys(),
		a.verify(), a.hash(), a.config(), a.doctor(), a.bench(),
		a.generate(), a.eval(), a.data(), a.hub(), a.version(),
	)
	isGroup(root)
	root.SetHelpCommand(help())
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error {
		var bad *pflag.InvalidValueError
		if errors.As(err, &bad) {
			return fmt.Errorf("--%s %q: %s is wanted", bad.GetFlag().Name, bad.GetValue(), wanted[bad.GetFlag().Value.Type()])
		}
		return err
	})
	return root
}

// wanted says, by a flag's type, what may stand behind it.
var wanted = map[string]string{
	"int": "a whole number", "uint64": "a whole number from 0", "int64": "a whole number", "float64": "a number",
	"bool": "true or false", "duration": "a duration such as 30s or 2m", "string": "text", "int32": "a whole number", "uint": "a whole number from 0",
}

// help prints what a command's --help prints, and refuses a name that no command
// has.
func help() *cobra.Command {
	return &cobra.Command{
		Use: "help [COMMAND]", Short: "Help about any command",
		RunE: func(cmd *cobra.Command, args []string) error {
			about, rest, err := cmd.Root().Find(args)
			if err == nil && len(rest) > 0 {
				err = fmt.Errorf("unknown command %q for %q", rest[0], about.CommandPath())
			}
			if err != nil {
				return err
			}
			about.InitDefaultHelpFlag()
			return about.Help()
		},
	}
}

// isGroup makes every command that only has others below it print its help when
// it is called alone, and refuse a name that none of them has.
func isGroup(cmd *cobra.Command) {
	if cmd.HasSubCommands() {
		cmd.Args = cobra.NoArgs
		cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	}
	for _, sub := range cmd.Commands() {
		isGroup(sub)
	}
}

// runs makes a cobra body of a verb: it loads the configuration with the
// command's own flags, chooses the ISA and starts.
func (a *app) runs(v verb) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, _ []string) error {
		a.started = true
		c, err := a.load(cmd)
		if err != nil {
			return err
		}
		if err := f32.Select(os.Getenv("LOCKSTEP_ISA")); err != nil {
			return err
		}
		f32.SetThreads(c.Node.Threads)
		if err := f32.SelfTest(); err != nil {
			return err
		}
		t := a.terminal(c)
		return v(withTerminal(cmd.Context(), t), c, t)
	}
}

// terminal shows progress on stderr: in place on a terminal, plain lines under
// CI or in a pipe.
func (a *app) terminal(c config.Config) *observe.Terminal {
	f, ok := a.stderr.(*os.File)
	if !ok {
		return observe.NewPlainTerminal(a.stderr)
	}
	return observe.NewTerminal(f, os.Getenv("CI") != "", os.Getenv("NO_COLOR") != "")
}
