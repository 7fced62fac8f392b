package hub

import (
	"os"
	"path/filepath"
	"strings"
	"unicode"
	"unicode/utf8"

	"lockstep/internal/fault"
)

// ModelKind tells where a model is.
type ModelKind uint8

// The places a model can be in. The zero ModelKind is none.
const (
	Builtin  ModelKind = iota + 1 // a configuration of this program, freshly initialised
	OnHub                         // a repository of the Hugging Face Hub
	InFolder                      // a plain model folder, or a local repository
)

const (
	maxName   = 4096 // bytes of a name
	maxHubID  = 96   // bytes of each part of a Hub id
	maxHubRev = 256  // bytes of a Hub revision
)

// String names the kind for people.
func (k ModelKind) String() string {
	switch k {
	case Builtin:
		return "built-in"
	case OnHub:
		return "Hub"
	case InFolder:
		return "folder"
	}
	return "none"
}

// ModelName is a parsed model name.
type ModelName struct {
	Kind     ModelKind
	Name     string // configuration, Hub id ("owner/name" or "name"), or folder
	Revision string // branch, tag or commit; "" for none
}

// String writes the name so that it reads as such again.
func (m ModelName) String() string {
	if m.Revision == "" {
		return m.Name
	}
	return m.Name + "@" + m.Revision
}

// ParseModel tells what a model name means. In this order:
//
//   - ./x, ../x and /x are folders, with @revision for a local repository;
//   - a name with a slash or @ whose part before the last @ is an existing folder
//     is that folder;
//   - any other name with a slash or @ is a Hub id with optional revision;
//   - a name without either is a built-in configuration, unless it is a folder
//     that holds a model (a mere folder of that name does not hide it).
//
// In a folder of a Hub server, which keeps DIR/models/OWNER/NAME, the short form
// DIR/NAME will do while only one owner has a model of that name.
func ParseModel(name string) (ModelName, error) {
	return parseModel(served(name), folderOnDisk)
}

// served writes out the short form of a model in a Hub server's folder. It
// returns any other name as it is.
func served(name string) string {
	head, _, _ := cutLast(name)
	if folderOnDisk(head) != noFolder {
		return name
	}
	dir, base := filepath.Split(head)
	owners, err := os.ReadDir(filepath.Join(dir, "models"))
	if err != nil || dir == "" {
		return name
	}
	var found []string
	for _, o := range owners {
		if path := filepath.Join(dir, "models", o.Name(), base); IsRepository(path) {
			found = append(found, path)
		}
	}
	if len(found) != 1 {
		return name
	}
	return found[0] + name[len(head):]
}

// folder is what parseModel needs to know of a path.
type folder uint8

const (
	noFolder    folder = iota
	someFolder         // exists
	modelFolder        // holds config.json or a repository
)

func folderOnDisk(path string) folder {
	if info, err := os.Stat(path); err != nil || !info.IsDir() {
		return noFolder
	}
	if _, err := os.Stat(filepath.Join(path, configFile)); err == nil || IsRepository(path) {
		return modelFolder
	}
	return someFolder
}

func parseModel(name string, look func(string) folder) (ModelName, error) {
	switch {
	case name == "":
		return ModelName{}, fault.Errorf(fault.Usage, "the model name is empty")
	case len(name) > maxName || !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl):
		return ModelName{}, fault.Errorf(fault.Usage, "the model name %q is too long or has characters that no name has", clip(name))
	}
	isPath := name == "." || name == ".." || strings.HasPrefix(name, "./") || strings.HasPrefix(name, "../") || filepath.IsAbs(name)
	switch {
	case isPath || strings.ContainsAny(name, "/@"):
		if look(name) != noFolder { // also one with an @ in its own name
			return ModelName{Kind: InFolder, Name: name}, nil
		}
		head, revision, cut := cutLast(name)
		if isPath || cut && look(head) != noFolder {
			return folderName(name, head, revision, cut)
		}
		return hubName(name)
	case look(name) == modelFolder:
		return ModelName{Kind: InFolder, Name: name}, nil
	}
	return ModelName{Kind: Builtin, Name: name}, nil
}

// cutLast cuts a path at the @ of its last segment.
func cutLast(name string) (head, revision string, ok bool) {
	i := strings.LastIndexByte(name, '@')
	if i < 0 || strings.Contains(name[i:], "/") {
		return name, "", false
	}
	return name[:i], name[i+1:], true
}

func folderName(name, head, revision string, cut bool) (ModelName, error) {
	if cut && checkTag(revision) != nil && revision != mainBranch && revision != "HEAD" && !isCommitID(revision) {
		return ModelName{}, fault.Errorf(fault.Usage, "%q: %q cannot be a revision of a local repository; use a tag, main or a commit id", clip(name), clip(revision))
	}
	return ModelName{Kind: InFolder, Name: head, Revision: revision}, nil
}

// hubName applies the Hub's rules for ids and a sane form of revision, which
// begins at the first @ and may have slashes.
func hubName(name string) (ModelName, error) {
	id, revision, cut := strings.Cut(name, "@")
	parts := strings.Split(id, "/")
	ok := len(parts) <= 2
	for _, p := range parts {
		ok = ok && hubPart(p)
	}
	if !ok {
		return ModelName{}, fault.Errorf(fault.Usage, "%q is not an existing folder, and not a Hub id (owner/name, letters, digits and . _ -)", clip(name))
	}
	if cut && revision == "" || len(revision) > maxHubRev || strings.ContainsFunc(revision, unicode.IsSpace) ||
		strings.ContainsAny(revision, "@\\?#%:*[~^") || strings.Contains(revision, "..") {
		return ModelName{}, fault.Errorf(fault.Usage, "%q: %q cannot be a revision; use a branch, a tag or a commit id", clip(name), clip(revision))
	}
	return ModelName{Kind: OnHub, Name: id, Revision: revision}, nil
}

// HubID checks the id of a repository on the Hub: "owner/name", or "name" for
// those that are older than owners.
func HubID(id string) (string, error) {
	name, err := hubName(id)
	if err == nil && name.Revision != "" {
		err = fault.Errorf(fault.Usage, "%q is an id with a revision; the id alone is wanted", clip(id))
	}
	return name.Name, err
}

// hubPart reports whether p can be an owner or a name on the Hub.
func hubPart(p string) bool {
	if p == "" || len(p) > maxHubID || strings.ContainsAny(p[:1]+p[len(p)-1:], "-.") ||
		strings.Contains(p, "--") || strings.Contains(p, "..") || strings.HasSuffix(p, ".git") {
		return false
	}
	for i := range len(p) {
		if !isWord(p[i]) && p[i] != '-' && p[i] != '.' {
			return false
		}
	}
	return true
}
