package server

import (
	"errors"
	"io/fs"
	"net/http"
	"strings"

	"lockstep/hub"
)

const (
	maxSmallBody = 1 << 20
	maxListed    = 1000
)

func isMissing(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// createRepo is POST /api/repos/create. An existing repository is a 409 that
// tells its address: clients that do not mind read it there.
func (c *call) createRepo() {
	var q struct {
		Name, Organization, Type, Visibility string
		Private                              bool
	}
	if !c.mayWrite() || !readJSON(c.w, c.r, maxSmallBody, &q) {
		return
	}
	owner, name := q.Organization, q.Name
	if before, after, cut := strings.Cut(name, "/"); cut {
		owner, name = before, after
	}
	if owner == "" {
		owner = c.user.name
	}
	kind := strings.TrimSuffix(q.Type, "s") + "s"
	if q.Type == "" {
		kind = "models"
	}
	n := repoName{kind, owner, name}
	if !n.valid() {
		fail(c.w, c.r, http.StatusBadRequest, "", "%q is not a name for a model or dataset: want OWNER/NAME of letters, digits and . _ -", n.prefix()+n.id())
		return
	}
	created, err := c.repos.create(c.r.Context(), n, q.Private || q.Visibility == "private")
	if err != nil {
		c.failWith(c.w, c.r, err)
		return
	}
	answer := map[string]string{"url": c.origin() + "/" + n.prefix() + n.id(), "name": n.id(), "id": n.id()}
	if created {
		writeJSON(c.w, answer)
		return
	}
	answer["error"] = "You already created this " + strings.TrimSuffix(kind, "s") + " repo"
	writeStatus(c.w, http.StatusConflict, answer)
}

// listRepos is GET /api/models or /api/datasets with author, search, limit and
// cursor, which is the last id of the page before.
func (c *call) listRepos(kind string) {
	names, err := c.repos.list(kind)
	if err != nil {
		c.failWith(c.w, c.r, err)
		return
	}
	q := c.r.URL.Query()
	limit := number(q.Get("limit"), maxListed, 1, maxListed)
	list := []repoInfo{}
	for _, n := range names {
		if n.id() <= q.Get("cursor") {
			continue
		}
		if author := q.Get("author"); author != "" && author != n.owner || !strings.Contains(strings.ToLower(n.id()), strings.ToLower(q.Get("search"))) {
			continue
		}
		repo, err := c.repos.find(c.r.Context(), n)
		if err != nil || repo.private && !c.known {
			continue
		}
		if len(list) == limit {
			c.linkNext("cursor", list[limit-1].ID)
			break
		}
		info, err := c.describe(repo, "", nil)
		if err != nil {
			c.failWith(c.w, c.r, err)
			return
		}
		list = append(list, info)
	}
	writeJSON(c.w, list)
}

// validateYAML is POST /api/validate-yaml: clients ask before they commit a
// README. Cards are the business of their authors, so all are well.
func (c *call) validateYAML() {
	var q struct{ Content, RepoType string }
	if readJSON(c.w, c.r, maxCard, &q) {
		writeJSON(c.w, map[string]any{"errors": []any{}, "warnings": []any{}})
	}
}

const maxCard = 8 << 20

// createTag is POST tag/REVISION.
func (c *call) createTag(revision string) {
	var q struct{ Tag, Message string }
	if !c.mayWrite() || !readJSON(c.w, c.r, maxSmallBody, &q) {
		return
	}
	commit, err := c.repo.Resolve(c.r.Context(), revision)
	if err != nil {
		c.failWith(c.w, c.r, err)
		return
	}
	// A tag at this very commit is a conflict too, as the Hub has it.
	if err := c.repo.CreateTag(c.r.Context(), q.Tag, commit.ID); err != nil {
		c.failWith(c.w, c.r, err)
		return
	}
	writeJSON(c.w, map[string]string{"tag": q.Tag, "targetCommit": commit.ID})
}

// branch is POST or DELETE branch/NAME.
func (c *call) branch(name string) {
	if !c.mayWrite() {
		return
	}
	err := error(nil)
	if c.r.Method == http.MethodDelete {
		err = c.repo.DeleteBranch(c.r.Context(), name)
	} else {
		var q struct {
			StartingPoint          string
			EmptyBranch, Overwrite bool
		}
		if !readJSON(c.w, c.r, maxSmallBody, &q) {
			return
		}
		if q.EmptyBranch || q.Overwrite {
			fail(c.w, c.r, http.StatusBadRequest, "", "branches here begin at a commit and are not overwritten")
			return
		}
		var from hub.Commit
		if from, err = c.repo.Resolve(c.r.Context(), plainRevision(q.StartingPoint)); err == nil {
			err = c.repo.CreateBranch(c.r.Context(), name, from.ID)
		}
	}
	if err != nil {
		c.failWith(c.w, c.r, err)
		return
	}
	writeJSON(c.w, map[string]string{"branch": name})
}
