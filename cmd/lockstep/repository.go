package main

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"

	"lockstep/config"
	"lockstep/hub"
	"lockstep/hub/client"
	"lockstep/hub/server"
	"lockstep/internal/fault"
)

// repositoryPath is where a run's models lie on this machine: DIR/hub/MODEL
// unless said; a name OWNER/MODEL lies where hub serve has it.
func repositoryPath(c config.Config) string {
	parent, name := c.Hub.Dir, c.Hub.Repo
	if parent == "" {
		parent = filepath.Join(c.Output.Dir, "hub")
	}
	if name == "" {
		name = modelName(&c)
	}
	if strings.Contains(name, "/") {
		return filepath.Join(parent, "models", filepath.FromSlash(name))
	}
	return filepath.Join(parent, name)
}

// repositoryName is how a person names the models of a run.
func repositoryName(c config.Config) string {
	if c.Hub.URL != "" {
		return c.Hub.Repo
	}
	return repositoryPath(c)
}

// openRepository opens where a node pushes epochs: a folder, or with --hub-url a
// repository on a Hub. The Hub need not be there yet, nor the repository on it:
// whoever pushes first makes it.
func openRepository(ctx context.Context, c config.Config) (hub.Repository, error) {
	if c.Hub.URL == "" {
		return hub.CreateDirectory(repositoryPath(c))
	}
	if !strings.Contains(c.Hub.Repo, "/") {
		return nil, fault.Errorf(fault.Config, "--hub-url needs --repo OWNER/NAME; it is %q", c.Hub.Repo)
	}
	settings, err := hubSettings(ctx)
	if err != nil {
		return nil, err
	}
	settings.Endpoint, settings.Offline = c.Hub.URL, false // a Hub that is named is to be spoken to
	if c.Hub.Token != "" {
		token, err := os.ReadFile(c.Hub.Token)
		if err != nil {
			return nil, err
		}
		settings.Token = strings.TrimSpace(string(token))
	}
	k, err := client.New(settings)
	if err != nil {
		return nil, err
	}
	repo, err := k.Repo(client.Model, c.Hub.Repo)
	if err != nil {
		return nil, err
	}
	return repo.Ensured(), nil
}

// tokenFile is the file, in a network's folder, with the token of its Hub.
const tokenFile = "hub-token"

// serveHub serves the Hub of a local network from this process, on its folder.
// The nodes push to it as to any other; its address and token are added to
// their arguments. A name without an owner is a plain folder, and a Hub that was
// named serves itself.
func (n *network) serveHub() (stop func(), err error) {
	c := n.config
	if c.Hub.URL != "" || !strings.Contains(c.Hub.Repo, "/") {
		return func() {}, nil
	}
	s, err := server.New(n.hubDir(), server.Options{Rows: openRows})
	if err != nil {
		return nil, err
	}
	token := filepath.Join(n.dir, tokenFile)
	if err := os.WriteFile(token, []byte(s.WriteToken()+"\n"), 0o600); err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fault.Wrap(fault.Environment, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, l) }()
	n.each(func(child *child) {
		child.args = append(child.args, "--hub-url", hubAddress(l.Addr()), "--hub-token", token)
	})
	return func() {
		cancel()
		<-ended // every acknowledged commit is on disk, however it ended
	}, nil
}
