package remote

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

	"lockstep/internal/fault"
	"lockstep/internal/httpx"
)

// Repo is a dataset repository at one commit. It is safe for concurrent use.
type Repo struct {
	Name   string // OWNER/NAME
	Commit string // 40 hex digits

	client *httpx.Client
	mu     sync.Mutex
	places map[string]*location // of files that were read, by path
}

// NewRepo returns the repository at a commit that is known already.
func NewRepo(client *httpx.Client, name, commit string) *Repo {
	return &Repo{Name: name, Commit: commit, client: client, places: map[string]*location{}}
}

// maxInfo caps a repository's description, which lists every file.
const maxInfo = 64 << 20

// Pin asks for the commit behind the revision of a name.
func Pin(ctx context.Context, client *httpx.Client, n Name) (*Repo, error) {
	if IsCommit(n.Revision) {
		return NewRepo(client, n.Repo, n.Revision), nil
	}
	i, err := describe(ctx, client, n.Repo, n.Revision)
	if err != nil {
		return nil, err
	}
	return NewRepo(client, n.Repo, i.SHA), nil
}

// describe fetches what is needed of a repository's description.
func describe(ctx context.Context, client *httpx.Client, repo, revision string) (info, error) {
	var i info
	address := api(client, repo) + "/revision/" + url.PathEscape(revision) + "?expand%5B%5D=sha&expand%5B%5D=cardData"
	if _, err := client.JSON(ctx, httpx.Request{URL: address}, maxInfo, &i); err != nil {
		return info{}, err
	}
	if !IsCommit(i.SHA) {
		return info{}, fault.Errorf(fault.Damaged, "%s: the server names no commit for revision %q of %s", bareEndpoint(client), revision, repo)
	}
	return i, nil
}

func api(client *httpx.Client, repo string) string {
	return bareEndpoint(client) + "/api/datasets/" + repo
}

func bareEndpoint(client *httpx.Client) string {
	return strings.TrimRight(client.Endpoint.String(), "/")
}

// List returns the parquet files that a path stands for, in the byte order of
// their paths: a folder with what is below it, or a file; else a configuration
// of the dataset's card, such as sample-350BT.
func (r *Repo) List(ctx context.Context, path string) ([]File, error) {
	files, err := r.below(ctx, path)
	if missing(err) && path != "" && !strings.Contains(path, "/") {
		files, err = r.configFiles(ctx, path, err)
	}
	if err != nil {
		return nil, err
	}
	files = slices.DeleteFunc(files, func(f File) bool { return !strings.HasSuffix(f.Path, ".parquet") || hidden(f.Path) })
	slices.SortFunc(files, byPath)
	for i := range files {
		if i > 0 && files[i].Path == files[i-1].Path {
			return nil, fault.Errorf(fault.Damaged, "the list of files names %q twice", files[i].Path)
		}
	}
	switch {
	case len(files) == 0 && strings.HasSuffix(path, ".parquet"):
		return nil, fault.Errorf(fault.Refused, "there is no file %q in %s at %s; check the path", path, r.Name, r.Commit)
	case len(files) == 0:
		return nil, fault.Errorf(fault.Config, "there is no .parquet file at %q of %s at %s; other kinds of file can be read from a local folder only", path, r.Name, r.Commit)
	}
	return files, nil
}

func byPath(a, b File) int { return strings.Compare(a.Path, b.Path) }

// below lists a folder with its subfolders, or a single parquet file.
func (r *Repo) below(ctx context.Context, path string) ([]File, error) {
	if !strings.HasSuffix(path, ".parquet") {
		return r.tree(ctx, path)
	}
	folder := ""
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		folder = path[:i]
	}
	files, err := r.tree(ctx, folder)
	return slices.DeleteFunc(files, func(f File) bool { return f.Path != path }), err
}

// missing says whether there is no such path, the rest being right.
func missing(err error) bool {
	var e *httpx.Error
	return errors.As(err, &e) && e.Status == http.StatusNotFound && e.Code != "RepoNotFound" && e.Code != "RevisionNotFound"
}

// configFiles lists the files of a configuration; absent is the error for a
// name that is none.
func (r *Repo) configFiles(ctx context.Context, name string, absent error) ([]File, error) {
	i, err := describe(ctx, r.client, r.Name, r.Commit)
	if err != nil {
		return nil, err
	}
	at := slices.IndexFunc(i.Card.Configs, func(c config) bool { return c.Name == name })
	if at < 0 && len(i.Card.Configs) == 0 {
		return nil, fault.Errorf(fault.Refused, "%w; the dataset's card declares no configurations", absent)
	}
	if at < 0 {
		var names []string
		for _, c := range i.Card.Configs {
			names = append(names, c.Name)
		}
		return nil, fault.Errorf(fault.Refused, "%w; the dataset's configurations are %.500q", absent, names)
	}
	patterns, err := i.Card.Configs[at].patterns()
	if err != nil {
		return nil, err
	}
	var files []File
	for _, p := range patterns {
		found, err := r.below(ctx, base(p))
		if err != nil {
			return nil, err
		}
		for _, f := range found {
			if matches(p, f.Path) {
				files = append(files, f)
			}
		}
	}
	slices.SortFunc(files, byPath)
	return slices.Compact(files), nil // patterns may overlap
}

// hidden says whether a part of the path begins with a dot.
func hidden(path string) bool { return strings.HasPrefix(path, ".") || strings.Contains(path, "/.") }

// escapePath escapes the parts of a path.
func escapePath(p string) string {
	parts := strings.Split(p, "/")
	for i := range parts {
		parts[i] = url.PathEscape(parts[i])
	}
	return strings.Join(parts, "/")
}
