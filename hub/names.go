package hub

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"lockstep/internal/fault"
)

const (
	maxPath     = 1024 // bytes of a path
	maxSegment  = 255  // bytes of a file name, the limit of common file systems
	maxTag      = 96   // bytes of a tag
	idDigits    = 40   // hex digits of a commit id
	minIDDigits = 7    // hex digits of an abbreviated one
	mainBranch  = "main"
)

// CheckPath accepts the paths that a repository may hold, so that writing its
// files below a folder can touch nothing outside it, on any system: relative,
// in slashes, UTF-8, without empty, "." or ".." segments, backslashes or
// control characters, and not inside a ".git".
func CheckPath(path string) error {
	bad := func(why string) error {
		return fault.Errorf(fault.Damaged, "the path %q is not allowed in a repository: %s", clip(path), why)
	}
	switch {
	case path == "":
		return bad("it is empty")
	case len(path) > maxPath:
		return bad("it is longer than 1024 bytes")
	case !utf8.ValidString(path):
		return bad("it is not UTF-8")
	case strings.ContainsFunc(path, unicode.IsControl):
		return bad("it has a control character")
	case strings.Contains(path, `\`):
		return bad("it has a backslash")
	case path[0] == '/':
		return bad("it is absolute")
	case len(path) > 1 && path[1] == ':':
		return bad("it begins with a drive letter")
	}
	for segment := range strings.SplitSeq(path, "/") {
		switch {
		case segment == "":
			return bad("it has an empty segment")
		case segment == "." || segment == "..":
			return bad("it has the segment " + segment)
		case strings.EqualFold(segment, ".git"):
			return bad("it leads into .git")
		case len(segment) > maxSegment:
			return bad("it has a segment longer than 255 bytes")
		}
	}
	return nil
}

// clip bounds what an error quotes.
func clip(s string) string {
	if len(s) > 80 {
		return s[:80] + "..."
	}
	return s
}

// checkTag accepts the names that a tag may have: they are file names, cannot
// be taken for a path, the branch or a full commit id.
func checkTag(name string) error {
	ok := name != "" && len(name) <= maxTag && isWord(name[0]) && name[0] != '_' &&
		!strings.Contains(name, "..") && !strings.HasSuffix(name, ".") && !strings.HasSuffix(name, ".lock")
	for i := 0; i < len(name) && ok; i++ {
		ok = isWord(name[i]) || name[i] == '.' || name[i] == '-'
	}
	if !ok {
		return fault.Errorf(fault.Usage, "%q cannot be a tag: use up to 96 letters, digits and . _ - with a letter or digit first", clip(name))
	}
	if name == mainBranch || name == "HEAD" || isCommitID(name) {
		return fault.Errorf(fault.Usage, "%q cannot be a tag: it means something else already", name)
	}
	return nil
}

func isWord(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_'
}

func isHex(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

func isCommitID(s string) bool { return len(s) == idDigits && isHex(s) }

// SortTags sorts tags as Repository.Tags returns them.
func SortTags(tags []Tag) { slices.SortFunc(tags, compareTags) }

// compareTags orders numbers by value, before all other names.
func compareTags(a, b Tag) int {
	x, aIsNumber := EpochOfTag(a.Name)
	y, bIsNumber := EpochOfTag(b.Name)
	switch {
	case aIsNumber && bIsNumber:
		return cmp.Compare(x, y)
	case aIsNumber:
		return -1
	case bIsNumber:
		return 1
	}
	return strings.Compare(a.Name, b.Name)
}

// EpochTag is the tag of an epoch.
func EpochTag(epoch uint64) string { return strconv.FormatUint(epoch, 10) }

// EpochOfTag returns the epoch that a tag stands for, if it is the number as
// EpochTag writes it.
func EpochOfTag(tag string) (uint64, bool) {
	n, err := strconv.ParseUint(tag, 10, 64)
	return n, err == nil && EpochTag(n) == tag
}
