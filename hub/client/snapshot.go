package client

import (
	"context"

	"lockstep/hub"
	"lockstep/internal/fault"
)

// Snapshot pins a branch, tag or commit ("" is main): later commits do not
// change what it shows. Offline, or when the Hub cannot be reached, it is the
// commit that the cache knows by this name; stale tells so in the latter case.
func (r *Repo) Snapshot(ctx context.Context, revision string) (s hub.Snapshot, stale bool, err error) {
	revision = orMain(revision)
	known := r.cache().ref(revision)
	commit := known
	if !isCommit(revision) && !r.client.config.Offline {
		commit, err = r.head(ctx, revision)
		if err != nil && (fault.KindOf(err) != fault.Network || known == "") {
			return nil, false, err
		}
		if stale = err != nil; stale {
			commit = known
		}
	}
	if commit == "" {
		return nil, false, &hub.NotFoundError{What: "revision", Name: revision, Where: "the cache's copy of " + r.id}
	}
	if err := r.cache().setRef(revision, commit); err != nil {
		return nil, false, fault.Wrap(fault.Environment, err)
	}
	return snapshot{r, commit}, stale, nil
}

// snapshot is a commit of a repository.
type snapshot struct {
	repo   *Repo
	commit string
}

func (s snapshot) Name() string     { return s.repo.id + "@" + s.commit[:10] }
func (s snapshot) Revision() string { return s.commit }

func (s snapshot) List(ctx context.Context) ([]hub.FileInfo, error) {
	return s.repo.List(ctx, s.commit)
}

func (s snapshot) Open(ctx context.Context, path string) (hub.File, error) {
	return s.repo.Open(ctx, s.commit, path)
}
