package server

import (
	"context"
	"encoding/json"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"

	"lockstep/hub"
	"lockstep/internal/fault"
)

// RowSource is the text of a dataset, row by row. It is safe for concurrent use.
type RowSource interface {
	Rows() uint64
	// Text returns a row; null says that the row has no text.
	Text(ctx context.Context, row uint64) (text string, null bool, err error)
	Close() error
}

// OpenRows opens the data files of a folder, in order of their names.
type OpenRows func(ctx context.Context, folder string) (RowSource, error)

// datasetRoutes are those of the datasets-server, which on the Hub is a host of
// its own.
var datasetRoutes = []string{"is-valid", "splits", "size", "parquet", "rows"}

const (
	onlySplit  = "train"
	maxRows    = 100      // of one answer
	maxRowText = 64 << 20 // bytes of one answer
)

// dataExtensions are the files whose rows are served.
var dataExtensions = []string{".parquet", ".jsonl"}

// configOf is the configuration that a data file belongs to: its folder, with
// "-" for "/" and without a leading "data", as FineWeb names its own; "default"
// for files that lie at the top.
func configOf(file string) (config string, ok bool) {
	if !slices.Contains(dataExtensions, path.Ext(file)) {
		return "", false
	}
	folder := strings.TrimPrefix(path.Dir(file), "data/")
	if folder == "." || folder == "data" {
		return "default", true
	}
	return strings.ReplaceAll(folder, "/", "-"), true
}

// viewed is the dataset of a request, at its newest commit.
type viewed struct {
	id      string
	commit  string
	names   []string                  // of the configurations, sorted
	configs map[string][]hub.FileInfo // each with its files by path
}

// datasetsServer answers one of datasetRoutes.
func (c *call) datasetsServer(route string) {
	q := c.r.URL.Query()
	v, ok := c.view(q.Get("dataset"))
	if !ok {
		return
	}
	c.w.Header().Set("X-Revision", v.commit)
	names := v.names
	if config := q.Get("config"); config != "" {
		if _, ok := v.configs[config]; !ok {
			c.viewFail(http.StatusNotFound, "ResponseNotFound", "The config "+strconv.Quote(clip(config))+" does not exist.")
			return
		}
		names = []string{config}
	}
	switch route {
	case "is-valid":
		writeJSON(c.w, map[string]bool{"preview": true, "viewer": true, "search": false, "filter": false, "statistics": false})
	case "splits":
		splits := []map[string]string{}
		for _, name := range names {
			splits = append(splits, map[string]string{"dataset": v.id, "config": name, "split": onlySplit})
		}
		writeJSON(c.w, map[string]any{"splits": splits, "pending": []any{}, "failed": []any{}})
	case "parquet":
		c.viewParquet(v, names)
	case "size":
		c.viewSize(v, names, q.Get("config"))
	case "rows":
		c.viewRows(v)
	}
}

// view finds the dataset and sorts its files.
func (c *call) view(id string) (viewed, bool) {
	v := viewed{id: id, configs: map[string][]hub.FileInfo{}}
	owner, name, _ := strings.Cut(id, "/")
	repo, err := c.repos.find(c.r.Context(), repoName{"datasets", owner, name})
	switch {
	case id == "":
		c.viewFail(http.StatusUnprocessableEntity, "MissingRequiredParameter", "Parameter 'dataset' is required")
		return v, false
	case err == nil && repo.private && !c.known, isMissing(err):
		status, code := http.StatusNotFound, "ExternalAuthenticatedError"
		if !c.known {
			status, code = http.StatusUnauthorized, "ExternalUnauthenticatedError"
		}
		c.viewFail(status, code, "The dataset does not exist, or is not accessible.")
		return v, false
	}
	var files []hub.FileInfo
	if err == nil {
		c.repo = repo
		var commit hub.Commit
		if commit, err = repo.Resolve(c.r.Context(), ""); err == nil {
			v.commit = commit.ID
			files, err = repo.List(c.r.Context(), commit.ID)
		}
	}
	if err != nil {
		c.failWith(c.w, c.r, err)
		return v, false
	}
	for _, f := range files {
		if config, ok := configOf(f.Path); ok {
			v.configs[config] = append(v.configs[config], f)
		}
	}
	for name := range v.configs {
		v.names = append(v.names, name)
	}
	slices.Sort(v.names)
	return v, true
}

// viewFail answers in the shape of the datasets-server's errors.
func (c *call) viewFail(status int, code, message string) {
	c.w.Header().Set("X-Error-Code", code)
	writeStatus(c.w, status, map[string]string{"error": message})
}

// viewParquet is GET parquet. Files are served as they are: nothing here is
// converted.
func (c *call) viewParquet(v viewed, names []string) {
	type entry struct {
		Dataset  string `json:"dataset"`
		Config   string `json:"config"`
		Split    string `json:"split"`
		URL      string `json:"url"`
		Filename string `json:"filename"`
		Size     int64  `json:"size"`
	}
	entries := []entry{}
	for _, name := range names {
		for _, f := range v.configs[name] {
			if path.Ext(f.Path) == ".parquet" {
				url := c.origin() + "/datasets/" + v.id + "/resolve/" + v.commit + "/" + f.Path
				entries = append(entries, entry{v.id, name, onlySplit, url, path.Base(f.Path), f.Size})
			}
		}
	}
	writeJSON(c.w, map[string]any{"parquet_files": entries, "pending": []any{}, "failed": []any{}, "partial": false})
}

// sizes are the numbers of a configuration, its only split, or all of them.
type sizes struct {
	Dataset   string  `json:"dataset"`
	Config    string  `json:"config,omitempty"`
	Split     string  `json:"split,omitempty"`
	Original  *int64  `json:"num_bytes_original_files"`
	Parquet   int64   `json:"num_bytes_parquet_files"`
	Memory    int64   `json:"num_bytes_memory"`
	Rows      uint64  `json:"num_rows"`
	Columns   int     `json:"num_columns"`
	Estimated *uint64 `json:"estimated_num_rows"`
}

// viewSize is GET size, which has another shape when it is about one
// configuration.
func (c *call) viewSize(v viewed, names []string, config string) {
	all := sizes{Dataset: v.id, Columns: 1}
	configs, splits := []sizes{}, []sizes{}
	for _, name := range names {
		source, release, err := c.rows(v, name)
		if err != nil {
			c.viewFail(http.StatusInternalServerError, "UnexpectedApiError", headerText(c.message(err)))
			return
		}
		one := sizes{Dataset: v.id, Config: name, Rows: source.Rows(), Columns: 1}
		release()
		for _, f := range v.configs[name] {
			one.Parquet += f.Size
		}
		one.Memory = one.Parquet
		all.Rows, all.Parquet, all.Memory = all.Rows+one.Rows, all.Parquet+one.Parquet, all.Memory+one.Memory
		configs = append(configs, one)
		one.Split = onlySplit
		splits = append(splits, one)
	}
	if config != "" {
		writeJSON(c.w, map[string]any{"size": map[string]any{"config": configs[0], "splits": splits}, "partial": false})
		return
	}
	writeJSON(c.w, map[string]any{"size": map[string]any{"dataset": all, "configs": configs, "splits": splits}, "pending": []any{}, "failed": []any{}, "partial": false})
}

type rowAnswer struct {
	Index     uint64         `json:"row_idx"`
	Row       map[string]any `json:"row"`
	Truncated []string       `json:"truncated_cells"`
}

// viewRows is GET rows: the column text alone.
func (c *call) viewRows(v viewed) {
	q := c.r.URL.Query()
	if q.Get("config") == "" || q.Get("split") == "" {
		c.viewFail(http.StatusUnprocessableEntity, "MissingRequiredParameter", "Parameters 'dataset', 'config' and 'split' are required")
		return
	}
	offset, oerr := parseNumber(q.Get("offset"), 0)
	length, lerr := parseNumber(q.Get("length"), maxRows)
	if oerr != nil || lerr != nil || length > maxRows {
		c.viewFail(http.StatusUnprocessableEntity, "InvalidParameter", "Parameters 'offset' and 'length' must be whole numbers, the latter at most 100")
		return
	}
	if q.Get("split") != onlySplit {
		c.viewFail(http.StatusNotFound, "ResponseNotFound", "The split does not exist.")
		return
	}
	source, release, err := c.rows(v, q.Get("config"))
	if err != nil {
		c.viewFail(http.StatusInternalServerError, "UnexpectedApiError", headerText(c.message(err)))
		return
	}
	defer release()
	rows, size := []rowAnswer{}, 0
	for row := offset; row < source.Rows() && row < offset+length; row++ {
		text, null, err := source.Text(c.r.Context(), row)
		if size += len(text); err == nil && size > maxRowText {
			err = fault.Errorf(fault.Refused, "rows of more than %d bytes; ask for fewer", maxRowText)
		}
		if err != nil {
			c.viewFail(http.StatusInternalServerError, "UnexpectedApiError", headerText(c.message(err)))
			return
		}
		answer := rowAnswer{row, map[string]any{"text": text}, []string{}}
		if null {
			answer.Row["text"] = nil
		}
		rows = append(rows, answer)
	}
	writeJSON(c.w, map[string]any{
		"features": json.RawMessage(`[{"feature_idx":0,"name":"text","type":{"dtype":"string","_type":"Value"}}]`),
		"rows":     rows, "num_rows_total": source.Rows(), "num_rows_per_page": maxRows, "partial": false,
	})
}

func parseNumber(s string, otherwise uint64) (uint64, error) {
	if s == "" {
		return otherwise, nil
	}
	return strconv.ParseUint(s, 10, 62)
}
