package server

import (
	"context"
	"errors"
	"time"

	"lockstep/hub"
)

// sweepHourly clears away every hour until ctx ends.
func (s *Server) sweepHourly(ctx context.Context) {
	hourly := time.NewTicker(time.Hour)
	defer hourly.Stop()
	for {
		select {
		case now := <-hourly.C:
			s.sweep(ctx, now)
		case <-ctx.Done():
			return
		}
	}
}

// sweep clears away what uploads have left that nobody finished or committed. It
// opens repositories itself: find would give one that is still being copied here
// a first commit.
func (s *Server) sweep(ctx context.Context, now time.Time) {
	errs := []error{clearUploads(s.root, now)}
	for _, kind := range kinds {
		names, err := s.repos.list(kind)
		errs = append(errs, err)
		for _, name := range names {
			dir, err := hub.OpenDirectory(s.repos.path(name))
			if err == nil {
				_, err = dir.Sweep(ctx, now.Add(-abandoned))
			}
			if ctx.Err() != nil { // the server ends; the next one goes on
				return
			}
			errs = append(errs, err)
		}
	}
	if err := errors.Join(errs...); err != nil && s.options.Log != nil {
		s.options.Log.Warn("clearing away unfinished uploads", "error", err)
	}
}
