package client

import (
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"lockstep/hub"
	"lockstep/hub/server"
	"lockstep/internal/fault"
)

func TestDownloadInTheHubsShapes(t *testing.T) {
	h := newHub(t)
	r := h.repo("hf_secret")
	if got, err := read(r, "main", "config.json"); err != nil || got != smallText {
		t.Errorf("%q, %v", got, err)
	}
	h.expired = 2 // the address in the redirect is too old; asking again gives a new one
	if got, err := read(r, "main", "model.safetensors"); err != nil || got != largeText {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	var missing *hub.NotFoundError
	if _, err := read(r, "main", "nowhere"); !errors.As(err, &missing) || missing.What != "file" {
		t.Errorf("%v", err)
	}
	if _, err := read(r, "never", "config.json"); !errors.As(err, &missing) || missing.What != "revision" {
		t.Errorf("%v", err)
	}
	files, err := r.List(ctx, "main")
	if err != nil || len(files) != 2 || files[0].GitID != gitOf(smallText) || files[1].SHA256.String() != etagOf(largeText) {
		t.Errorf("%+v, %v", files, err)
	}
	old, err := r.client.Repo(Model, "org/old")
	if err != nil {
		t.Fatal(err)
	}
	if id, err := old.head(ctx, "main"); err != nil || id != h.main {
		t.Errorf("a renamed repository: %q, %v", id, err)
	}
	if len(h.leaked) > 0 {
		t.Errorf("the token went to %v", h.leaked)
	}
}

// TestStrangersInTheHubsShapes asks without a right: a wrong token and none get a
// 401 without a code, which does not say whether the repository is there.
func TestStrangersInTheHubsShapes(t *testing.T) {
	h := newHub(t)
	for _, token := range []string{"", "hf_wrong"} {
		r := h.repo(token)
		for what, err := range map[string]error{
			"list": second(r.List(ctx, "main")), "open": second(read(r, "main", "config.json")), "create": r.Create(ctx, false), "tags": second(r.Tags(ctx)),
		} {
			if !refusedWith(err, http.StatusUnauthorized) || fault.KindOf(err) != fault.Refused || !strings.Contains(err.Error(), "HF_TOKEN") {
				t.Errorf("%q, %s: %v", token, what, err)
			}
		}
	}
	h.made = false
	var missing *hub.NotFoundError
	if _, err := h.repo("hf_secret").Resolve(ctx, "main"); !errors.As(err, &missing) || missing.What != noRepository {
		t.Errorf("a missing repository: %v", err)
	}
}

// TestPublishInTheHubsShapes makes a repository, sends files in one piece, in
// parts and inline, tags the commit, and reads it all back.
func TestPublishInTheHubsShapes(t *testing.T) {
	h := newHub(t)
	h.made = false
	r := h.repo("hf_secret")
	for range 2 { // the second time it is there
		if err := r.Create(ctx, false); err != nil || !h.made {
			t.Fatal(err)
		}
	}
	big := strings.Repeat("other ", 1000)
	want := map[string]string{"config.json": "{}", "model.safetensors": big, "small.safetensors": "small"}
	var add []hub.Content
	for _, path := range slices.Sorted(maps.Keys(want)) {
		add = append(add, text(path, want[path]))
	}
	parent := h.main
	h.expired = 1
	c, err := r.Commit(ctx, hub.CommitRequest{Parent: parent, Message: "epoch 3\n\nwords", Add: add})
	if err != nil || c.ID != h.main || c.ID == parent {
		t.Fatalf("%+v, %v", c, err)
	}
	oid := etagOf(big)
	if want := `{"oid":"` + oid + `","parts":[{"partNumber":1,"etag":"\"etag of ` + oid + `/1\""},{"partNumber":2,"etag":"\"etag of ` + oid + `/2\""}]}`; h.parts["complete"] != want {
		t.Errorf("completed with %s", h.parts["complete"])
	}
	if !slices.Equal(h.verified, []string{oid, etagOf("small")}) {
		t.Errorf("verified %v", h.verified)
	}
	lines := `{"key":"header","value":{"description":"words","parentCommit":"` + parent + `","summary":"epoch 3"}}` + "\n" +
		`{"key":"lfsFile","value":{"algo":"sha256","oid":"` + oid + `","path":"model.safetensors","size":6000}}` + "\n" +
		`{"key":"lfsFile","value":{"algo":"sha256","oid":"` + etagOf("small") + `","path":"small.safetensors","size":5}}` + "\n" +
		`{"key":"file","value":{"path":"config.json","encoding":"base64","content":"e30="}}` + "\n"
	if len(h.commits) != 1 || h.commits[0] != lines {
		t.Errorf("committed %q", h.commits)
	}
	for range 2 { // the second time 409, and refs tell that it is this commit
		if err := r.Tag(ctx, "3", c.ID); err != nil {
			t.Error(err)
		}
	}
	var exists *hub.TagExistsError
	if err := r.Tag(ctx, "3", parent); !errors.As(err, &exists) || exists.Commit != c.ID {
		t.Errorf("the tag for another commit: %v", err)
	}
	if tags, err := r.Tags(ctx); err != nil || !slices.Equal(tags, []hub.Tag{{Name: "3", Commit: c.ID}}) {
		t.Errorf("%v, %v", tags, err)
	}
	if files, err := r.List(ctx, "3"); err != nil || len(files) != len(want) {
		t.Errorf("%+v, %v", files, err)
	}
	for path, content := range want {
		if got, err := read(r, "3", path); err != nil || got != content {
			t.Errorf("%s: %d bytes, %v", path, len(got), err)
		}
	}
	if same, err := r.Commit(ctx, hub.CommitRequest{Parent: c.ID, Message: "again", Add: add}); err != nil || same.ID != c.ID || len(h.commits) != 1 {
		t.Errorf("the same files again: %+v, %v", same, err)
	}
	if len(h.leaked) > 0 {
		t.Errorf("the token went to %v", h.leaked)
	}
}

// TestLostRaceInTheHubsShapes commits on a head that moves before the commit
// arrives: the Hub says 412, and the error where the branch is.
func TestLostRaceInTheHubsShapes(t *testing.T) {
	h := newHub(t)
	h.race = true
	before := h.main
	var moved *hub.HeadMovedError
	_, err := h.repo("hf_secret").Commit(ctx, hub.CommitRequest{Parent: before, Message: "x", Add: []hub.Content{text("config.json", "{}")}})
	if !errors.As(err, &moved) || moved.Expected != before || moved.Head != h.main || len(h.commits) != 0 {
		t.Errorf("%v", err)
	}
}

// TestHostileAnswers checks that nothing is believed that cannot be verified.
func TestHostileAnswers(t *testing.T) {
	file := func(fields string) string { return `[{"type":"file","oid":"` + gitOf("x") + `",` + fields + `}]` }
	for name, c := range map[string]struct {
		body string
		kind fault.Kind
	}{
		"a path out of the folder": {file(`"path":"../../.ssh/config","size":1`), fault.Damaged},
		"an absolute path":         {file(`"path":"/etc/passwd","size":1`), fault.Damaged},
		"a negative size":          {file(`"path":"a","size":-1`), fault.Damaged},
		"no digest":                {`[{"type":"file","path":"a","size":1,"oid":"xyz"}]`, fault.Damaged},
		"no digest of a large one": {file(`"path":"a","size":1,"lfs":{"oid":"../../x","size":1}`), fault.Damaged},
		"no JSON":                  {"<!DOCTYPE html>", fault.Network},
		"half of it":               {`[{"type":"file"`, fault.Network},
		"another type":             {`{"type":"file"}`, fault.Network},
	} {
		w := newWorld(t, server.Options{})
		w.line.fault = func(r *http.Request, _ int) *mishap {
			if has("GET", "/tree/")(r) {
				return &mishap{status: 200, body: c.body}
			}
			return nil
		}
		if files, err := w.List(ctx, ""); err == nil || fault.KindOf(err) != c.kind {
			t.Errorf("%s: %v, %v (%v)", name, files, err, fault.KindOf(err))
		}
	}
}

// TestWrongBytes serves a file other than announced: it is refused, and nothing
// stays behind.
func TestWrongBytes(t *testing.T) {
	for name, body := range map[string]string{"other bytes": "weights ONE", "more bytes": "weights one and more"} {
		w := newWorld(t, server.Options{})
		if _, err := push(w, 1, epochOne); err != nil {
			t.Fatal(err)
		}
		w.line.fault = func(r *http.Request, _ int) *mishap {
			if has("GET", "/resolve/")(r) {
				return &mishap{status: 200, body: body}
			}
			return nil
		}
		if got, err := read(w, "1", "model.safetensors"); fault.KindOf(err) != fault.Damaged {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		w.line.fault = nil
		if got, err := read(w, "1", "model.safetensors"); err != nil || got != "weights one" {
			t.Errorf("%s, afterwards: %q, %v", name, got, err)
		}
	}
}

// TestPauses checks how long a client waits between its tries.
func TestPauses(t *testing.T) {
	w := newWorld(t, server.Options{})
	w.line.fault = func(_ *http.Request, n int) *mishap {
		if n == 2 {
			return &mishap{status: 429, header: "Retry-After: 20"}
		}
		return &mishap{status: 500}
	}
	if _, err := w.Tags(ctx); fault.KindOf(err) != fault.Network {
		t.Fatal(err)
	}
	want := []time.Duration{1, 2, 21, 8, 8}
	for i, d := range w.waits {
		if low := want[i] * time.Second; d < low || d > low+low/4 {
			t.Errorf("pause %d is %v, want %v and up to a quarter more", i, d, low)
		}
	}
	if len(w.waits) != len(want) || len(w.line.sent) != 6 {
		t.Errorf("%d pauses, %d requests", len(w.waits), len(w.line.sent))
	}
}
