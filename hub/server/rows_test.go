package server

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// lines is a source of rows for tests: the lines of a folder's files. A line
// "-" has no text.
type lines struct {
	rows   []string
	closed *int
}

func openLines(closed *int) OpenRows {
	return func(_ context.Context, folder string) (RowSource, error) {
		entries, err := os.ReadDir(folder)
		if err != nil {
			return nil, err
		}
		l := lines{closed: closed}
		for _, e := range entries {
			text, err := os.ReadFile(filepath.Join(folder, e.Name()))
			if err != nil {
				return nil, err
			}
			if strings.Contains(string(text), "damaged") {
				return nil, fmt.Errorf("%s is damaged", filepath.Join(folder, e.Name()))
			}
			l.rows = append(l.rows, strings.Split(strings.TrimSpace(string(text)), "\n")...)
		}
		return l, nil
	}
}

func (l lines) Rows() uint64 { return uint64(len(l.rows)) }
func (l lines) Close() error { *l.closed++; return nil }
func (l lines) Text(_ context.Context, row uint64) (string, bool, error) {
	return strings.TrimPrefix(l.rows[row], "-"), l.rows[row] == "-", nil
}

func newDataset(t *testing.T, closed *int) *site {
	s := newSite(t, Options{Rows: openLines(closed)})
	s.must(200, "POST", "/api/repos/create", `{"name":"text","organization":"a","type":"dataset"}`)
	s.must(200, "POST", "/api/repos/create", `{"name":"secret","organization":"a","type":"dataset","private":true}`)
	s.must(200, "POST", "/api/datasets/a/text/commit/main", header("x", "")+inline("sample/10BT/001.jsonl", "three\n-\n")+inline("sample/10BT/000.jsonl", "one\ntwo")+
		inline("data/CC-1/000.parquet", "x\n")+inline("top.parquet", "y\n")+inline("README.md", "no data")+inline("broken/b.jsonl", "damaged"))
	return s
}

func TestRowsAPI(t *testing.T) {
	closed := 0
	s := newDataset(t, &closed)
	for path, want := range map[string]string{
		"/splits?dataset=a/text": `{"failed":[],"pending":[],"splits":[{"config":"CC-1","dataset":"a/text","split":"train"},{"config":"broken","dataset":"a/text","split":"train"},` +
			`{"config":"default","dataset":"a/text","split":"train"},{"config":"sample-10BT","dataset":"a/text","split":"train"}]}`,
		"/is-valid?dataset=a/text": `{"filter":false,"preview":true,"search":false,"statistics":false,"viewer":true}`,
		"/rows?dataset=a/text&config=sample-10BT&split=train&offset=1&length=2": `{"features":[{"feature_idx":0,"name":"text","type":{"dtype":"string","_type":"Value"}}],"num_rows_per_page":100,"num_rows_total":4,"partial":false,` +
			`"rows":[{"row_idx":1,"row":{"text":"two"},"truncated_cells":[]},{"row_idx":2,"row":{"text":"three"},"truncated_cells":[]}]}`,
		"/rows?dataset=a/text&config=sample-10BT&split=train&offset=3": `{"features":[{"feature_idx":0,"name":"text","type":{"dtype":"string","_type":"Value"}}],"num_rows_per_page":100,"num_rows_total":4,"partial":false,` +
			`"rows":[{"row_idx":3,"row":{"text":null},"truncated_cells":[]}]}`,
		"/size?dataset=a/text&config=sample-10BT": `{"partial":false,"size":{"config":{"dataset":"a/text","config":"sample-10BT","num_bytes_original_files":null,"num_bytes_parquet_files":15,"num_bytes_memory":15,"num_rows":4,"num_columns":1,"estimated_num_rows":null},` +
			`"splits":[{"dataset":"a/text","config":"sample-10BT","split":"train","num_bytes_original_files":null,"num_bytes_parquet_files":15,"num_bytes_memory":15,"num_rows":4,"num_columns":1,"estimated_num_rows":null}]}}`,
	} {
		r := s.must(200, "GET", path, "")
		if r.text() != want || len(r.Header.Get("X-Revision")) != 40 {
			t.Errorf("%s\ngot  %s\nwant %s", path, r.body, want)
		}
	}
	past := s.must(200, "GET", "/rows?dataset=a/text&config=default&split=train&offset=99", "")
	if rows, ok := past.field("rows").([]any); !ok || len(rows) != 0 {
		t.Errorf("behind the end there are %v", past.field("rows"))
	}
	parquet := s.must(200, "GET", "/parquet?dataset=a/text", "")
	var files struct {
		Files []struct{ URL, Config string } `json:"parquet_files"`
	}
	if err := json.Unmarshal(parquet.body, &files); err != nil || len(files.Files) != 2 || files.Files[0].Config != "CC-1" {
		t.Fatalf("%v: %s", err, parquet.body)
	}
	if r := s.must(200, "GET", files.Files[0].URL, ""); r.text() != "x\n" {
		t.Errorf("%s is %q", files.Files[0].URL, r.body)
	}
	for path, want := range map[string]struct {
		status int
		code   string
	}{
		"/rows":                {422, "MissingRequiredParameter"},
		"/rows?dataset=a/text": {422, "MissingRequiredParameter"},
		"/rows?dataset=a/text&config=default&split=train&length=101":  {422, "InvalidParameter"},
		"/rows?dataset=a/text&config=default&split=train&offset=-1":   {422, "InvalidParameter"},
		"/rows?dataset=a/text&config=default&split=train&offset=many": {422, "InvalidParameter"},
		"/rows?dataset=a/text&config=default&split=test":              {404, "ResponseNotFound"},
		"/rows?dataset=a/text&config=other&split=train":               {404, "ResponseNotFound"},
		"/rows?dataset=a/text&config=broken&split=train":              {500, "UnexpectedApiError"},
		"/rows?dataset=a/none&config=default&split=train":             {404, "ExternalAuthenticatedError"},
		"/splits?dataset=..": {404, "ExternalAuthenticatedError"},
	} {
		if r := s.must(want.status, "GET", path, ""); r.Header.Get("X-Error-Code") != want.code || r.field("error") == nil || strings.Contains(r.text(), s.s.root) {
			t.Errorf("%s: %s %s", path, r.Header.Get("X-Error-Code"), r.body)
		}
	}
	if r := s.must(401, "GET", "/splits?dataset=a/secret", "", "Authorization: "); r.Header.Get("X-Error-Code") != "ExternalUnauthenticatedError" {
		t.Errorf("a private dataset: %s", r.body)
	}
}

// TestRowsAreOpenedOnce checks that requests share a source, and that sources
// and their folders do not pile up.
func TestRowsAreOpenedOnce(t *testing.T) {
	closed := 0
	s := newDataset(t, &closed)
	views := func() int {
		entries, err := os.ReadDir(filepath.Join(s.s.root, viewsDir))
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	ask := func() {
		t.Helper()
		s.must(200, "GET", "/rows?dataset=a/text&config=default&split=train", "")
	}
	ask()
	ask()
	if views() != 1 || closed != 0 {
		t.Fatalf("%d views, %d closed", views(), closed)
	}
	os.RemoveAll(filepath.Join(s.s.root, viewsDir))
	if err := os.Mkdir(filepath.Join(s.s.root, viewsDir), 0o755); err != nil {
		t.Fatal(err)
	}
	ask() // as if it had been cleared away
	for i := range maxOpened + 2 {
		s.must(200, "POST", "/api/datasets/a/text/commit/main", header("x", "")+inline("top.parquet", fmt.Sprint(i)))
		ask()
	}
	if views() != maxOpened || closed != 4 {
		t.Errorf("%d views, %d closed; want %d and 4", views(), closed, maxOpened)
	}
	s.s.opened.dropAll()
	if views() != 0 || closed != 4+maxOpened {
		t.Errorf("at the end %d views, %d closed", views(), closed)
	}
}
