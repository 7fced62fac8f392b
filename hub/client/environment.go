package client

import (
	"net/http"

	"lockstep/hub"
	"lockstep/internal/httpx"
)

// Config says how to reach a Hub and where to keep what was read.
type Config struct {
	Endpoint string // no slash at its end
	Token    string // "" for none
	Cache    string // folder shared with the Python library; "" reads nothing to disk
	Offline  bool   // send nothing, read the cache
	// Agent names the program to the server, such as "lockstep/1.0".
	Agent string
	// Backoff bounds repetition. The zero value tries six times, 1, 2, 4, 8 and 8
	// seconds apart, as the Python library does.
	Backoff hub.Backoff
	// Transport carries requests; nil is one of the client's own.
	Transport http.RoundTripper
	// Progress, if set, is told how transfers stand, at most some times a second
	// for each file and once at its end.
	Progress func(Transfer)
	// Notice, if set, is told in a line what a person might wonder about: a long
	// wait, also between tries, or an answer that is the cache's instead of the
	// Hub's.
	Notice func(line string)
}

// Transfer is the state of one file on its way.
type Transfer struct {
	Path        string
	Upload      bool
	Done, Total int64
}

// FromEnvironment reads the settings that the Python library reads.
func FromEnvironment(get func(string) string) (Config, error) {
	s, err := httpx.FromEnvironment(get)
	return Config{Endpoint: s.Endpoint, Token: s.Token, Cache: s.Cache, Offline: s.Offline}, err
}
