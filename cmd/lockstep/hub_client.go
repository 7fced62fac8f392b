package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"lockstep/hub"
	"lockstep/hub/client"
	"lockstep/observe"
)

// terminalKey is under which the context of a verb holds its terminal, for
// transfers that any verb may need: every model may be named by a Hub id.
type terminalKey struct{}

func withTerminal(ctx context.Context, t *observe.Terminal) context.Context {
	return context.WithValue(ctx, terminalKey{}, t)
}

// hubClient returns a client with the environment's settings.
func hubClient(ctx context.Context) (*client.Client, error) {
	c, err := hubSettings(ctx)
	if err != nil {
		return nil, err
	}
	return client.New(c)
}

// progress is what a transfer needs of a terminal.
type progress interface {
	Progress(part float64, words ...string)
	Status(format string, args ...any)
	Line(format string, args ...any)
}

// hubSettings are those of the environment; transfers show on the verb's
// terminal.
func hubSettings(ctx context.Context) (client.Config, error) {
	c, err := client.FromEnvironment(os.Getenv)
	if err != nil {
		return c, err
	}
	c.Agent = "lockstep/" + strings.Trim(currentVersion().Version, "()")
	if t, ok := ctx.Value(terminalKey{}).(*observe.Terminal); ok {
		c.Progress = func(p client.Transfer) { showTransfer(t, p) }
		c.Notice = func(line string) { t.Line("%s", line) }
	}
	return c, nil
}

// showTransfer shows a file on its way, and that it has arrived.
func showTransfer(t progress, p client.Transfer) {
	verb := "fetching"
	if p.Upload {
		verb = "sending"
	}
	if p.Done < p.Total {
		t.Progress(float64(p.Done)/float64(p.Total), fmt.Sprintf("%s of %s", size(p.Done), size(p.Total)), verb+" "+p.Path)
		return
	}
	t.Status("")
	if p.Total >= 1<<20 {
		t.Line("%s %s  %s, done", verb, p.Path, size(p.Total))
	}
}

// openSnapshot opens a stored model, wherever it is.
func openSnapshot(ctx context.Context, ref hub.ModelName) (hub.Snapshot, error) {
	if ref.Kind != hub.OnHub {
		return hub.OpenModel(ctx, ref)
	}
	k, err := hubClient(ctx)
	if err != nil {
		return nil, err
	}
	repo, err := k.Repo(client.Model, ref.Name)
	if err != nil {
		return nil, err
	}
	return repo.Snapshot(ctx, ref.Revision)
}
