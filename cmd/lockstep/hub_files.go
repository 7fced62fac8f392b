package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"lockstep/config"
	"lockstep/hub"
	"lockstep/hub/client"
	"lockstep/internal/durable"
	"lockstep/observe"
)

// onHub is the body of a verb about a repository of the Hub.
type onHub func(ctx context.Context, c config.Config, t *observe.Terminal, repo *client.Repo, revision string) error

// hubVerb makes a cobra body of one: its last argument names the repository.
func (a *app) hubVerb(v onHub) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		return a.runs(func(ctx context.Context, c config.Config, t *observe.Terminal) error {
			ints := catch(ctx, t)
			defer ints.release()
			ints.stopAtOnce() // transfers go on where they ended, commits happen whole
			repo, revision, err := openRepo(ctx, args[len(args)-1])
			if err == nil {
				err = v(ints.Context, c, t, repo, revision)
			}
			return ints.outcome(err, "what has arrived is kept")
		})(cmd, args)
	}
}

// openRepo reads OWNER/NAME or datasets/OWNER/NAME, with @REVISION.
func openRepo(ctx context.Context, name string) (*client.Repo, string, error) {
	k, err := hubClient(ctx)
	if err != nil {
		return nil, "", err
	}
	id, revision, _ := strings.Cut(name, "@")
	kind := client.Model
	if rest, ok := strings.CutPrefix(id, "datasets/"); ok {
		kind, id = client.Dataset, rest
	}
	repo, err := k.Repo(kind, id)
	return repo, revision, err
}

const repoHelp = `NAME is OWNER/NAME, or datasets/OWNER/NAME; @REVISION is a branch, tag or commit.
HF_ENDPOINT, HF_TOKEN, HF_HOME, HF_HUB_CACHE and HF_HUB_OFFLINE mean what they
mean to Hugging Face's own clients.`

// listing is the result of `lockstep hub ls --json`.
type listing struct {
	Repository string       `json:"repository"`
	Commit     string       `json:"commit"`
	Tags       []hub.Tag    `json:"tags"`
	Files      []listedFile `json:"files"`
}

type listedFile struct {
	Path   string `json:"path"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256,omitempty"`
	GitID  string `json:"git_id,omitempty"`
}

func (a *app) hubList() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "ls NAME[@REVISION]",
		Short:   "List the files and tags of a repository",
		Long:    "List the files and tags of a repository.\n\n" + repoHelp,
		Args:    cobra.ExactArgs(1),
		Example: "  lockstep hub ls distilbert/distilgpt2\n  lockstep hub ls datasets/HuggingFaceFW/fineweb --json",
	}
	config.AddFlags(cmd.Flags(), "json")
	cmd.RunE = a.hubVerb(func(ctx context.Context, c config.Config, _ *observe.Terminal, repo *client.Repo, revision string) error {
		commit, err := repo.Resolve(ctx, revision)
		if err != nil {
			return err
		}
		tags, err := repo.Tags(ctx)
		if err != nil {
			return err
		}
		files, err := repo.List(ctx, commit.ID)
		if err != nil {
			return err
		}
		out := listing{Repository: repo.ID(), Commit: commit.ID, Tags: tags}
		for _, f := range files {
			l := listedFile{Path: f.Path, Size: f.Size, GitID: f.GitID}
			if !f.SHA256.IsZero() {
				l.SHA256 = f.SHA256.String()
			}
			out.Files = append(out.Files, l)
		}
		if c.Output.JSON {
			return a.printJSON(out)
		}
		a.printListing(out)
		return nil
	})
	return cmd
}

func (a *app) printListing(l listing) {
	fmt.Fprintf(a.stdout, "%s, commit %s\n", l.Repository, l.Commit)
	rows := [][]string{}
	for _, f := range l.Files {
		rows = append(rows, []string{observe.Count(f.Size), f.Path})
	}
	for _, line := range observe.Table(rows, 0) {
		fmt.Fprintln(a.stdout, line)
	}
	for _, t := range l.Tags {
		fmt.Fprintf(a.stdout, "tag %s  %s\n", t.Name, t.Commit)
	}
}

func (a *app) hubPull() *cobra.Command {
	var to string
	cmd := &cobra.Command{
		Use:   "pull NAME[@REVISION]",
		Short: "Fetch a repository's files into the cache, or into a folder",
		Long: `Fetch a repository's files into the cache that Hugging Face's clients share, and
print the folder. Every file is compared with its digest; an interrupted
transfer goes on where it ended.

` + repoHelp,
		Args:    cobra.ExactArgs(1),
		Example: "  lockstep hub pull distilbert/distilgpt2\n  lockstep hub pull alice/run@12 --to ./model",
	}
	config.AddFlags(cmd.Flags())
	cmd.Flags().StringVar(&to, "to", "", "copy the files into this folder")
	cmd.RunE = a.hubVerb(func(ctx context.Context, _ config.Config, _ *observe.Terminal, repo *client.Repo, revision string) error {
		s, err := repo.Snapshot(ctx, revision)
		if err != nil {
			return err
		}
		files, err := s.List(ctx)
		if err != nil {
			return err
		}
		for _, f := range files {
			if err := pullFile(ctx, s, f.Path, to); err != nil {
				return err
			}
		}
		if to == "" {
			to = repo.Folder(s.Revision())
		}
		fmt.Fprintln(a.stdout, to)
		return nil
	})
	return cmd
}

// pullFile fetches a file and copies it into the folder to, if there is one.
func pullFile(ctx context.Context, s hub.Snapshot, path, to string) error {
	f, err := s.Open(ctx, path)
	if err != nil || to == "" {
		if err == nil {
			err = f.Close()
		}
		return err
	}
	defer f.Close()
	target := filepath.Join(to, filepath.FromSlash(path)) // the client has checked the path
	if err := os.MkdirAll(filepath.Dir(target), 0o777); err != nil {
		return err
	}
	return durable.Explain(target, putFile(target, f))
}

// putFile writes a file under a name that nobody else has and then puts it in
// place, so that nobody takes half of it for the whole. The name is hidden: what
// a kill leaves is not published with the folder later.
func putFile(target string, content io.Reader) error {
	part := filepath.Join(filepath.Dir(target), "."+rand.Text()+".incomplete")
	f, err := os.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, content)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(part, target)
	}
	if err != nil {
		return errors.Join(err, os.Remove(part))
	}
	return durable.SyncDir(filepath.Dir(target))
}
