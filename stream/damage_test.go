package stream

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"

	"lockstep/internal/fault"
	"lockstep/internal/testdata"
)

// readAll opens bytes as a parquet file and reads every row. It reports how
// many rows could be read and the first error.
func readAll(t testing.TB, path string) (rows []Row, err error) {
	t.Helper()
	src, err := Open(ctx, path)
	if err != nil {
		return nil, err
	}
	defer src.Close()
	for i := range min(src.Rows(), 1<<12) {
		row, textErr := src.Text(ctx, i)
		if textErr != nil && err == nil {
			err = textErr
		}
		rows = append(rows, row)
	}
	return rows, err
}

// damagedCopies are small files of every codec, each with several row groups.
func damagedCopies(t testing.TB) map[string][]byte {
	rows := texts(12)
	return map[string][]byte{
		"plain":  parquetBytes(t, rows, 6, parquet.Compression(&parquet.Uncompressed), parquet.DataPageVersion(1)),
		"snappy": parquetBytes(t, rows, 6, parquet.Compression(&parquet.Snappy), parquet.DataPageVersion(2)),
		"zstd": parquetBytes(t, rows, 6, parquet.Compression(&parquet.Zstd),
			parquet.DefaultEncodingFor(parquet.ByteArray, &parquet.RLEDictionary)),
		"delta": parquetBytes(t, rows, 6, parquet.Compression(&parquet.Snappy),
			parquet.DefaultEncodingFor(parquet.ByteArray, &parquet.DeltaByteArray)),
	}
}

// mustBeDamage fails unless err is nil or says Damaged and names the file.
func mustBeDamage(t testing.TB, what string, path string, err error) {
	t.Helper()
	var d *DamageError
	if err == nil || fault.KindOf(err) == fault.Config && strings.Contains(err.Error(), "no rows") {
		return
	}
	if !errors.As(err, &d) || fault.KindOf(err) != fault.Damaged || !strings.Contains(err.Error(), path) || d.Advice == "" {
		t.Errorf("%s: %v", what, err)
	}
}

func TestTruncatedParquet(t *testing.T) {
	noLeak(t)
	for name, data := range damagedCopies(t) {
		path := write(t, t.TempDir(), "cut.parquet", nil)
		for n := 0; n < len(data); n += 1 + len(data)/200 {
			if err := os.WriteFile(path, data[:n], 0o666); err != nil {
				t.Fatal(err)
			}
			_, err := readAll(t, path)
			if err == nil {
				t.Errorf("%s: %d of %d bytes were read without an error", name, n, len(data))
			}
			mustBeDamage(t, name, path, err)
		}
	}
}

// TestFlippedBits flips a bit in every third byte. What is left must be read or
// refused, never anything else, and the checks must catch a good part.
func TestFlippedBits(t *testing.T) {
	noLeak(t)
	for name, data := range damagedCopies(t) {
		path := write(t, t.TempDir(), "flip.parquet", nil)
		refused := 0
		step := 3
		if testing.Short() {
			step = 11
		}
		for i := 0; i < len(data); i += step {
			flipped := bytes.Clone(data)
			flipped[i] ^= 1 << (i % 8)
			if err := os.WriteFile(path, flipped, 0o666); err != nil {
				t.Fatal(err)
			}
			_, err := readAll(t, path)
			if err != nil {
				refused++
			}
			mustBeDamage(t, name, path, err)
		}
		if refused < len(data)/step/20 {
			t.Errorf("%s: only %d of %d flips were noticed", name, refused, len(data))
		}
	}
}

// TestFlippedFineWeb damages real files: the error names row group and row, and
// rows of other pages stay readable.
func TestFlippedFineWeb(t *testing.T) {
	data, err := os.ReadFile(testdata.Path(t, "fineweb_layout", "fineweb_200_zstd.parquet"))
	if err != nil {
		t.Fatal(err)
	}
	path := write(t, t.TempDir(), "flip.parquet", nil)
	named := 0
	for i := 1000; i < len(data); i += len(data) / 40 {
		flipped := bytes.Clone(data)
		flipped[i] ^= 0x10
		if err := os.WriteFile(path, flipped, 0o666); err != nil {
			t.Fatal(err)
		}
		_, err := readAll(t, path)
		mustBeDamage(t, "fineweb", path, err)
		if err != nil && strings.Contains(err.Error(), ": row group ") && strings.Contains(err.Error(), ", row ") {
			named++
		}
	}
	if named == 0 {
		t.Error("no error named a row group and a row")
	}
}

// TestFileChangedInUse: offsets of an index are worthless for another file.
func TestFileChangedInUse(t *testing.T) {
	for name, data := range map[string][]byte{
		"a.parquet": parquetBytes(t, texts(10), 10),
		"a.jsonl":   []byte("{\"text\":\"one\"}\n{\"text\":\"two\"}\n"),
		"a.txt":     []byte("one\n\ntwo\n"),
	} {
		path := write(t, t.TempDir(), name, data)
		src := open(t, path)
		if err := os.Chtimes(path, time.Now(), time.Now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		_, err := src.Text(ctx, 0)
		if fault.KindOf(err) != fault.Damaged || !strings.Contains(err.Error(), "changed") {
			t.Errorf("%s: %v", name, err)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if _, err := src.Text(ctx, 0); !errors.Is(err, os.ErrNotExist) || fault.KindOf(err) == fault.Damaged {
			t.Errorf("%s: removed: %v", name, err)
		}
	}
}
