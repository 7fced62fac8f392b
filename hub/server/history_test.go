package server

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"lockstep/hub"
)

// TestLastCommits compares what the tree says of a history, in which files come,
// change, stay and go, with the definition: walked for each path by itself.
func TestLastCommits(t *testing.T) {
	s := newSite(t, Options{})
	s.create("a/m")
	s.commit("a/m", "files", "a", "1", "dir/x", "1", "dir/sub/y", "1", "stays", "1", "dir.txt", "1")
	s.commit("a/m", "deep", "dir/sub/y", "2")
	s.must(200, "POST", "/api/models/a/m/commit/main", header("one goes", "")+`{"key":"deletedFile","value":{"path":"dir/x"}}`)
	s.commit("a/m", "back and forth", "a", "2")
	s.commit("a/m", "back again\n\nwith words", "a", "1")
	head := s.commit("a/m", "another", "other/z", "1")
	r, err := s.s.repos.find(ctx, repoName{"models", "a", "m"})
	if err != nil {
		t.Fatal(err)
	}
	answer := s.must(200, "GET", "/api/models/a/m/tree/main?recursive=true&expand=true", "")
	var tree []treeEntry
	if err := json.Unmarshal(answer.body, &tree); err != nil || len(tree) != 9 {
		t.Fatalf("%v: %s", err, answer.body)
	}
	var paths []string
	for _, e := range tree {
		want := lastChange(t, r, head, e.Path)
		title, _, _ := strings.Cut(want.Message, "\n")
		if e.LastCommit == nil || e.LastCommit.ID != want.ID || e.LastCommit.Title != title {
			t.Errorf("%s: %+v, want %+v", e.Path, e.LastCommit, want)
		}
		paths = append(paths, e.Path, e.Path) // those that come again are answered once
	}
	ask, _ := json.Marshal(map[string]any{"paths": paths, "expand": true})
	if infos := s.must(200, "POST", "/api/models/a/m/paths-info/main", string(ask)); infos.text() != answer.text() {
		t.Errorf("paths-info says\n%s\nand the tree\n%s", infos.body, answer.body)
	}
}

// lastChange is the newest commit that changed a file, or something in a folder.
func lastChange(t *testing.T, r *repo, commit, path string) hub.Commit {
	t.Helper()
	for {
		c, err := r.Resolve(ctx, commit)
		if err != nil {
			t.Fatal(err)
		}
		if c.Parent == "" {
			return c
		}
		now, err := r.List(ctx, c.ID)
		if err != nil {
			t.Fatal(err)
		}
		before, err := r.List(ctx, c.Parent)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(below(now, path), below(before, path)) {
			return c
		}
		commit = c.Parent
	}
}

// TestHistoryIsReadOnce takes a commit file away after the history was asked for:
// its length needs no file again.
func TestHistoryIsReadOnce(t *testing.T) {
	s, _ := newModel(t, Options{})
	for i := range 5 {
		s.commit("a/m", fmt.Sprint(i), "n.txt", fmt.Sprint(i))
	}
	s.must(200, "GET", "/api/models/a/m/commits/main?limit=1", "")
	first := s.must(200, "GET", "/api/models/a/m/commits/main?limit=1&p=6", "")
	var page []commitInfo
	if err := json.Unmarshal(first.body, &page); err != nil || len(page) != 1 {
		t.Fatalf("%v: %s", err, first.body)
	}
	if err := os.Remove(filepath.Join(s.s.root, "models", "a", "m", "commits", page[0].ID+".json")); err != nil {
		t.Fatal(err)
	}
	if r := s.must(200, "GET", "/api/models/a/m/commits/main?limit=1", ""); r.Header.Get("X-Total-Count") != "7" {
		t.Errorf("X-Total-Count is %s", r.Header.Get("X-Total-Count"))
	}
}

func TestStepsAreForgottenInTime(t *testing.T) {
	h := &history{}
	large := step{changed: []string{strings.Repeat("x", maxSteps/3)}}
	for i := range 10 {
		h.put(fmt.Sprint(i), large)
		if h.bytes > maxSteps || len(h.steps) > 2 {
			t.Fatalf("%d bytes in %d steps are remembered", h.bytes, len(h.steps))
		}
	}
	if _, ok := h.get("9"); !ok {
		t.Error("the newest is forgotten")
	}
}
