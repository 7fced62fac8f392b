package main

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"lockstep/config"
	"lockstep/hub"
	"lockstep/hub/client"
	"lockstep/internal/fault"
	"lockstep/observe"
)

func (a *app) hubPush() *cobra.Command {
	var message, tag string
	var private bool
	cmd := &cobra.Command{
		Use:   "push FOLDER NAME",
		Short: "Publish a folder's files as one commit",
		Long: `Publish a folder's files as one commit on main, and tag it if asked to. The
repository is made if it is not there. Files that are there already are not sent
again; files of the repository that the folder does not have stay. Hidden files
and folders such as .env and .git are left out, and links to them, but for
.gitattributes and .gitignore; a link that leads out of the folder is an error.

` + repoHelp,
		Args:    cobra.ExactArgs(2),
		Example: "  lockstep hub push ./checkpoint alice/run --tag 12\n  lockstep hub push ./fineweb datasets/HuggingFaceFW/fineweb",
	}
	config.AddFlags(cmd.Flags())
	cmd.Flags().StringVar(&message, "message", "Upload a folder", "commit message")
	cmd.Flags().StringVar(&tag, "tag", "", "tag for the commit")
	cmd.Flags().BoolVar(&private, "private", false, "make a new repository private")
	var folder string
	body := a.hubVerb(func(ctx context.Context, _ config.Config, t *observe.Terminal, repo *client.Repo, revision string) error {
		if revision != "" {
			return fault.Errorf(fault.Usage, "a push goes to main; leave out @%s", revision)
		}
		files, left, err := folderContents(folder)
		if err != nil {
			return err
		}
		if len(left) > 0 {
			t.Line("left out: %s", someOf(left))
		}
		if err := repo.Create(ctx, private); err != nil {
			return err
		}
		head, err := repo.Resolve(ctx, "main")
		if err != nil {
			return err
		}
		commit, err := repo.Commit(ctx, hub.CommitRequest{Parent: head.ID, Message: message, Add: files})
		if err == nil && tag != "" {
			err = repo.Tag(ctx, tag, commit.ID)
		}
		if err != nil {
			return err
		}
		fmt.Fprintln(a.stdout, commit.ID)
		return nil
	})
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		folder = args[0]
		return body(cmd, args)
	}
	return cmd
}

// folderContents lists the regular files of a folder, and what was left out of
// it: hidden files and folders, which tend to hold secrets, links to them, and
// links to folders. A link out of the folder is an error, since what is behind it was not
// named by whoever publishes the folder.
func folderContents(folder string) (files []hub.Content, left []string, err error) {
	info, err := os.Stat(folder)
	if err == nil && !info.IsDir() {
		err = fault.Errorf(fault.Usage, "%s is a file: push the folder that holds it", folder)
	}
	if err != nil {
		return nil, nil, err
	}
	root, err := os.OpenRoot(folder)
	if err != nil {
		return nil, nil, err
	}
	defer root.Close()
	err = fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == "." {
			return err
		}
		if hidden(d.Name()) {
			left = append(left, name)
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		info, err := root.Stat(name)
		switch {
		case err != nil && d.Type()&fs.ModeSymlink != 0:
			return fault.Errorf(fault.Usage, "%s links to somewhere outside of the folder, or to nothing: put the file itself there, or remove the link (%w)", filepath.Join(folder, name), err)
		case err != nil:
			return err
		case d.Type()&fs.ModeSymlink != 0 && leadsToHidden(folder, name):
			left = append(left, name)
		case info.Mode().IsRegular():
			files = append(files, contentOf(folder, name, info.Size()))
		case !d.IsDir():
			left = append(left, name)
		}
		return nil
	})
	if err == nil && len(files) == 0 {
		err = fault.Errorf(fault.Usage, "%s has no files", folder)
	}
	return files, left, err
}

// hidden says which names are not published. What steers Git is part of a
// repository.
func hidden(name string) bool {
	return strings.HasPrefix(name, ".") && name != ".gitattributes" && name != ".gitignore"
}

// leadsToHidden says whether a link inside a folder ends at a hidden file or in a
// hidden folder, or where that cannot be told.
func leadsToHidden(folder, link string) bool {
	root, err := filepath.EvalSymlinks(folder)
	if err != nil {
		return true
	}
	target, err := filepath.EvalSymlinks(filepath.Join(root, filepath.FromSlash(link)))
	if err != nil {
		return true
	}
	inside, err := filepath.Rel(root, target)
	return err != nil || slices.ContainsFunc(strings.Split(filepath.ToSlash(inside), "/"), hidden)
}

// contentOf is a file of a folder, which is not left whatever becomes of it.
func contentOf(folder, name string, size int64) hub.Content {
	return hub.Content{Path: name, Size: size, Write: func(w io.Writer) error {
		f, err := os.OpenInRoot(folder, name)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = io.Copy(w, f)
		return err
	}}
}

// someOf names the first few of many.
func someOf(names []string) string {
	const most = 5
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}
