package client

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"lockstep/hub"
	"lockstep/hub/server"
	"lockstep/internal/fault"
)

// TestCancelInAPause ends the context while the client waits for a Hub that is
// away: that is no reason to take what the cache has, nor a failure of the Hub.
func TestCancelInAPause(t *testing.T) {
	withoutLinks(t)
	w := newWorld(t, server.Options{})
	id := w.fetched(t, "config.json")
	w.http.Close()
	for name, do := range map[string]func(context.Context, *Repo) error{
		"snapshot": func(ctx context.Context, r *Repo) error { return second(r.Snapshot(ctx, "1")) },
		"list":     func(ctx context.Context, r *Repo) error { return second(snapshot{r, id, false}.List(ctx)) },
		"open":     func(ctx context.Context, r *Repo) error { return second(r.Open(ctx, id, "config.json")) },
		"push": func(ctx context.Context, r *Repo) error {
			return second(hub.PushEpoch(ctx, r, 2, epochOne, "x", patient(nil)))
		},
	} {
		for _, cache := range []string{w.client.config.Cache, t.TempDir()} {
			ctx, cancel := context.WithCancel(ctx)
			r := w.again(t, Config{Cache: cache})
			pauses := 0
			r.client.config.Backoff.Sleep = func(ctx context.Context, _ time.Duration) error {
				pauses++
				cancel()
				return ctx.Err()
			}
			if err := do(ctx, r); !errors.Is(err, context.Canceled) || fault.KindOf(err) != fault.Interrupted || pauses != 1 {
				t.Errorf("%s: %v after %d pauses", name, err, pauses)
			}
			cancel()
		}
	}
}

// TestCancelInATry: a request that fails just as its context ends, by whatever
// error, was given up by its caller.
func TestCancelInATry(t *testing.T) {
	w := newWorld(t, server.Options{})
	for _, attempts := range []int{1, 6} {
		w.client.config.Backoff.Attempts = attempts
		ctx, cancel := context.WithCancel(ctx)
		err := w.client.repeat(ctx, func() error {
			cancel()
			return fault.Errorf(fault.Network, "no connection")
		})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%d attempts: %v", attempts, err)
		}
	}
}

// TestOutageIsTold: of an outage one line tells, however many requests wait for
// its end, and none of a failure that is gone at once.
func TestOutageIsTold(t *testing.T) {
	w := newWorld(t, server.Options{})
	var told []string
	r := w.again(t, Config{Notice: func(line string) { told = append(told, line) }})
	failing := func(tries int) func() error {
		return func() error {
			if tries--; tries < 0 {
				return nil
			}
			return fault.Errorf(fault.Network, "no connection")
		}
	}
	for i, c := range []struct{ failures, told int }{{2, 0}, {6, 1}, {6, 1}, {0, 1}, {3, 2}, {1, 2}} {
		err := r.client.repeat(ctx, failing(c.failures))
		if len(told) != c.told || err != nil != (c.failures == 6) {
			t.Errorf("request %d: told %q, %v", i, told, err)
		}
	}
	if !strings.Contains(strings.Join(told, "\n"), "no connection; trying again, next in ") {
		t.Errorf("told %q", told)
	}
}
