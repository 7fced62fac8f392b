package remote

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"lockstep/internal/fault"
	"lockstep/internal/httpx"
)

// Limits of what a server may list.
const (
	maxTreePage = 16 << 20 // bytes of one page; 1,000 entries have some 300 KB
	maxFiles    = 1 << 20  // of one listing
)

// File is a file of the repository at the pinned commit.
type File struct {
	Path string `json:"path"`
	Size int64  `json:"size"`
	OID  string `json:"oid"` // SHA-256 of a large file (LFS), git's SHA-1 of others
}

// treeEntry is what a page of the tree lists.
type treeEntry struct {
	Type string `json:"type"`
	Path string `json:"path"`
	Size int64  `json:"size"`
	OID  string `json:"oid"`
	LFS  *struct {
		OID  string `json:"oid"`
		Size int64  `json:"size"`
	} `json:"lfs"`
}

// parseTree reads a page of the tree below a folder ("" is the root), and
// checks each entry: a foreign path must not lead out of it.
func parseTree(data []byte, folder string) ([]File, error) {
	var entries []treeEntry
	if err := json.Unmarshal(data, &entries); err != nil {
		return nil, fault.Errorf(fault.Damaged, "the list of files is not the JSON that belongs there: %w", err)
	}
	var files []File
	for _, e := range entries {
		if e.Type == "directory" {
			continue
		}
		f := File{Path: e.Path, Size: e.Size, OID: strings.ToLower(e.OID)}
		if e.LFS != nil {
			f.OID = strings.ToLower(strings.TrimPrefix(e.LFS.OID, "sha256:"))
		}
		switch {
		case e.Type != "file":
			return nil, fault.Errorf(fault.Damaged, "the list of files has an entry of type %.40q", e.Type)
		case !validPath(f.Path) || folder != "" && !strings.HasPrefix(f.Path, folder+"/"):
			return nil, fault.Errorf(fault.Damaged, "the list of files below %q has a path %.200q", folder, f.Path)
		case f.Size < 0 || e.LFS != nil && e.LFS.Size != f.Size:
			return nil, fault.Errorf(fault.Damaged, "the list of files has a wrong size for %q", f.Path)
		case !contents.MatchString(f.OID) || e.LFS != nil && len(f.OID) != 64:
			return nil, fault.Errorf(fault.Damaged, "the list of files has no digest for %q but %.80q", f.Path, f.OID)
		}
		files = append(files, f)
	}
	return files, nil
}

var nextLink = regexp.MustCompile(`<([^<>]*)>\s*;[^,]*\brel="?next"?`)

// nextPage returns the address in a Link header with rel="next", resolved
// against the page's own; nil if this page is the last.
func nextPage(page *url.URL, link string) (*url.URL, error) {
	m := nextLink.FindStringSubmatch(link)
	if m == nil {
		return nil, nil
	}
	next, err := page.Parse(m[1])
	if err != nil {
		return nil, fault.Errorf(fault.Damaged, "the next page of the list of files has no address: %w", err)
	}
	return next, nil
}

// tree lists all files below a folder, page by page. Pages must come from the
// endpoint; the public Hub's address in a mirror's answer is taken for the
// mirror's own.
func (r *Repo) tree(ctx context.Context, folder string) ([]File, error) {
	address := api(r.client, r.Name) + "/tree/" + r.Commit
	if folder != "" {
		address += "/" + escapePath(folder)
	}
	address += "?recursive=true&expand=false&limit=1000"
	var files []File
	for seen := map[string]bool{}; address != ""; {
		if seen[address] || len(files) > maxFiles {
			return nil, fault.Errorf(fault.Damaged, "the list of files of %s does not end", r.Name)
		}
		seen[address] = true
		data, header, err := r.client.JSONBytes(ctx, httpx.Request{URL: address}, maxTreePage)
		if err != nil {
			return nil, err
		}
		page, err := parseTree(data, folder)
		if err != nil {
			return nil, fault.Errorf(fault.Damaged, "%s of %s: %w", bareEndpoint(r.client), r.Name, err)
		}
		files = append(files, page...)
		if address, err = r.nextAddress(address, header); err != nil {
			return nil, err
		}
	}
	return files, nil
}

func (r *Repo) nextAddress(address string, header http.Header) (string, error) {
	page, err := url.Parse(address)
	if err != nil {
		return "", err
	}
	next, err := nextPage(page, header.Get("Link"))
	if next == nil || err != nil {
		return "", err
	}
	public, err := url.Parse(httpx.DefaultEndpoint)
	if err != nil {
		return "", err
	}
	if httpx.SameOrigin(next, public) {
		next.Scheme, next.Host = r.client.Endpoint.Scheme, r.client.Endpoint.Host
	}
	if !httpx.SameOrigin(next, r.client.Endpoint) {
		return "", fault.Errorf(fault.Damaged, "the list of files goes on at another server, %s", next.Host)
	}
	return next.String(), nil
}
