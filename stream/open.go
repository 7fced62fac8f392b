package stream

import (
	"context"
	"strings"
	"time"

	"lockstep/internal/fault"
	"lockstep/internal/httpx"
	"lockstep/stream/remote"
	"lockstep/stream/store"
)

// Remote says how text that is not on this machine is reached, and what of it
// is kept. The zero value reads what is public, and keeps nothing on disk.
type Remote struct {
	Endpoint     string // of the Hub; "" is the public one
	RowsEndpoint string // of the rows API; "" is the public one
	Token        string // for the Hub, and for no other server
	Offline      bool   // only what the cache holds
	Agent        string // how this program calls itself

	CacheDir   string // folder of the cache; "" is none
	CacheBytes int64  // its size; 0 is 8 GiB
	Memory     int64  // bytes fetched ahead of their use; 0 is 64 MiB
	Requests   int    // in flight at once; 0 is 6

	Policy httpx.Policy // how long to try
	// Steady is for runs: that the files have a column of texts is seen when they
	// are opened; and once a source is open, from the cache it may be, its server
	// is tried with all patience even if it never answered this process.
	// Rows of the rows API open from the cache when their server is away.
	Steady bool
	// Notice, if set, is told of a failure that is tried again after a wait, and
	// without a wait of one that is not: a cache that cannot keep something, or
	// a server that is away while the cache has what is needed.
	Notice func(err error, wait time.Duration)

	// Progress, if set, is told of work that takes long: opening a source of
	// hundreds of files for the first time.
	Progress func(what string, done, total int)
}

// DefaultRowsEndpoint is the public rows API.
const DefaultRowsEndpoint = "https://datasets-server.huggingface.co"

const (
	defaultCacheBytes = 8 << 30
	defaultMemory     = 64 << 20
	defaultRequests   = 6
)

// Open opens a source by name with the settings of the zero Remote:
//
//	builtin                                        the corpus inside the program
//	./rows.jsonl, ./folder                         local files, see FORMATS.md
//	hf://datasets/OWNER/NAME@REVISION/PATH         parquet files of the Hub
//	rows://OWNER/NAME/CONFIG[/SPLIT]               the rows API
func Open(ctx context.Context, name string) (Source, error) { return Remote{}.Open(ctx, name) }

// Open is the function Open with these settings.
func (r Remote) Open(ctx context.Context, name string) (Source, error) {
	switch {
	case isBuiltin(name):
		return builtin{}, nil
	case strings.HasPrefix(name, remote.Scheme):
		return r.openHub(ctx, name)
	case strings.HasPrefix(name, rowsScheme):
		return r.openRows(ctx, name)
	case strings.Contains(name, "://"):
		return nil, fault.Errorf(fault.Config, "data source %q: the kinds with :// are hf:// and rows://", name)
	}
	return openLocal(ctx, name)
}

// filled puts the defaults in.
func (r Remote) filled() Remote {
	set := func(v *int64, otherwise int64) {
		if *v == 0 {
			*v = otherwise
		}
	}
	set(&r.CacheBytes, defaultCacheBytes)
	set(&r.Memory, defaultMemory)
	if r.Requests == 0 {
		r.Requests = defaultRequests
	}
	if r.Endpoint == "" {
		r.Endpoint = httpx.DefaultEndpoint
	}
	if r.RowsEndpoint == "" {
		r.RowsEndpoint = DefaultRowsEndpoint
	}
	if r.Progress == nil {
		r.Progress = func(string, int, int) {}
	}
	return r
}

// client makes the client for one server.
func (r Remote) client(endpoint, token string) (*httpx.Client, error) {
	return httpx.New(httpx.Options{Endpoint: endpoint, Token: token, Offline: r.Offline, Agent: r.Agent, Policy: r.Policy, Notice: r.Notice})
}

// cache opens the cache on disk, if there is one.
func (r Remote) cache() (*shelf, error) {
	if r.CacheDir == "" {
		return &shelf{}, nil
	}
	s, err := store.Open(r.CacheDir, r.CacheBytes)
	return &shelf{Store: s, notice: r.Notice}, err
}
