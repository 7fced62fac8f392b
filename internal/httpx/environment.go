package httpx

import (
	"cmp"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"lockstep/internal/fault"
)

// DefaultEndpoint is the public Hub.
const DefaultEndpoint = "https://huggingface.co"

// Settings are the variables of the environment that Hugging Face's own
// libraries read, with the same meaning.
type Settings struct {
	Endpoint string // HF_ENDPOINT without a final slash, or DefaultEndpoint
	Token    string // HF_TOKEN, HUGGING_FACE_HUB_TOKEN or the token file; "" is none
	Offline  bool   // HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE: no request may leave
	Home     string // HF_HOME, or huggingface in the user's cache folder
	Cache    string // HF_HUB_CACHE or HUGGINGFACE_HUB_CACHE, or hub in Home
}

// FromEnvironment reads the settings through get, which is os.Getenv. A token
// is looked for as Python's library does it; with HF_HUB_DISABLE_IMPLICIT_TOKEN
// neither a variable nor the file that `huggingface-cli login` writes gives one.
// An endpoint that is no http or https address, and a token that no header can
// carry, are fault.Config errors.
func FromEnvironment(get func(string) string) (Settings, error) {
	s := Settings{
		Endpoint: strings.TrimRight(cmp.Or(get("HF_ENDPOINT"), DefaultEndpoint), "/"),
		Offline:  truth(get("HF_HUB_OFFLINE")) || truth(get("TRANSFORMERS_OFFLINE")),
	}
	if _, err := ParseEndpoint(s.Endpoint); err != nil {
		return Settings{}, fault.Errorf(fault.Config, "HF_ENDPOINT: %w", err)
	}
	expand := func(path string) string {
		if rest, ok := strings.CutPrefix(path, "~/"); ok {
			return filepath.Join(cmp.Or(get("HOME"), get("USERPROFILE")), filepath.FromSlash(rest))
		}
		return path
	}
	s.Home = expand(get("HF_HOME"))
	if s.Home == "" {
		s.Home = filepath.Join(expand(cmp.Or(get("XDG_CACHE_HOME"), "~/.cache")), "huggingface")
	}
	s.Cache = expand(cmp.Or(get("HF_HUB_CACHE"), get("HUGGINGFACE_HUB_CACHE"), filepath.Join(s.Home, "hub")))
	if truth(get("HF_HUB_DISABLE_IMPLICIT_TOKEN")) {
		return s, nil
	}
	s.Token = clean(cmp.Or(get("HF_TOKEN"), get("HUGGING_FACE_HUB_TOKEN")))
	if s.Token == "" {
		file, err := os.ReadFile(expand(cmp.Or(get("HF_TOKEN_PATH"), filepath.Join(s.Home, "token"))))
		if err == nil && len(file) <= maxToken {
			s.Token = clean(string(file))
		}
	}
	return s, CheckToken(s.Token)
}

// CheckToken refuses a token that no header can carry, with a fault.Config error
// that does not show it.
func CheckToken(token string) error {
	if i := strings.IndexFunc(token, func(r rune) bool { return r < ' ' || r == 0x7f }); i >= 0 {
		return fault.Errorf(fault.Config, "the token (HF_TOKEN, or its file) has the control character %q at position %d; copy it again", token[i], i+1)
	}
	return nil
}

// maxToken is more than any token has.
const maxToken = 4096

// ParseEndpoint parses the address of a server: http or https, a host, perhaps
// a path, nothing else.
func ParseEndpoint(address string) (*url.URL, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, fault.Wrap(fault.Config, err)
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, fault.Errorf(fault.Config, "%q is no address of a server, such as %s", address, DefaultEndpoint)
	}
	return u, nil
}

// clean drops what an editor leaves around a token.
func clean(token string) string {
	return strings.TrimSpace(strings.NewReplacer("\r", "", "\n", "").Replace(token))
}

// truth is what Python's library takes for true.
func truth(value string) bool {
	switch strings.ToUpper(value) {
	case "1", "ON", "YES", "TRUE":
		return true
	}
	return false
}
