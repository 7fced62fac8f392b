package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"lockstep/config"
	"lockstep/internal/httpx"
	"lockstep/observe"
	"lockstep/stream"
)

// textFlags are the settings of every command that reads text, fetchFlags those
// of them that say how text of other machines is reached. Both are appended to.
var (
	textFlags  = slices.Clip(append([]string{"data"}, fetchFlags...))
	fetchFlags = slices.Clip([]string{"cache", "cache-size", "fetch-ahead", "fetch-requests", "rows-endpoint"})
)

// openText opens the text of --data, and pins its name in c: a revision of the
// Hub becomes the commit that it is now. t shows what takes long; it may be nil.
// A person at a terminal is told soon when a server cannot be reached.
func openText(ctx context.Context, c *config.Config, t *observe.Terminal) (stream.Source, error) {
	r, err := remoteText(*c, t)
	if err != nil {
		return nil, err
	}
	return openPinned(ctx, r, c, t)
}

// openRunText is openText for a run, which waits for a server that is away.
func openRunText(ctx context.Context, c *config.Config, t *observe.Terminal) (stream.Source, error) {
	r, err := remoteText(*c, t)
	if err != nil {
		return nil, err
	}
	r.Steady = true
	return openPinned(ctx, r, c, t)
}

func openPinned(ctx context.Context, r stream.Remote, c *config.Config, t *observe.Terminal) (stream.Source, error) {
	source, err := r.Open(ctx, c.Protocol.Data)
	if t != nil {
		t.Status("")
	}
	if err != nil {
		return nil, err
	}
	if isRemote(c.Protocol.Data) {
		c.Protocol.Data = source.Name()
	}
	return source, nil
}

// noCache is the --cache that keeps nothing.
const noCache = "none"

// isRemote says whether a name of text is an address.
func isRemote(name string) bool { return strings.Contains(name, "://") }

// remoteText says how text is reached: by the settings, and by the variables
// that Hugging Face's libraries read. Text on this machine needs neither.
func remoteText(c config.Config, t *observe.Terminal) (stream.Remote, error) {
	if !isRemote(c.Protocol.Data) {
		return stream.Remote{}, nil
	}
	env, err := httpx.FromEnvironment(os.Getenv)
	if err != nil {
		return stream.Remote{}, err
	}
	r := stream.Remote{
		Endpoint: env.Endpoint, Token: env.Token, Offline: env.Offline,
		RowsEndpoint: c.Fetch.RowsEndpoint, Agent: "lockstep; go/" + strings.TrimPrefix(runtime.Version(), "go"),
		CacheDir: c.Fetch.Cache, CacheBytes: int64(c.Fetch.CacheSize),
		Memory: int64(c.Fetch.Ahead), Requests: c.Fetch.Requests,
	}
	switch r.CacheDir {
	case noCache:
		r.CacheDir = ""
	case "":
		if dir, err := os.UserCacheDir(); err == nil {
			r.CacheDir = filepath.Join(dir, "lockstep", "text")
		}
	}
	if t != nil {
		r.Progress = func(what string, done, total int) {
			t.Progress(float64(done)/float64(total), what, fmt.Sprintf("%d of %d files", done, total))
		}
		r.Notice = func(err error, wait time.Duration) {
			if wait == 0 {
				t.Line("%v", err)
				return
			}
			t.Line("%v; trying again in %s", err, observe.Duration(wait))
		}
	}
	return r, nil
}
