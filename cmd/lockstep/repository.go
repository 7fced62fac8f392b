package main

import (
	"context"
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

// planHub makes the Hub of a local network, a process like its nodes, and its
// token. A name without an owner is a plain folder, and a Hub that was named
// serves itself: then there is none to start.
func (n *network) planHub() (*child, error) {
	c := n.config
	if c.Hub.URL != "" || !strings.Contains(c.Hub.Repo, "/") {
		return nil, nil
	}
	s, err := server.New(n.hubDir(), server.Options{}) // which makes the token
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(n.tokenPath(), []byte(s.WriteToken()+"\n"), 0o600); err != nil {
		return nil, err
	}
	dir := filepath.Join(n.dir, "hub-server")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	return &child{name: "hub", dir: dir, args: []string{"hub", "serve", "--dir", n.hubDir(), "--child"}}, nil
}

func (n *network) tokenPath() string { return filepath.Join(n.dir, tokenFile) }
