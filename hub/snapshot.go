package hub

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"lockstep/internal/fault"
)

// Names of a model's files, as the Hub's libraries expect them.
const (
	configFile  = "config.json"
	WeightsFile = "model.safetensors"
)

// Snapshot is one state of a model's files, read-only.
type Snapshot interface {
	// Name says what was opened, for people.
	Name() string
	// Revision is the commit's id, or "" for a plain folder.
	Revision() string
	// List returns the files in byte order of their paths. Digests are zero where
	// they are not known without reading.
	List(ctx context.Context) ([]FileInfo, error)
	// Open opens a file; *NotFoundError if it is not there.
	Open(ctx context.Context, path string) (File, error)
}

// OpenModel opens the folder or local repository that a name means. A plain
// folder must have a config.json. The model of a Hub id has to be fetched first:
// only then is it a folder.
func OpenModel(ctx context.Context, name ModelName) (Snapshot, error) {
	switch name.Kind {
	case InFolder:
	case OnHub:
		return nil, fault.Errorf(fault.Usage, "%s names a model on the Hub, and this program reads only folders: fetch the model first and name its folder, as in ./folder", name)
	default:
		return nil, fault.Errorf(fault.Usage, "%s: a built-in configuration has no files", name)
	}
	if IsRepository(name.Name) {
		repo, err := OpenDirectory(name.Name)
		if err != nil {
			return nil, err
		}
		return OpenRevision(ctx, repo, name.Name, name.Revision)
	}
	if name.Revision != "" {
		return nil, fault.Errorf(fault.Usage, "%s: %s is not a local repository, so it has no revision %s", name, name.Name, name.Revision)
	}
	folder := plainFolder(name.Name)
	if _, err := os.Stat(filepath.Join(name.Name, configFile)); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, &NotFoundError{What: "model (a config.json or a local repository)", Name: name.Name, Where: "open"}
		}
		return nil, err
	}
	return folder, nil
}

// OpenRevision pins a revision of any repository: later commits do not change
// what the Snapshot shows. The label names the repository to people.
func OpenRevision(ctx context.Context, repo Repository, label, revision string) (Snapshot, error) {
	commit, err := repo.Resolve(ctx, revision)
	if err != nil {
		return nil, err
	}
	return pinned{repo, label, commit.ID}, nil
}

// pinned is a commit of a repository.
type pinned struct {
	repo   Repository
	label  string
	commit string
}

func (p pinned) Name() string     { return p.label + "@" + short(p.commit) }
func (p pinned) Revision() string { return p.commit }

func (p pinned) List(ctx context.Context) ([]FileInfo, error) { return p.repo.List(ctx, p.commit) }

func (p pinned) Open(ctx context.Context, path string) (File, error) {
	return p.repo.Open(ctx, p.commit, path)
}

// plainFolder is a folder of model files, such as git or the Hub's own clients
// leave them.
type plainFolder string

func (f plainFolder) Name() string     { return string(f) }
func (f plainFolder) Revision() string { return "" }

// List returns the regular files (or links to such) directly in the folder.
func (f plainFolder) List(ctx context.Context) ([]FileInfo, error) {
	entries, err := os.ReadDir(string(f))
	if err != nil {
		return nil, err
	}
	var files []FileInfo
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		info, err := os.Stat(filepath.Join(string(f), e.Name()))
		if err == nil && info.Mode().IsRegular() && CheckPath(e.Name()) == nil {
			files = append(files, FileInfo{Path: e.Name(), Size: info.Size()})
		}
	}
	return files, nil
}

func (f plainFolder) Open(ctx context.Context, path string) (File, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := CheckPath(path); err != nil {
		return nil, err
	}
	file, err := os.Open(filepath.Join(string(f), filepath.FromSlash(path)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &NotFoundError{What: "file", Name: path, Where: string(f)}
	}
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fault.Errorf(fault.Damaged, "%s is not a regular file", file.Name())
	}
	if err != nil {
		file.Close()
		return nil, err
	}
	return blob{file, info.Size()}, nil
}
