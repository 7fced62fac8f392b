package stream

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"lockstep/internal/fault"
	"lockstep/internal/merkle"
	"lockstep/internal/testdata"
	"lockstep/stream/tokenizer"
)

// memory is a source of given texts that counts what is asked of it.
type memory struct {
	texts []string
	reads []uint64
}

func (m *memory) Name() string            { return "memory" }
func (m *memory) Identity() merkle.Digest { return merkle.Digest{} }
func (m *memory) Rows() uint64            { return uint64(len(m.texts)) }
func (m *memory) Close() error            { return nil }
func (m *memory) Text(ctx context.Context, row uint64) (Row, error) {
	if err := checkRow(ctx, m, row); err != nil {
		return Row{}, err
	}
	m.reads = append(m.reads, row)
	return newRow(m.texts[row], false, "memory", row), nil
}

// packSlowly is the rule of packing, written down as plainly as it can be: all
// tokens of a segment, then windows by their indexes.
func packSlowly(m *memory, tok tokenizer.Tokenizer, segments []Segment, seqLen, sequences int) (inputs, targets []int32) {
	for _, s := range segments {
		var tokens []int32
		for row := s.First; row < s.First+s.Rows; row++ {
			tokens = append(tokens, tok.Encode(m.texts[row])...)
			tokens = append(tokens, tok.EndOfText())
		}
		for w := 0; (w+1)*seqLen+1 <= len(tokens); w++ {
			if len(inputs) == seqLen*sequences {
				return inputs, targets
			}
			inputs = append(inputs, tokens[w*seqLen:(w+1)*seqLen]...)
			targets = append(targets, tokens[w*seqLen+1:(w+1)*seqLen+1]...)
		}
	}
	return inputs, targets
}

func TestLoadFollowsTheRule(t *testing.T) {
	tok := tokenizer.Nano()
	rapid.Check(t, func(rt *rapid.T) {
		m := &memory{texts: rapid.SliceOfN(rapid.StringN(0, 40, 80), 1, 30).Draw(rt, "texts")}
		rows := rapid.Uint64Range(1, m.Rows()).Draw(rt, "rows")
		var segments []Segment
		for range rapid.IntRange(1, 4).Draw(rt, "segments") {
			segments = append(segments, Segment{First: rapid.Uint64Range(0, m.Rows()-rows).Draw(rt, "first"), Rows: rows})
		}
		seqLen := rapid.IntRange(1, 20).Draw(rt, "T")
		sequences := rapid.IntRange(1, 12).Draw(rt, "B")
		inputs, targets := packSlowly(m, tok, segments, seqLen, sequences)
		work, err := Load(ctx, m, tok, segments, seqLen, sequences)
		if len(inputs) < seqLen*sequences {
			if fault.KindOf(err) != fault.Config || !strings.Contains(err.Error(), fmt.Sprintf("hold %d sequences", len(inputs)/seqLen)) {
				rt.Fatalf("%d of %d sequences are there: %v", len(inputs)/seqLen, sequences, err)
			}
			return
		}
		if err != nil {
			rt.Fatal(err)
		}
		if !slices.Equal(work.Inputs, inputs) || !slices.Equal(work.Targets, targets) {
			rt.Fatalf("inputs %d, targets %d; want %d, %d", work.Inputs, work.Targets, inputs, targets)
		}
		for i, ref := range work.Rows {
			if ref.Row != m.reads[i] || ref.Digest != newRow(m.texts[ref.Row], false, "", 0).Digest {
				rt.Fatalf("row reference %d is %+v", i, ref)
			}
		}
	})
}

// TestLoadReadsNoMoreThanNeeded: rows behind the last window are not touched.
func TestLoadReadsNoMoreThanNeeded(t *testing.T) {
	m := &memory{texts: slices.Repeat([]string{"aaaaaaaaa"}, 10)} // ten tokens a row, with the end
	work, err := Load(ctx, m, byteTokens{}, []Segment{{First: 0, Rows: 4}, {First: 5, Rows: 5}}, 13, 4)
	if err != nil {
		t.Fatal(err)
	}
	// 40 tokens hold three windows of 13 and their last target; the fourth
	// window needs two rows of the next segment.
	if !slices.Equal(m.reads, []uint64{0, 1, 2, 3, 5, 6}) || len(work.Rows) != 6 || work.Tokens() != 52 {
		t.Errorf("rows %d were read, %d tokens", m.reads, work.Tokens())
	}
	inputs, targets := work.Slice(3, 4)
	if inputs[9] != 256 || targets[8] != 256 || inputs[10] != 'a' {
		t.Errorf("the second segment begins with %d -> %d", inputs, targets)
	}
}

// byteTokens is a tokenizer that a reader can follow: a byte is its number.
type byteTokens struct{ tokenizer.Tokenizer }

func (byteTokens) EndOfText() int32 { return 256 }
func (byteTokens) Encode(text string) []int32 {
	var ids []int32
	for i := range len(text) {
		ids = append(ids, int32(text[i]))
	}
	return ids
}

// TestDigestsOfWork: each step's digest changes with its own input.
func TestDigestsOfWork(t *testing.T) {
	load := func(texts []string, tok tokenizer.Tokenizer, seqLen, sequences int) *Work {
		w, err := Load(ctx, &memory{texts: texts}, tok, []Segment{{Rows: uint64(len(texts))}}, seqLen, sequences)
		if err != nil {
			t.Fatal(err)
		}
		return w
	}
	texts := []string{"one two three", "four five six", "seven eight nine"}
	base := load(texts, tokenizer.Nano(), 4, 3)
	if again := load(texts, tokenizer.Nano(), 4, 3); again.RowsDigest != base.RowsDigest || again.TokensDigest != base.TokensDigest || again.EncodingDigest != base.EncodingDigest {
		t.Error("the same work has other digests")
	}
	other := load([]string{"one two three", "four five six!", texts[2]}, tokenizer.Nano(), 4, 3)
	if other.RowsDigest == base.RowsDigest || other.EncodingDigest == base.EncodingDigest {
		t.Error("another text has the same digests")
	}
	encoded := load(texts, byteTokens{}, 4, 3)
	if encoded.EncodingDigest == base.EncodingDigest || encoded.TokensDigest == base.TokensDigest {
		t.Error("another tokenizer has the same digests")
	}
	shaped := load(texts, tokenizer.Nano(), 3, 4)
	if shaped.TokensDigest == base.TokensDigest {
		t.Error("another shape has the same digest")
	}
	moved := &Work{SeqLen: base.SeqLen, Sequences: base.Sequences, Inputs: base.Targets, Targets: base.Inputs}
	if tokensDigest(moved) == base.TokensDigest {
		t.Error("inputs and targets can change places")
	}
}

func TestLoadRefusesNonsenseAndPassesErrorsOn(t *testing.T) {
	m := &memory{texts: []string{"text"}}
	for _, c := range [][2]int{{0, 1}, {1, 0}, {-1, 1}} {
		if _, err := Load(ctx, m, byteTokens{}, []Segment{{Rows: 1}}, c[0], c[1]); fault.KindOf(err) != fault.Config {
			t.Errorf("%v: %v", c, err)
		}
	}
	if _, err := Load(ctx, m, byteTokens{}, []Segment{{First: 1, Rows: 1}}, 1, 1); fault.KindOf(err) != fault.Config {
		t.Errorf("a segment beyond the source: %v", err)
	}
}

// TestGoldenWork pins the first four steps of the chain on the built-in corpus.
// Given the texts of the segment, the digests of steps 2 to 4 were computed a
// second time by Python's hashlib over FORMATS.md, with tokens from Hugging
// Face's tokenizers 0.23.3.
func TestGoldenWork(t *testing.T) {
	const segmentsGolden = "36fad91c8104c0f1e1039b6bf70151c045c8bf3fc1828953a486a3ed8965ae00"
	for _, c := range []struct {
		tok                              tokenizer.Tokenizer
		seqLen, sequences                int
		segments, rows, encoding, tokens string
	}{
		{gpt2(t), 256, 8, segmentsGolden,
			"0b963a56ccd3f4cebd89c2b87baa421b907cfc96b3a22995259b82388ea29209",
			"18f91f7bd1708573c05e7c16ab74d29f88cd87293dcef381367834c385ef72c3",
			"76d247f28d2066ea29628022611aa87e55ca54f9fcec332f0c7a810558928ffd"},
		{tokenizer.Nano(), 32, 4, segmentsGolden,
			"5998339bf7868c32ff4fbe3840da76ed94ed1828b9fecee44661e4d6d6140b0c",
			"6a41ebc770254b95dbc560005d32ffe73234f109e3766c2754b55cd9eda43019",
			"f7f97fe34b92539cbe4e04a43b4faa94f0ed9c744af2a82ba8b27e0967a0ccbf"},
	} {
		src := open(t, "builtin")
		a := Assignment{Seed: 38, Slots: 3, SegmentsPerMiner: 1, SegmentRows: 100, Rows: src.Rows()}
		segments, err := a.Segments(2, 1)
		if err != nil {
			t.Fatal(err)
		}
		work, err := Load(ctx, src, c.tok, segments, c.seqLen, c.sequences)
		if err != nil {
			t.Fatal(err)
		}
		for _, step := range []struct{ name, got, want string }{
			{"1 segment", SegmentsDigest(segments).String(), c.segments},
			{"2 rows", work.RowsDigest.String(), c.rows},
			{"3 tokens", work.EncodingDigest.String(), c.encoding},
			{"4 batch", work.TokensDigest.String(), c.tokens},
		} {
			if step.got != step.want {
				t.Errorf("%s: %s %s, want %s", c.tok.Name(), step.name, step.got, step.want)
			}
		}
	}
}

// TestBuiltinSegmentHoldsEnough: a segment of 100 rows is enough for 64
// sequences of 256 tokens.
func TestBuiltinSegmentHoldsEnough(t *testing.T) {
	src := open(t, "builtin")
	for _, first := range []uint64{0, 524_200, 1_048_400} {
		if _, err := Load(ctx, src, gpt2(t), []Segment{{First: first, Rows: 100}}, 256, 64); err != nil {
			t.Error(err)
		}
	}
}

func TestLoadFineWeb(t *testing.T) {
	src := open(t, testdata.Path(t, "fineweb"))
	a := Assignment{Seed: 1, Slots: 3, SegmentsPerMiner: 1, SegmentRows: 100, Rows: src.Rows()}
	segments, err := a.Segments(1, 2)
	if err != nil {
		t.Fatal(err)
	}
	work, err := Load(ctx, src, gpt2(t), segments, 1024, 4)
	if err != nil {
		t.Fatal(err)
	}
	if work.Sequences != 4 || len(work.Inputs) != 4096 || len(work.Rows) >= 100 {
		t.Errorf("%d sequences from %d rows", work.Sequences, len(work.Rows))
	}
}
