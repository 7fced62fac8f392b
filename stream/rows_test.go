package stream

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"lockstep/internal/fault"
	"lockstep/internal/testdata"
	"lockstep/stream/remote/fakehub"
)

// TestRowsPage reads an answer of the documented shape, with real documents.
func TestRowsPage(t *testing.T) {
	data, err := os.ReadFile(testdata.Path(t, "hf_api", "fineweb_rows_0_100.json"))
	if err != nil {
		t.Fatal(err)
	}
	page, err := parseRows(data, 0)
	if err != nil || len(page.Cells) != 100 || page.Total < 100 {
		t.Fatalf("%v", err)
	}
	want := all(t, open(t, testdata.Path(t, "fineweb", "batch_000003.parquet")))
	for i, c := range page.Cells {
		if RowDigest(c.Text) != want[i].Digest {
			t.Errorf("row %d", i)
		}
	}
}

func TestRowsRefusals(t *testing.T) {
	page := func(change func(m map[string]any)) []byte {
		m := map[string]any{
			"features": []any{}, "num_rows_total": 2, "num_rows_per_page": 100, "partial": false,
			"rows": []any{
				map[string]any{"row_idx": 0, "row": map[string]any{"text": "a", "n": 1.5}, "truncated_cells": []any{}},
				map[string]any{"row_idx": 1, "row": map[string]any{"text": nil}, "truncated_cells": []any{}},
			},
		}
		change(m)
		data, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	row := func(m map[string]any) map[string]any { return m["rows"].([]any)[1].(map[string]any) }
	good, err := parseRows(page(func(map[string]any) {}), 0)
	if err != nil || good.Total != 2 || good.Cells[0].Text != "a" || !good.Cells[1].Null {
		t.Fatalf("%+v, %v", good, err)
	}
	for name, data := range map[string][]byte{
		"an error":         []byte(`{"error":"The server is busier than usual"}`),
		"a web page":       []byte(" <html></html>"),
		"cut":              page(func(map[string]any) {})[:90],
		"no total":         page(func(m map[string]any) { delete(m, "num_rows_total") }),
		"negative total":   page(func(m map[string]any) { m["num_rows_total"] = -1 }),
		"no rows":          page(func(m map[string]any) { m["rows"] = nil }),
		"another order":    page(func(m map[string]any) { row(m)["row_idx"] = 0 }),
		"no numbers":       page(func(m map[string]any) { delete(row(m), "row_idx") }),
		"truncated":        page(func(m map[string]any) { row(m)["truncated_cells"] = []any{"text"} }),
		"no text":          page(func(m map[string]any) { row(m)["row"] = map[string]any{"body": "x"} }),
		"text is a number": page(func(m map[string]any) { row(m)["row"] = map[string]any{"text": 5} }),
		"no row":           page(func(m map[string]any) { delete(row(m), "row") }),
		"too many": page(func(m map[string]any) {
			var rows []any
			for i := range 101 {
				rows = append(rows, map[string]any{"row_idx": i, "row": map[string]any{"text": "x"}})
			}
			m["rows"] = rows
		}),
	} {
		if got, err := parseRows(data, 0); err == nil {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// TestRowsNullAndSurrogates: what JSON can say and text cannot.
func TestRowsNullAndSurrogates(t *testing.T) {
	h := fakehub.New(t)
	h.Rows = []any{"plain", nil, "", json.RawMessage(`"half \ud800"`), "ü"}
	got := all(t, openWith(t, reach(h), "rows://org/fineweb/default"))
	for i, want := range []Defect{Intact, Null, Empty, NotUTF8, Intact} {
		if got[i].Defect != want {
			t.Errorf("row %d: %+v", i, got[i])
		}
	}
}

// TestRowsToken: the token goes to the rows API only if that belongs to its Hub.
func TestRowsToken(t *testing.T) {
	for _, tt := range []struct {
		hub, rows, want string
	}{
		{"", "", "hf_x"},
		{"http://127.0.0.1:9000", "http://127.0.0.1:9000/datasets-server", "hf_x"},
		{"http://127.0.0.1:9000", "http://127.0.0.1:9001", ""},
		{"http://127.0.0.1:9000", "", ""},
		{"", "http://127.0.0.1:9000", ""},
	} {
		if got := (Remote{Endpoint: tt.hub, RowsEndpoint: tt.rows, Token: "hf_x"}).filled().rowsToken(); got != tt.want {
			t.Errorf("%+v: %q", tt, got)
		}
	}
}

// FuzzRowsPage: an answer is rows in order, or an error.
func FuzzRowsPage(f *testing.F) {
	f.Add([]byte(`{"rows":[{"row_idx":7,"row":{"text":"a"},"truncated_cells":[]},{"row_idx":8,"row":{"text":null}}],"num_rows_total":9,"partial":true}`), uint64(7))
	f.Add([]byte(`{"rows":[{"row_idx":18446744073709551615,"row":{"text":"\ud800"}}],"num_rows_total":18446744073709551615}`), ^uint64(0))
	f.Add([]byte(`{"error":"x"}`), uint64(0))
	f.Fuzz(func(t *testing.T, data []byte, offset uint64) {
		page, err := parseRows(data, offset)
		if err != nil {
			if k := fault.KindOf(damage("rows://a/b/c", "row 0", err)); k != fault.Damaged {
				t.Fatalf("%v: %v", k, err)
			}
			return
		}
		if len(page.Cells) > rowsPage {
			t.Fatalf("%d rows", len(page.Cells))
		}
		for _, c := range page.Cells {
			if c.Null && c.Text != "" {
				t.Fatalf("null is %q", strings.ToValidUTF8(c.Text, "?"))
			}
		}
	})
}
