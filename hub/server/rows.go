package server

import (
	"context"
	"net/http"

	"lockstep/hub"
)

// RowReader reads datasets for the routes of the datasets-server.
type RowReader interface {
	// Rows returns the JSON of rows offset to offset+length of a dataset's
	// parquet files, taken in order, and how many rows there are.
	Rows(ctx context.Context, repo hub.Repository, files []hub.FileInfo, offset, length int64) (rows []byte, total int64, err error)
}

// datasetRoutes are those of the datasets-server, which on the Hub is a host of
// its own.
var datasetRoutes = []string{"splits", "size", "parquet", "rows", "is-valid"}

func (c *call) datasetsServer(string) {
	fail(c.w, c.r, http.StatusNotImplemented, "", "this server does not read rows")
}
