package hub

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"lockstep/internal/fault"
)

// Branch is a name whose commit moves with every commit on it.
type Branch struct {
	Name   string
	Commit string
}

// BranchExistsError says that a branch cannot be made because it is there.
type BranchExistsError struct{ Branch string }

func (e *BranchExistsError) Error() string {
	return fmt.Sprintf("branch %s exists already", e.Branch)
}

// Fault says that the repository refused.
func (e *BranchExistsError) Fault() fault.Kind { return fault.Refused }

// checkBranch accepts main and the names that a tag may have.
func checkBranch(name string) error {
	if name == mainBranch {
		return nil
	}
	if checkTag(name) != nil {
		return fault.Errorf(fault.Usage, "%q cannot be a branch: use up to 96 letters, digits and . _ - with a letter or digit first", clip(name))
	}
	return nil
}

// Branches lists all branches by name; an empty repository has none.
func (d *Directory) Branches(ctx context.Context) ([]Branch, error) {
	entries, err := os.ReadDir(d.path(headsDir))
	if err != nil {
		return nil, err
	}
	var branches []Branch
	for _, e := range entries {
		if checkBranch(e.Name()) != nil {
			continue // litter of the file system
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		id, err := d.ref(headsDir, e.Name())
		if err != nil {
			return nil, err
		}
		branches = append(branches, Branch{Name: e.Name(), Commit: id})
	}
	slices.SortFunc(branches, func(a, b Branch) int { return strings.Compare(a.Name, b.Name) })
	return branches, nil
}

// CreateBranch makes a branch at a commit; *BranchExistsError if it is there.
func (d *Directory) CreateBranch(ctx context.Context, name, commit string) (err error) {
	defer func() { err = explainFull(d.disk, d.root, maxSmallWrite, err) }()
	if err := checkBranch(name); err != nil {
		return err
	}
	if !isCommitID(commit) {
		return fault.Errorf(fault.Usage, "branch %s: %q is not a full commit id", name, clip(commit))
	}
	if _, err := d.record(commit); err != nil {
		return err
	}
	return d.moveRefs(ctx, func() error {
		head, err := d.head(name)
		switch {
		case err != nil:
			return err
		case head != "":
			return &BranchExistsError{Branch: name}
		}
		return d.putRef(ctx, headsDir, name, commit)
	})
}

// DeleteBranch removes a branch other than main; its commits stay.
func (d *Directory) DeleteBranch(ctx context.Context, name string) error {
	if err := checkBranch(name); err != nil {
		return err
	}
	if name == mainBranch {
		return fault.Errorf(fault.Refused, "the branch main cannot be deleted")
	}
	return d.moveRefs(ctx, func() error {
		err := d.disk.Remove(d.path(headsDir, name))
		if errors.Is(err, fs.ErrNotExist) {
			return &NotFoundError{What: "branch", Name: name, Where: d.root}
		}
		if err != nil {
			return err
		}
		return d.disk.SyncDir(d.path(headsDir))
	})
}

// moveRefs runs f with the locks that a change of refs needs.
func (d *Directory) moveRefs(ctx context.Context, f func() error) error {
	writers, err := d.enterWriters(ctx)
	if err != nil {
		return err
	}
	defer writers.unlock()
	refs, err := lock(ctx, d.path(refsLock), false)
	if err != nil {
		return err
	}
	defer refs.unlock()
	return f()
}
