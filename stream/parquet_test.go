package stream

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"

	"lockstep/internal/fault"
	"lockstep/internal/testdata"
	own "lockstep/stream/parquet"
)

// TestParquetShapes writes the same rows in many ways and reads them back in an
// order that jumps between pages and row groups.
func TestParquetShapes(t *testing.T) {
	noLeak(t)
	rows := texts(1000)
	codecs := map[string]parquet.WriterOption{
		"plain":  parquet.Compression(&parquet.Uncompressed),
		"snappy": parquet.Compression(&parquet.Snappy),
		"zstd":   parquet.Compression(&parquet.Zstd),
	}
	encodings := map[string]parquet.WriterOption{
		"PLAIN":                   parquet.DefaultEncodingFor(parquet.ByteArray, &parquet.Plain),
		"RLE_DICTIONARY":          parquet.DefaultEncodingFor(parquet.ByteArray, &parquet.RLEDictionary),
		"DELTA_LENGTH_BYTE_ARRAY": parquet.DefaultEncodingFor(parquet.ByteArray, &parquet.DeltaLengthByteArray),
		"DELTA_BYTE_ARRAY":        parquet.DefaultEncodingFor(parquet.ByteArray, &parquet.DeltaByteArray),
	}
	for codec, compression := range codecs {
		for encoding, encode := range encodings {
			for _, version := range []int{1, 2} {
				for _, pageBytes := range []int{512, 1 << 20} {
					name := fmt.Sprintf("%s/%s/v%d/%d", codec, encoding, version, pageBytes)
					data := parquetBytes(t, rows, 333, compression, encode,
						parquet.DataPageVersion(version), parquet.PageBufferSize(pageBytes))
					src := open(t, write(t, t.TempDir(), "rows.parquet", data))
					if src.Rows() != uint64(len(rows)) {
						t.Fatalf("%s: %d rows", name, src.Rows())
					}
					for i := range rows {
						at := i * 389 % len(rows)
						row, err := src.Text(ctx, uint64(at))
						if err != nil {
							t.Fatalf("%s: %v", name, err)
						}
						if row.Text != rows[at] || row.Digest != RowDigest(rows[at]) || row.Number != uint64(at) {
							t.Fatalf("%s: row %d is %+v", name, at, row)
						}
					}
				}
			}
		}
	}
}

func TestParquetNullEmptyNotUTF8(t *testing.T) {
	bad, empty, good := "caf\xe9", "", "café"
	var buf bytes.Buffer
	w := parquet.NewGenericWriter[optional](&buf)
	if _, err := w.Write([]optional{{0, &good}, {1, nil}, {2, &bad}, {3, &empty}, {4, &good}}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	rows := all(t, open(t, write(t, t.TempDir(), "a.parquet", buf.Bytes())))
	for i, want := range []Defect{Intact, Null, NotUTF8, Empty, Intact} {
		text := ""
		if want == Intact {
			text = good
		}
		if rows[i].Defect != want || rows[i].Text != text || rows[i].Digest != RowDigest(text) {
			t.Errorf("row %d: %+v, want %v", i, rows[i], want)
		}
	}
}

// TestParquetRefusals: files that are whole but cannot be read, and what the
// error says about them.
func TestParquetRefusals(t *testing.T) {
	encode := func(w interface{ Close() error }, buf *bytes.Buffer) []byte {
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return buf.Bytes()
	}
	var missing, number, list, group bytes.Buffer
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"missing column": {encode(parquet.NewGenericWriter[struct {
			Body string `parquet:"body"`
		}](&missing), &missing), `no column "text"; the columns are ["body"]`},
		"number": {encode(parquet.NewGenericWriter[struct {
			Text int64 `parquet:"text"`
		}](&number), &number), "is not text"},
		"list": {encode(parquet.NewGenericWriter[struct {
			Text []string `parquet:"text"`
		}](&list), &list), "is not text"},
		"group": {encode(parquet.NewGenericWriter[struct {
			Text required `parquet:"text"`
		}](&group), &group), "is not text"},
		"gzip":        {parquetBytes(t, texts(9), 9, parquet.Compression(&parquet.Gzip)), "compressed with GZIP"},
		"not parquet": {[]byte("this is a text file with a wrong name"), `not in "PAR1"`},
		"too short":   {[]byte("PAR1"), "cut off"},
		"empty":       {nil, "cut off"},
	} {
		path := write(t, t.TempDir(), "a.parquet", c.data)
		_, err := Open(ctx, path)
		if fault.KindOf(err) != fault.Damaged || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestFineWebWriters reads the same documents as four programs wrote them.
func TestFineWebWriters(t *testing.T) {
	noLeak(t)
	want := all(t, open(t, testdata.Path(t, "fineweb_layout", "fineweb_200.jsonl")))
	for name, n := range map[string]int{
		"fineweb_200_zstd.parquet": 200, "fineweb_200_snappy.parquet": 200, "fineweb_20_uncompressed.parquet": 20,
	} {
		got := all(t, open(t, testdata.Path(t, "fineweb_layout", name)))
		if len(got) != n {
			t.Fatalf("%s: %d rows", name, len(got))
		}
		for i, row := range got {
			if row.Text != want[i].Text || row.Digest != want[i].Digest {
				t.Errorf("%s: row %d differs from the jsonl file's", name, i)
			}
		}
	}
}

func TestFineWebFolder(t *testing.T) {
	src := open(t, testdata.Path(t, "fineweb"))
	if src.Rows() != 1500 || src.Name() != "parquet" {
		t.Errorf("%d rows of %s", src.Rows(), src.Name())
	}
	row, err := src.Text(ctx, 1499)
	if err != nil || row.File != "batch_000060.parquet" || row.Number != 99 || row.Defect != Intact {
		t.Errorf("last row: %+v, %v", row, err)
	}
}

// TestApacheFiles reads string columns of Apache's own test files, written by
// Impala, parquet-mr and others.
func TestApacheFiles(t *testing.T) {
	expect, err := os.ReadFile(testdata.Path(t, "parquet", "delta_byte_array_expect.csv"))
	if err != nil {
		t.Fatal(err)
	}
	table, err := csv.NewReader(bytes.NewReader(expect)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	for i, column := range table[0] {
		if column == "c_birth_country" || column == "c_customer_id" {
			var want []string
			for _, line := range table[1:] {
				want = append(want, line[i])
			}
			readColumn(t, "delta_byte_array.parquet", column, want)
		}
	}
	zeroOne := []string{"0", "1", "0", "1", "0", "1", "0", "1"}
	readColumn(t, "alltypes_plain.parquet", "string_col", zeroOne)
	readColumn(t, "alltypes_plain.snappy.parquet", "string_col", zeroOne[:2])
	readColumn(t, "alltypes_dictionary.parquet", "string_col", zeroOne[:2])
	readColumn(t, "datapage_v2.snappy.parquet", "a", []string{"abc", "abc", "abc", "", "abc"})
	readColumn(t, "delta_length_byte_array.parquet", "FRUIT", nil)
	for file, column := range map[string]string{
		"nested_lists.snappy.parquet": "a", "nested_maps.snappy.parquet": "a", "nulls.snappy.parquet": "b_struct",
		"single_nan.parquet": "mycol", "page_v2_empty_compressed.parquet": "integer_column",
	} {
		d, err := newDisk(testdata.Path(t, "parquet", file))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := openParquet(d, column, &pageCache{}); fault.KindOf(err) != fault.Damaged {
			t.Errorf("%s: column %s: %v", file, column, err)
		}
	}
}

// readColumn compares a column with want; nil only reads.
func readColumn(t *testing.T, file, column string, want []string) {
	t.Helper()
	d, err := newDisk(testdata.Path(t, "parquet", file))
	if err != nil {
		t.Fatal(err)
	}
	p, err := openParquet(d, column, &pageCache{})
	if err != nil {
		t.Fatal(err)
	}
	if want != nil && p.rows() != uint64(len(want)) {
		t.Errorf("%s: %d rows, want %d", file, p.rows(), len(want))
	}
	for i := range p.rows() {
		got, _, err := p.text(ctx, i)
		if err != nil {
			t.Fatal(err)
		}
		if want != nil && got != want[i] {
			t.Errorf("%s: row %d of %s is %q, want %q", file, i, column, got, want[i])
		}
	}
}

// TestOnlyOnePageIsDecoded: a row far back costs one page, not all before it.
func TestOnlyOnePageIsDecoded(t *testing.T) {
	data := parquetBytes(t, texts(2000), 2000, parquet.PageBufferSize(1<<12))
	d, err := newDisk(write(t, t.TempDir(), "a.parquet", data))
	if err != nil {
		t.Fatal(err)
	}
	pages := &pageCache{budget: pageCacheBytes}
	p, err := openParquet(d, textColumn, pages)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := p.text(ctx, 1999); err != nil {
		t.Fatal(err)
	}
	if n := p.tables[0].table.Pages(); n < 10 || len(pages.entries) != 1 {
		t.Errorf("%d pages in the table, %d decoded", n, len(pages.entries))
	}
}

func TestPageCacheKeepsItsBudget(t *testing.T) {
	c := &pageCache{budget: 1000}
	page := func(i int64) []own.Cell {
		cells, err := c.get(pageKey{page: int(i)}, func() ([]own.Cell, error) {
			return []own.Cell{{Text: strings.Repeat("x", 400)}}, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return cells
	}
	first := page(0)
	page(1)
	if &page(0)[0] != &first[0] {
		t.Error("page 0 was loaded again")
	}
	page(2) // drops page 1, used longest ago
	if &page(0)[0] != &first[0] || len(c.entries) != 2 || c.bytes > c.budget {
		t.Errorf("%d pages with %d bytes are kept", len(c.entries), c.bytes)
	}
	if _, err := c.get(pageKey{page: 9}, func() ([]own.Cell, error) { return nil, os.ErrPermission }); err == nil {
		t.Error("a failed load gave no error")
	}
}
