package client

import (
	"context"
	"errors"

	"lockstep/hub"
)

// Ensured is the repository for a pusher: it is made when somebody looks at it
// and it is not there. Until the Hub can be reached, every call fails and may be
// tried again.
func (r *Repo) Ensured() hub.Repository { return ensured{r} }

type ensured struct{ *Repo }

// Resolve implements hub.Repository.
func (e ensured) Resolve(ctx context.Context, revision string) (hub.Commit, error) {
	c, err := e.Repo.Resolve(ctx, revision)
	if err = e.make(ctx, err); errors.Is(err, errMade) {
		c, err = e.Repo.Resolve(ctx, revision)
	}
	return c, err
}

// Tags implements hub.Repository.
func (e ensured) Tags(ctx context.Context) ([]hub.Tag, error) {
	tags, err := e.Repo.Tags(ctx)
	if err = e.make(ctx, err); errors.Is(err, errMade) {
		tags, err = e.Repo.Tags(ctx)
	}
	return tags, err
}

// errMade says that the repository was missing and is there now.
var errMade = errors.New("the repository was made")

// make makes the repository if that is what err is about.
func (e ensured) make(ctx context.Context, err error) error {
	var missing *hub.NotFoundError
	if !errors.As(err, &missing) || missing.What != noRepository {
		return err
	}
	if err := e.Create(ctx, false); err != nil {
		return err
	}
	return errMade
}
