package remote

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"lockstep/internal/fault"
	"lockstep/internal/httpx"
	"lockstep/stream/remote/fakehub"
)

// TestList: pages are joined, sorted, and cut down to parquet files; a token is
// sent to the Hub.
func TestList(t *testing.T) {
	h := fakehub.New(t)
	h.Token, h.PageSize = "hf_x", 3
	var want []string
	for i := range 8 {
		path := fmt.Sprintf("sample/350BT/%03d.parquet", i)
		h.Files[path] = file(10 + i)
		want = append(want, path)
	}
	for _, path := range []string{"README.md", "sample/350BT/notes.txt", "sample/350BT/.hidden.parquet", "sample/350BTX/other.parquet", "data/a.parquet"} {
		h.Files[path] = file(5)
	}
	h.Configs = []any{
		map[string]any{"config_name": "default", "data_files": []any{map[string]any{"split": "train", "path": "data/*"}}},
		map[string]any{"config_name": "sample-350BT", "data_files": []any{
			map[string]any{"split": "test", "path": "data/*"},
			map[string]any{"split": "train", "path": []string{"sample/350BT/*", "sample/350BT/00?.parquet"}},
		}},
		map[string]any{"config_name": "loop", "data_files": "loop/*"},
	}
	r := pin(t, h, "hf_x")
	for _, path := range []string{"sample/350BT", "sample-350BT"} {
		files, err := r.List(ctx, path)
		if err != nil || len(files) != len(want) {
			t.Fatalf("%s: %v, %v", path, files, err)
		}
		for i, f := range files {
			if f != fileOf(h, want[i]) {
				t.Errorf("%s: %+v is file %d", path, f, i)
			}
		}
	}
	if files, err := r.List(ctx, "data/a.parquet"); err != nil || len(files) != 1 || files[0].Path != "data/a.parquet" {
		t.Errorf("one file: %v, %v", files, err)
	}
	if files, err := r.List(ctx, ""); err != nil || len(files) != 10 {
		t.Errorf("the whole repository: %d files, %v", len(files), err)
	}
	if pages := len(h.Log()); pages < 10 {
		t.Errorf("%d requests: were there no pages?", pages)
	}
	for path, says := range map[string]string{
		"sample-9BT":       `configurations are ["default" "sample-350BT" "loop"]`,
		"sample/9BT":       "EntryNotFound",
		"loop":             "does not exist",
		"data/b.parquet":   `no file "data/b.parquet"`,
		"sample/350BT/abc": "404",
	} {
		_, err := r.List(ctx, path)
		if err == nil || !strings.Contains(fmt.Sprintf("%v %+v", err, code(err)), says) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// TestNoConfigurations: a name that is neither folder nor configuration, of a
// dataset that declares none.
func TestNoConfigurations(t *testing.T) {
	h := fakehub.New(t)
	h.Files["data/a.parquet"] = file(10)
	_, err := pin(t, h, "").List(ctx, "sample")
	if fault.KindOf(err) != fault.Refused || !strings.Contains(err.Error(), "declares no configurations") || strings.Contains(err.Error(), "[]") {
		t.Errorf("%v", err)
	}
}

// TestTreeRefusals feeds lists that would lead astray.
func TestTreeRefusals(t *testing.T) {
	oid := strings.Repeat("a", 64)
	entry := func(change func(m map[string]any)) string {
		m := map[string]any{"type": "file", "path": "data/x.parquet", "size": 5, "oid": oid[:40], "lfs": map[string]any{"oid": oid, "size": 5}}
		change(m)
		data, err := json.Marshal([]any{m})
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	if files, err := parseTree([]byte(entry(func(map[string]any) {})), "data"); err != nil || len(files) != 1 || files[0].OID != oid {
		t.Fatalf("%v, %v", files, err)
	}
	for name, page := range map[string]string{
		"outside":       entry(func(m map[string]any) { m["path"] = "other/x.parquet" }),
		"upwards":       entry(func(m map[string]any) { m["path"] = "data/../../x.parquet" }),
		"absolute":      entry(func(m map[string]any) { m["path"] = "/data/x.parquet" }),
		"negative":      entry(func(m map[string]any) { m["size"] = -1 }),
		"two sizes":     entry(func(m map[string]any) { m["size"] = 6 }),
		"fraction":      entry(func(m map[string]any) { m["size"] = 5.5 }),
		"no digest":     entry(func(m map[string]any) { m["lfs"] = nil; m["oid"] = "" }),
		"short digest":  entry(func(m map[string]any) { m["lfs"] = map[string]any{"oid": oid[:40], "size": 5} }),
		"unknown type":  entry(func(m map[string]any) { m["type"] = "link" }),
		"not a list":    `{"error":"x"}`,
		"cut":           `[{"type":"file"`,
		"list of lists": `[[]]`,
	} {
		if files, err := parseTree([]byte(page), "data"); fault.KindOf(err) != fault.Damaged {
			t.Errorf("%s: %v, %v", name, files, err)
		}
	}
}

// TestNextPage: the list goes on at the endpoint only.
func TestNextPage(t *testing.T) {
	h := fakehub.New(t)
	r := pin(t, h, "")
	here := h.Hub.URL + "/api/datasets/org/fineweb/tree/main?cursor=1"
	for link, want := range map[string]string{
		"":                           "",
		`<https://x/y>; rel="prev"`:  "",
		"<" + here + `>; rel="next"`: here,
		`<https://a/>; rel="first", </p?cursor=2>; rel="next"`:  h.Hub.URL + "/p?cursor=2",
		`<https://huggingface.co/api/x?cursor=3>; rel="next"`:   h.Hub.URL + "/api/x?cursor=3",
		`<https://evil.example/api/x?cursor=3>; rel="next"`:     "!",
		`<http://huggingface.co:8080/api/x?cursor=3>; rel=next`: "!",
		"<" + h.CDN.URL + `/api/x>; rel="next"`:                 "!",
		"<http://\x7f/>; rel=\"next\"":                          "!",
	} {
		got, err := r.nextAddress(here, http.Header{"Link": {link}})
		if want == "!" && fault.KindOf(err) != fault.Damaged || want != "!" && (err != nil || got != want) {
			t.Errorf("%q: %q, %v", link, got, err)
		}
	}
}

func TestMatches(t *testing.T) {
	for pattern, tt := range map[string]struct {
		path string
		want bool
	}{
		"sample/350BT/*":  {"sample/350BT/000_00001.parquet", true},
		"sample/350BT/* ": {"sample/350BT/000_00001.parquet", false},
		"data/*/*":        {"data/CC-MAIN-2024-10/000.parquet", true},
		"data/*":          {"data/CC-MAIN-2024-10/000.parquet", false},
		"**/*.parquet":    {"a/b/c.parquet", true},
		"**":              {"a", true},
		"a/**/c":          {"a/c", true},
		"a/**/c/**/d":     {"a/c/x/c/y/d", true},
		"a/**/c/**/e":     {"a/c/x/c/y/d", false},
		"a/**/**":         {"a", true},
		"a/b/c":           {"a/b", false},
		"a/[":             {"a/[", false},
	} {
		if matches(pattern, tt.path) != tt.want {
			t.Errorf("%q, %q: %v", pattern, tt.path, !tt.want)
		}
	}
}

// FuzzTree: whatever a server lists, what comes out stays inside the folder.
func FuzzTree(f *testing.F) {
	f.Add([]byte(`[{"type":"directory","path":"data/a","oid":"x","size":0}]`), "data", `<https://x/y?cursor=2>; rel="next"`)
	f.Add([]byte(`[{"type":"file","path":"data/a.parquet","size":3,"oid":"`+strings.Repeat("0", 40)+`"}]`), "data", "")
	f.Add([]byte(`[{"type":"file","path":"a","size":9223372036854775807,"oid":"`+strings.Repeat("f", 40)+`","lfs":{"oid":"sha256:`+strings.Repeat("F", 64)+`","size":9223372036854775807}}]`), "", "")
	client, err := httpx.New(httpx.Options{})
	if err != nil {
		f.Fatal(err)
	}
	r := NewRepo(client, "a/b", strings.Repeat("0", 40))
	f.Fuzz(func(t *testing.T, page []byte, folder, link string) {
		files, err := parseTree(page, folder)
		if err != nil && fault.KindOf(err) != fault.Damaged {
			t.Fatalf("%v", err)
		}
		for _, x := range files {
			if !validPath(x.Path) || x.Size < 0 || !contents.MatchString(x.OID) || folder != "" && !strings.HasPrefix(x.Path, folder+"/") {
				t.Fatalf("%+v", x)
			}
		}
		next, err := r.nextAddress("https://huggingface.co/api", http.Header{"Link": {link}})
		if err == nil && next != "" && !strings.HasPrefix(next, "https://huggingface.co") {
			t.Fatalf("on to %q", next)
		}
	})
}

// FuzzCard: a card's configurations are strings, lists and lists of objects in
// any mixture.
func FuzzCard(f *testing.F) {
	f.Add([]byte(`{"sha":"x","cardData":{"configs":[{"config_name":"a","data_files":[{"split":"train","path":["a/*"]}]}]}}`))
	f.Add([]byte(`{"cardData":{"configs":[{"config_name":"a","data_files":"x/**"},{"data_files":["a","b"]},{"data_files":{"train":1}}]}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var i info
		if json.Unmarshal(data, &i) != nil {
			return
		}
		for _, c := range i.Card.Configs {
			patterns, err := c.patterns()
			if err == nil && len(patterns) == 0 {
				t.Fatal("neither patterns nor an error")
			}
			for _, p := range patterns {
				if len(p) < 200 {
					matches(p, base(p))
				}
			}
		}
	})
}
