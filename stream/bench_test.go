package stream

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/parquet-go/parquet-go"

	"lockstep/internal/testdata"
	"lockstep/stream/remote/fakehub"
	"lockstep/stream/tokenizer"
)

// BenchmarkText reads rows that lie side by side, as a segment's rows do.
func BenchmarkText(b *testing.B) {
	for name, path := range map[string]string{
		"builtin": "builtin",
		"parquet": testdata.Path(b, "fineweb_layout", "fineweb_200_zstd.parquet"),
		"jsonl":   testdata.Path(b, "fineweb_layout", "fineweb_200.jsonl"),
	} {
		b.Run(name, func(b *testing.B) {
			src := open(b, path)
			n := int64(0)
			for i := 0; b.Loop(); i++ {
				row, err := src.Text(ctx, uint64(i)%src.Rows())
				if err != nil {
					b.Fatal(err)
				}
				n += int64(len(row.Text))
			}
			b.SetBytes(n / int64(b.N))
		})
	}
}

// BenchmarkColdText opens the source and reads one row.
func BenchmarkColdText(b *testing.B) {
	path := testdata.Path(b, "fineweb")
	for b.Loop() {
		src := open(b, path)
		if _, err := src.Text(ctx, 1234); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkLoad packs what a miner of the demonstration owes in an epoch.
func BenchmarkLoad(b *testing.B) {
	src := open(b, "builtin")
	for _, tok := range []tokenizer.Tokenizer{gpt2(b), tokenizer.Nano()} {
		b.Run(tok.Name(), func(b *testing.B) {
			for b.Loop() {
				if _, err := Load(ctx, src, tok, []Segment{{First: 500, Rows: 100}}, 256, 16); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// fineWebHub serves files of the shape of FineWeb's sample, made of its real
// documents: row groups of 1,000, SNAPPY, nine columns with statistics.
func fineWebHub(tb testing.TB, files, groups int) *fakehub.Hub {
	tb.Helper()
	docs := all(tb, open(tb, testdata.Path(tb, "fineweb")))
	h := fakehub.New(tb)
	type row struct {
		Text     string  `parquet:"text"`
		ID       string  `parquet:"id"`
		Dump     string  `parquet:"dump"`
		URL      string  `parquet:"url"`
		Date     string  `parquet:"date"`
		FilePath string  `parquet:"file_path"`
		Language string  `parquet:"language"`
		Score    float64 `parquet:"language_score"`
		Tokens   int64   `parquet:"token_count"`
	}
	var buf bytes.Buffer
	w := parquet.NewGenericWriter[row](&buf, parquet.Compression(&parquet.Snappy), parquet.DataPageStatistics(true))
	for g := range groups {
		for i := range 1000 {
			d := docs[(g*1000+i*7)%len(docs)]
			id := fmt.Sprintf("<urn:uuid:%08x-0000-4000-8000-%012x>", g, i)
			_, err := w.Write([]row{{
				d.Text, id, "CC-MAIN-2013-20", "http://example.org/" + id, "2013-05-18T10:42:00Z",
				"s3://commoncrawl/crawl-data/CC-MAIN-2013-20/segments/1368696381249/warc/" + id, "en", 0.9, int64(len(d.Text) / 4),
			}})
			if err != nil {
				tb.Fatal(err)
			}
		}
		if err := w.Flush(); err != nil {
			tb.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	for i := range files {
		h.Files[fmt.Sprintf("sample/000_%05d.parquet", i)] = buf.Bytes()
	}
	return h
}

// BenchmarkFeed reads and tokenizes segments of 100 rows, each elsewhere in the
// source: from the Hub over loopback, and from the cache on disk. 20 times what
// two cores train is the aim; docs/log.md has both rates.
func BenchmarkFeed(b *testing.B) {
	h := fineWebHub(b, 4, 12)
	tok := gpt2(b)
	warm := b.TempDir()
	for _, name := range []string{"hub", "cache"} {
		b.Run(name, func(b *testing.B) {
			r := reach(h)
			if name == "cache" {
				r.CacheDir = warm
				src := openWith(b, r, hubName)
				if err := Prefill(ctx, src, []Segment{{Rows: src.Rows()}}, func(Fetched) {}); err != nil {
					b.Fatal(err)
				}
			}
			tokens, bytes := 0, int64(0)
			h.Log()
			for i := 0; b.Loop(); i++ {
				r.Memory = 1 << 20 // no chunk is left in memory from the round before
				src := openWith(b, r, hubName)
				first := uint64(i) * 7919 * 100 % (src.Rows() - 100)
				for row := first; row < first+100; row++ {
					got, err := src.Text(ctx, row)
					if err != nil {
						b.Fatal(err)
					}
					tokens += len(tok.Encode(got.Text)) + 1
					bytes += int64(len(got.Text))
				}
				src.Close()
			}
			b.SetBytes(bytes / int64(b.N))
			b.ReportMetric(float64(tokens)/b.Elapsed().Seconds(), "tokens/s")
			requests, sent := traffic(h)
			b.ReportMetric(float64(requests)/float64(b.N), "requests/op")
			b.ReportMetric(float64(sent)/float64(b.N), "fetched-B/op")
		})
	}
}
