package client

import (
	"errors"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"lockstep/hub"
	"lockstep/internal/fault"
)

// DefaultEndpoint is the Hub itself.
const DefaultEndpoint = "https://huggingface.co"

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
}

// Transfer is the state of one file on its way.
type Transfer struct {
	Path        string
	Upload      bool
	Done, Total int64
}

// FromEnvironment reads the settings that the Python library reads, in the same
// order of precedence. A variable that is empty counts as not set.
func FromEnvironment(get func(string) string) (Config, error) {
	c := Config{Endpoint: strings.TrimRight(get("HF_ENDPOINT"), "/")}
	if c.Endpoint == "" {
		c.Endpoint = DefaultEndpoint
	}
	if err := checkEndpoint(c.Endpoint); err != nil {
		return c, err
	}
	home, err := homeFolder(get)
	if err != nil {
		return c, err
	}
	c.Cache = firstSet(get, "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE")
	if c.Cache == "" {
		c.Cache = filepath.Join(home, "hub")
	}
	c.Offline = isYes(get("HF_HUB_OFFLINE")) || isYes(get("TRANSFORMERS_OFFLINE"))
	if isYes(get("HF_HUB_DISABLE_IMPLICIT_TOKEN")) {
		return c, nil
	}
	c.Token = cleanToken(firstSet(get, "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"))
	if c.Token == "" {
		c.Token, err = tokenFromFile(firstOf(get("HF_TOKEN_PATH"), filepath.Join(home, "token")))
	}
	return c, err
}

func checkEndpoint(endpoint string) error {
	u, err := url.Parse(endpoint)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return fault.Errorf(fault.Config, "HF_ENDPOINT %q is not an address such as %s", endpoint, DefaultEndpoint)
	}
	return nil
}

// homeFolder is HF_HOME, or its default below the cache folder of the user.
func homeFolder(get func(string) string) (string, error) {
	if home := get("HF_HOME"); home != "" {
		return expandHome(home, get)
	}
	if cache := get("XDG_CACHE_HOME"); cache != "" {
		return filepath.Join(cache, "huggingface"), nil
	}
	return expandHome("~/.cache/huggingface", get)
}

func expandHome(path string, get func(string) string) (string, error) {
	rest, ok := strings.CutPrefix(path, "~/")
	if !ok {
		return path, nil
	}
	home := firstOf(get("HOME"), get("USERPROFILE"))
	if home == "" {
		return "", fault.Errorf(fault.Environment, "no folder for the cache: set HF_HOME or HOME")
	}
	return filepath.Join(home, filepath.FromSlash(rest)), nil
}

func tokenFromFile(path string) (string, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return cleanToken(string(text)), err
}

// cleanToken drops what a copied token brings along: a header must not have it.
func cleanToken(s string) string {
	return strings.TrimSpace(strings.NewReplacer("\r", "", "\n", "").Replace(s))
}

func firstSet(get func(string) string, names ...string) string {
	for _, name := range names {
		if v := get(name); v != "" {
			return v
		}
	}
	return ""
}

func firstOf(values ...string) string {
	i := slices.IndexFunc(values, func(s string) bool { return s != "" })
	if i < 0 {
		return ""
	}
	return values[i]
}

// isYes reads a switch as the Python library does.
func isYes(s string) bool {
	return slices.Contains([]string{"1", "ON", "YES", "TRUE"}, strings.ToUpper(s))
}
