package stream

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"

	"lockstep/stream/tokenizer"
)

var ctx = context.Background()

// required and optional are the two shapes of a text column.
type required struct {
	ID   int64  `parquet:"id"`
	Text string `parquet:"text"`
}
type optional struct {
	ID   int64   `parquet:"id"`
	Text *string `parquet:"text"`
}

// texts makes n rows of different lengths; some are empty.
func texts(n int) []string {
	out := make([]string, n)
	for i := range out {
		if i%7 != 6 {
			out[i] = strings.Repeat(fmt.Sprintf("row %d of the test. ", i), 1+i%5)
		}
	}
	return out
}

// parquetBytes writes rows of type required with parquet-go, a row group for
// every perGroup rows.
func parquetBytes(t testing.TB, rows []string, perGroup int, options ...parquet.WriterOption) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := parquet.NewGenericWriter[required](&buf, options...)
	for i, text := range rows {
		if i > 0 && i%perGroup == 0 {
			if err := w.Flush(); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := w.Write([]required{{int64(i), text}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// write puts a file into a folder and returns its path.
func write(t testing.TB, folder, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(folder, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

func open(t testing.TB, name string) Source {
	t.Helper()
	src, err := Open(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { src.Close() })
	return src
}

// all reads every row.
func all(t testing.TB, src Source) []Row {
	t.Helper()
	var rows []Row
	for i := range src.Rows() {
		row, err := src.Text(ctx, i)
		if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, row)
	}
	return rows
}

func gpt2(t testing.TB) tokenizer.Tokenizer {
	t.Helper()
	tok, err := tokenizer.GPT2()
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

// noLeak fails if goroutines are left behind when the test ends.
func noLeak(t *testing.T) {
	t.Helper()
	before := runtime.NumGoroutine()
	t.Cleanup(func() {
		for range 100 {
			if runtime.NumGoroutine() <= before {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		t.Errorf("%d goroutines before, %d after", before, runtime.NumGoroutine())
	})
}
