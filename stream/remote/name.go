package remote

import (
	"path"
	"regexp"
	"strings"
	"unicode/utf8"

	"lockstep/internal/fault"
)

// Scheme is what names of this kind begin with.
const Scheme = "hf://"

// Name says what part of which dataset is meant.
type Name struct {
	Repo     string // OWNER/NAME
	Revision string // branch, tag or commit; "main" unless given
	Path     string // a folder, a file or a configuration; "" is all of it
}

// main is the branch that is meant if none is named.
const main = "main"

// ParseName reads hf://datasets/OWNER/NAME[@REVISION][/PATH]. A slash inside
// the revision is written %2F. The error is fault.Config and says what is wrong.
func ParseName(s string) (Name, error) {
	bad := func(why string) (Name, error) {
		return Name{}, fault.Errorf(fault.Config, "data source %q: %s; the form is hf://datasets/OWNER/NAME@REVISION/PATH", s, why)
	}
	rest, ok := strings.CutPrefix(s, Scheme)
	if !ok {
		return bad("it does not begin with " + Scheme)
	}
	rest, ok = strings.CutPrefix(rest, "datasets/")
	if !ok {
		return bad("only datasets hold text")
	}
	parts := strings.SplitN(rest, "/", 3)
	if len(parts) < 2 {
		return bad("a dataset has an owner and a name")
	}
	n := Name{Revision: main}
	name, revision, given := strings.Cut(parts[1], "@")
	if given {
		n.Revision = strings.NewReplacer("%2F", "/", "%2f", "/").Replace(revision)
	}
	n.Repo = parts[0] + "/" + name
	if len(parts) == 3 {
		n.Path = strings.TrimRight(parts[2], "/")
	}
	switch {
	case !ValidRepo(n.Repo):
		return bad("that is no name of a repository")
	case !validPath(n.Revision):
		return bad("that is no revision")
	case n.Path != "" && !validPath(n.Path):
		return bad("that is no path inside a repository")
	}
	return n, nil
}

// String is the name as ParseName reads it.
func (n Name) String() string {
	s := Scheme + "datasets/" + n.Repo + "@" + strings.ReplaceAll(n.Revision, "/", "%2F")
	if n.Path != "" {
		s += "/" + n.Path
	}
	return s
}

var (
	namePart = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,95}$`)
	commitID = regexp.MustCompile(`^[0-9a-f]{40}$`)
	contents = regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})$`)
)

// ValidRepo says whether a repository may be called so: OWNER/NAME.
func ValidRepo(repo string) bool {
	owner, name, ok := strings.Cut(repo, "/")
	return ok && namePart.MatchString(owner) && namePart.MatchString(name) &&
		!strings.Contains(repo, "--") && !strings.Contains(repo, "..") && !strings.HasSuffix(repo, ".git")
}

// IsCommit says whether a revision is a full commit.
func IsCommit(revision string) bool { return commitID.MatchString(revision) }

// maxPath is the longest path, in bytes.
const maxPath = 1024

// validPath says whether p is a relative path that stays inside its root.
func validPath(p string) bool {
	if p == "" || len(p) > maxPath || !utf8.ValidString(p) || path.Clean(p) != p || path.IsAbs(p) || p == "." || p == ".." || strings.HasPrefix(p, "../") {
		return false
	}
	return !strings.ContainsFunc(p, func(r rune) bool { return r < ' ' || r == 0x7F || r == '\\' })
}
