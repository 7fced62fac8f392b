package server

import (
	"bufio"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"strings"

	"lockstep/internal/fault"
)

const (
	tokensFile  = "tokens"
	tokenPrefix = "hf_" // clients in JavaScript refuse others
	maxTokens   = 10_000
)

// user is who a token stands for.
type user struct {
	name  string
	write bool
}

func (u user) role() string {
	if u.write {
		return "write"
	}
	return "read"
}

// tokens are kept by digest, so that looking one up takes no time that tells of
// its characters.
type tokens struct {
	users map[[sha256.Size]byte]user
	first string // the first one that may write
}

const tokensHeader = `# Who may use this server. One line each: NAME read|write TOKEN
# A token begins with hf_. Restart the server after a change.
`

// loadTokens reads the tokens of a folder; without the file it makes one with a
// token that may write.
func loadTokens(path string) (*tokens, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		var b [17]byte
		_, _ = rand.Read(b[:]) // never fails
		text = []byte(tokensHeader + "lockstep write " + tokenPrefix + hex.EncodeToString(b[:]) + "\n")
		err = writeNew(path, text)
		if errors.Is(err, fs.ErrExist) { // another server was faster
			text, err = os.ReadFile(path)
		}
	}
	if err != nil {
		return nil, err
	}
	t, err := parseTokens(string(text))
	if err != nil {
		return nil, fault.Errorf(fault.Config, "%s: %w", path, err)
	}
	return t, nil
}

func parseTokens(text string) (*tokens, error) {
	t := &tokens{users: map[[sha256.Size]byte]user{}}
	lines := bufio.NewScanner(strings.NewReader(text))
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		f := strings.Fields(line)
		if len(f) != 3 || !validPart(f[0]) || f[1] != "read" && f[1] != "write" || !strings.HasPrefix(f[2], tokenPrefix) || len(f[2]) < 12 {
			return nil, fmt.Errorf("line %d: want NAME read|write hf_TOKEN with at least 12 characters", n)
		}
		if len(t.users) == maxTokens {
			return nil, fmt.Errorf("more than %d tokens", maxTokens)
		}
		key := sha256.Sum256([]byte(f[2]))
		if _, twice := t.users[key]; twice {
			return nil, fmt.Errorf("line %d: this token stands there twice", n)
		}
		t.users[key] = user{f[0], f[1] == "write"}
		if t.first == "" && f[1] == "write" {
			t.first = f[2]
		}
	}
	return t, lines.Err()
}

func (t *tokens) writer() string { return t.first }

// identify returns the user of a request's token. Without a token known is
// false; with a wrong one so is good.
func (t *tokens) identify(r *http.Request) (u user, known, good bool) {
	h := r.Header.Get("Authorization")
	if h == "" {
		return user{}, false, true
	}
	token, bearer := strings.CutPrefix(h, "Bearer ")
	if !bearer {
		return user{}, false, false
	}
	u, known = t.users[sha256.Sum256([]byte(strings.TrimSpace(token)))]
	return u, known, known
}

// mayWrite answers with an error unless the caller may write.
func (c *call) mayWrite() bool {
	switch {
	case !c.known:
		fail(c.w, c.r, http.StatusUnauthorized, "", "a token that may write is needed: set HF_TOKEN")
	case !c.user.write:
		fail(c.w, c.r, http.StatusForbidden, "", "the token of %s may only read", c.user.name)
	default:
		return true
	}
	return false
}

// whoami is GET /api/whoami-v2.
func (c *call) whoami() {
	if !c.known {
		fail(c.w, c.r, http.StatusUnauthorized, "", "Invalid user token.")
		return
	}
	writeJSON(c.w, map[string]any{
		"type": "user", "id": c.user.name, "name": c.user.name, "fullname": c.user.name, "email": nil, "emailVerified": false,
		"canPay": false, "isPro": false, "periodEnd": nil, "avatarUrl": c.origin() + "/avatar", "orgs": []any{},
		"auth": map[string]any{"type": "access_token", "accessToken": map[string]any{
			"displayName": c.user.name, "role": c.user.role(), "createdAt": formatTime(serverEpoch)}},
	})
}

// writeNew makes a file that only its owner may read, whole and synced, or
// fails with fs.ErrExist.
func writeNew(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		os.Remove(path)
	}
	return err
}
