package parquet

import (
	"bytes"
	"io"
	"runtime"
	"testing"

	reference "github.com/parquet-go/parquet-go"
)

// memory is a whole file.
type memory []byte

func (m memory) Bytes(offset, n int64) ([]byte, error) {
	if offset < 0 || n < 0 || offset > int64(len(m))-n {
		return nil, io.ErrUnexpectedEOF
	}
	return m[offset : offset+n], nil
}

// readAll reads every row, and goes on behind damage.
func readAll(data []byte) (texts []string, first error) {
	note := func(err error) {
		if first == nil {
			first = err
		}
	}
	size := int64(len(data))
	length, err := FooterLength(data[max(size-TailSize, 0):], size)
	if err != nil {
		return nil, err
	}
	footer := data[size-TailSize-length : size-TailSize]
	rows, headErr := RowsOf(footer)
	c, err := ParseFooter(footer, size, "text")
	if err != nil {
		return nil, err
	}
	if headErr != nil || rows != c.Rows() {
		panic("head and footer count different rows")
	}
	for g := range c.Groups {
		t, err := c.Walk(memory(data), g)
		note(err)
		for p := 0; err == nil && p < t.Pages(); p++ {
			cells, err := c.Read(memory(data), g, t, p)
			note(err)
			for _, cell := range cells {
				texts = append(texts, cell.Text)
			}
		}
	}
	return texts, first
}

type row struct {
	Text *string `parquet:"text"`
}

// seeds are small sound files of every encoding, codec and page version.
func seeds(t testing.TB) (files [][]byte) {
	long := string(bytes.Repeat([]byte("text "), 50))
	a, b, c := "a text", "a text that goes on", long
	for _, options := range [][]reference.WriterOption{
		{reference.Compression(&reference.Uncompressed), reference.DataPageVersion(1)},
		{reference.Compression(&reference.Snappy), reference.DataPageVersion(2)},
		{reference.Compression(&reference.Zstd), reference.DefaultEncodingFor(reference.ByteArray, &reference.RLEDictionary)},
		{reference.Compression(&reference.Uncompressed), reference.DefaultEncodingFor(reference.ByteArray, &reference.DeltaByteArray)},
		{reference.Compression(&reference.Snappy), reference.DefaultEncodingFor(reference.ByteArray, &reference.DeltaLengthByteArray), reference.DataPageVersion(1)},
	} {
		var buf bytes.Buffer
		w := reference.NewGenericWriter[row](&buf, options...)
		if _, err := w.Write([]row{{&a}, {&b}, {nil}, {&c}, {&a}}); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		files = append(files, buf.Bytes())
	}
	return files
}

func TestSeedsAreSound(t *testing.T) {
	for i, data := range seeds(t) {
		texts, err := readAll(data)
		if err != nil || len(texts) != 5 || texts[1] != "a text that goes on" {
			t.Errorf("file %d: %q, %v", i, texts, err)
		}
	}
}

// FuzzFile reads mutated files: rows or an error, never a panic, and never
// memory out of proportion.
func FuzzFile(f *testing.F) {
	for _, data := range seeds(f) {
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 1<<16 {
			return
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, _ = readAll(data)
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > 2<<30 {
			t.Errorf("%d bytes of file took %d MiB", len(data), n>>20)
		}
	})
}

// FuzzHead: the rows of a footer's head, which must not depend on how much more
// of it is there.
func FuzzHead(f *testing.F) {
	f.Add(footer(f, nil))
	for _, data := range seeds(f) {
		n := len(data) - 100
		f.Add(data[max(n, 0):])
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		rows, err := RowsOf(data)
		for n := range data {
			short, shortErr := RowsOf(data[:n])
			if shortErr == nil && (err != nil || short != rows) {
				t.Fatalf("%d of %d bytes give %d rows, all give %d, %v", n, len(data), short, rows, err)
			}
		}
	})
}

// FuzzValues feeds bytes to every decoder of values.
func FuzzValues(f *testing.F) {
	f.Add([]byte{0x80, 1, 4, 5, 6, 0, 3, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, 5)
	f.Add([]byte{3, 2<<1 | 1, 0x88, 0xC6, 0xFA, 0x88, 0xC6, 0xFA}, 16)
	f.Fuzz(func(t *testing.T, data []byte, n int) {
		if n < 0 || n > 1<<16 {
			return
		}
		for _, decode := range []func([]byte, int) ([]string, error){
			plain, deltaLength, deltaStrings,
			func(data []byte, n int) ([]string, error) { return lookUp([]string{"a", "bc", ""}, data, n) },
		} {
			if texts, err := decode(data, n); err == nil && len(texts) != n {
				t.Fatalf("%d texts for %d", len(texts), n)
			}
		}
	})
}
