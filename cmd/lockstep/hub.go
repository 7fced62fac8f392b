package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"

	"github.com/spf13/cobra"

	"lockstep/config"
	"lockstep/hub/server"
	"lockstep/internal/fault"
	"lockstep/observe"
	"lockstep/stream"
	"lockstep/swarm"
)

// hubRole is the role of a network's Hub in its event.
const hubRole = "hub"

func (a *app) hub() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "hub",
		Short:   "Models and datasets on a Hub: serve one, list, fetch, publish",
		GroupID: "use",
		Args:    cobra.NoArgs,
	}
	cmd.AddCommand(a.hubServe(), a.hubList(), a.hubPull(), a.hubPush())
	return cmd
}

func (a *app) hubServe() *cobra.Command {
	var options server.Options
	var lfsOnly, child bool
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Serve a folder of models and datasets as the Hugging Face Hub would",
		Long: `Serve a folder of models and datasets by the protocol of the Hugging Face Hub:
lockstep, huggingface_hub, transformers and @huggingface/hub work with it when
HF_ENDPOINT names it. The first start makes DIR/tokens with a token that may
write. The first interrupt lets requests in hand finish.`,
		Args: cobra.NoArgs,
		Example: `  lockstep hub serve --dir /srv/hub --listen 0.0.0.0:8138
  HF_ENDPOINT=http://host:8138 HF_TOKEN=hf_... python train.py`,
	}
	config.AddFlags(cmd.Flags(), "dir", "listen", "json")
	cmd.Flags().BoolVar(&lfsOnly, "lfs-only", false, "ask every client for Git LFS: huggingface_hub then needs HF_HUB_DISABLE_XET=1")
	cmd.Flags().BoolVar(&child, "child", false, "leave when stdin ends")
	cmd.Flags().MarkHidden("child")
	cmd.Flags().BoolVar(&options.TokensToRead, "tokens-to-read", false, "refuse reading without a token of DIR/tokens")
	cmd.RunE = a.runs(func(ctx context.Context, c config.Config, t *observe.Terminal) error {
		if c.Output.Dir == "" {
			return fault.Errorf(fault.Config, "--dir is needed: the folder of the repositories")
		}
		if c.Output.JSON {
			options.Log = slog.New(slog.NewJSONHandler(a.stdout, nil))
		} else {
			options.Log = slog.New(slog.NewTextHandler(a.stderr, nil))
		}
		options.Rows = openRows
		if lfsOnly {
			options.MaxInline = -1
		}
		s, err := server.New(c.Output.Dir, options)
		if err != nil {
			return err
		}
		l, err := net.Listen("tcp", c.Node.Listen)
		if err != nil {
			return fault.Wrap(fault.Environment, err)
		}
		ints := a.catchAs(ctx, t, child)
		defer ints.release()
		ints.stopAtOnce()
		if child {
			a.tell(swarm.Listening{Role: hubRole, Address: l.Addr().String()})
		} else {
			t.Line("serving %s; tokens are in %s", c.Output.Dir, s.TokensFile())
			fmt.Fprintf(a.stdout, "http://%s\n", l.Addr())
		}
		if err := s.Serve(ints.Context, l); err != nil && err != http.ErrServerClosed {
			return err
		}
		return ints.outcome(nil, "every acknowledged commit is on disk")
	})
	return cmd
}

// openRows reads the text of a served dataset as training would.
func openRows(ctx context.Context, folder string) (server.RowSource, error) {
	source, err := stream.Open(ctx, folder)
	return servedRows{source}, err
}

type servedRows struct{ stream.Source }

func (s servedRows) Text(ctx context.Context, row uint64) (string, bool, error) {
	r, err := s.Source.Text(ctx, row)
	return r.Text, r.Defect == stream.Null, err
}
