package parquet

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// TestThriftLimits: sizes in the metadata are refused before anything of that
// size is allocated.
func TestThriftLimits(t *testing.T) {
	for name, data := range map[string][]byte{
		"list of 2^31 structures": {0x19, 0xFC, 0xFF, 0xFF, 0xFF, 0xFF, 0x07},
		"string of 2^31 bytes":    {0x18, 0xFF, 0xFF, 0xFF, 0xFF, 0x07},
		"number of 11 bytes":      {0x16, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01},
		"unknown type":            {0x1E, 0},
		"nested 100 deep":         bytes.Repeat([]byte{0x1C}, 100),
		"lists in lists":          append(bytes.Repeat([]byte{0x19}, 100), 0),
		"empty":                   {},
		"no end":                  {0x15, 0x02},
	} {
		if _, err := thriftStruct(data); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	good := []byte{0x15, 0x02, 0x11, 0x19, 0x25, 0x02, 0x04, 0x1C, 0x15, 0x00, 0x00, 0x17, 0, 0, 0, 0, 0, 0, 0, 0, 0x00}
	if n, err := thriftStruct(append(good, 1, 2, 3)); err != nil || n != len(good) {
		t.Errorf("a sound structure of %d bytes: %d, %v", len(good), n, err)
	}
}

// footer is a sound one with a change.
func footer(t testing.TB, change func(*format.FileMetaData)) []byte {
	t.Helper()
	m := &format.FileMetaData{
		Version: 1, NumRows: 8, CreatedBy: "test",
		Schema: thrift.Slice[format.SchemaElement]{
			{Name: "schema", NumChildren: thrift.New(int32(3))},
			{Name: "meta", NumChildren: thrift.New(int32(2))},
			{Name: "a", Type: thrift.New(format.Int64)},
			{Name: "text", Type: thrift.New(format.ByteArray)}, // not the one: it is below meta
			{Name: "text", Type: thrift.New(format.ByteArray), RepetitionType: thrift.New(format.Optional)},
			{Name: "id", Type: thrift.New(format.ByteArray)},
		},
	}
	for i := range int64(2) {
		g := format.RowGroup{NumRows: 4}
		for j := range int64(4) {
			g.Columns = append(g.Columns, format.ColumnChunk{MetaData: format.ColumnMetaData{
				Type: format.ByteArray, Codec: format.Snappy, NumValues: 4, DataPageOffset: 4 + 100*i + 10*j, TotalCompressedSize: 10,
			}})
		}
		m.RowGroups = append(m.RowGroups, g)
	}
	if change != nil {
		change(m)
	}
	data, err := thrift.Marshal(new(thrift.CompactProtocol), m)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestRowsOf(t *testing.T) {
	data := footer(t, func(m *format.FileMetaData) { m.NumRows = 1_048_576 })
	enough := 0
	for n := range data {
		rows, err := RowsOf(data[:n])
		switch {
		case err == nil && rows != 1_048_576:
			t.Fatalf("%d bytes give %d rows", n, rows)
		case err == nil:
			enough = n
		case enough > 0 || !errors.Is(err, io.ErrUnexpectedEOF):
			t.Fatalf("%d bytes: %v", n, err)
		}
	}
	if enough == 0 || enough > len(data) {
		t.Error("never enough")
	}
	if _, err := RowsOf(footer(t, func(m *format.FileMetaData) { m.NumRows = -1 })); err == nil {
		t.Error("-1 rows")
	}
	for name, bad := range map[string][]byte{
		"no rows":          {0x15, 0x02, 0x00},
		"another type":     {0x35, 0x02, 0x00},
		"a later field":    {0x46, 0x02, 0x00},
		"field 0 for ever": {0x06, 0x00, 0x02},
	} {
		if rows, err := RowsOf(bad); err == nil {
			t.Errorf("%s: %d", name, rows)
		}
	}
}

func TestParseFooter(t *testing.T) {
	const size = 1000
	c, err := ParseFooter(footer(t, nil), size, "text")
	if err != nil || !c.Optional || len(c.Groups) != 2 || c.Groups[1] != (Group{Rows: 4, Start: 124, End: 134, Codec: format.Snappy}) || c.Rows() != 8 {
		t.Fatalf("%+v, %v", c, err)
	}
	for name, change := range map[string]func(*format.FileMetaData){
		"no schema":       func(m *format.FileMetaData) { m.Schema = nil },
		"no such column":  func(m *format.FileMetaData) { m.Schema[4].Name = "body" },
		"two of them":     func(m *format.FileMetaData) { m.Schema[5].Name = "text" },
		"repeated":        func(m *format.FileMetaData) { m.Schema[4].RepetitionType = thrift.New(format.Repeated) },
		"a number":        func(m *format.FileMetaData) { m.Schema[4].Type = thrift.New(format.Int64) },
		"no type":         func(m *format.FileMetaData) { m.Schema[4].Type = thrift.Null[format.Type]{} },
		"a group":         func(m *format.FileMetaData) { m.Schema[4].NumChildren = thrift.New(int32(1)) },
		"too few columns": func(m *format.FileMetaData) { m.RowGroups[1].Columns = m.RowGroups[1].Columns[:3] },
		"other rows":      func(m *format.FileMetaData) { m.NumRows = 9 },
		"negative rows": func(m *format.FileMetaData) {
			m.RowGroups[0].NumRows = -4
			m.RowGroups[0].Columns[2].MetaData.NumValues = -4
		},
		"rows that wrap": func(m *format.FileMetaData) {
			m.RowGroups[0].NumRows = 1 << 62
			m.RowGroups[0].Columns[2].MetaData.NumValues = 1 << 62
		},
		"children for ever": func(m *format.FileMetaData) { m.Schema[1].NumChildren = thrift.New(int32(1 << 30)) },
		"encrypted":         func(m *format.FileMetaData) { m.EncryptionAlgorithm.Value = &format.AesGcmV1{} },
	} {
		if c, err := ParseFooter(footer(t, change), size, "text"); err == nil {
			t.Errorf("%s: %+v", name, c)
		}
	}
	for n := range footer(t, nil) {
		if _, err := ParseFooter(footer(t, nil)[:n], size, "text"); err == nil {
			t.Errorf("cut at %d", n)
		}
	}
	if _, err := ParseFooter(append(footer(t, nil), 0), size, "text"); err == nil {
		t.Error("a byte more")
	}
}
