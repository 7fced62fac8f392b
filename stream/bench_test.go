package stream

import (
	"testing"

	"lockstep/internal/testdata"
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
