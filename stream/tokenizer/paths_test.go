package tokenizer

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"

	"lockstep/stream/corpus"
)

// library encodes with tiktoken-go alone, however long it takes.
func (g *gpt2) library(text string) []int32 {
	var ids []int32
	for _, id := range g.tiktoken.EncodeOrdinary(text) {
		ids = append(ids, int32(id))
	}
	return ids
}

func samePaths(t testing.TB, g *gpt2, text string) {
	t.Helper()
	if own, library := g.bpe.Encode(text), g.library(text); !slices.Equal(own, library) {
		t.Fatalf("%q: own path %d, tiktoken-go %d", text, own, library)
	}
}

// TestPathsAgree draws texts from characters of every class, so that all the
// joints of the pattern occur.
func TestPathsAgree(t *testing.T) {
	g := mustGPT2(t)
	alphabet := []rune(" \n\t\r'sdmtlvre019abcXYZ.,!?\u00a0\u0085\u2019\u200béñ日本𝒜😀٣Ⅷ\u3000\u2028\x00\x7f\x1c\ufffd")
	mixed := rapid.StringOf(rapid.SampledFrom(alphabet))
	words := rapid.Custom(func(t *rapid.T) string {
		return strings.Join(rapid.SliceOf(rapid.SampledFrom([]string{
			"the", " the", "  ", "\n\n", "'ll", "'s", " '", "aaaa", "0000", "----", "====", " strawberry", "ing", "é",
		})).Draw(t, "words"), "")
	})
	bytes := rapid.Custom(func(t *rapid.T) string { return string(rapid.SliceOf(rapid.Byte()).Draw(t, "bytes")) })
	rapid.Check(t, func(rt *rapid.T) {
		samePaths(t, g, rapid.OneOf(mixed, words, bytes, rapid.String()).Draw(rt, "text"))
	})
}

// TestPathsAgreeOnEveryCharacter puts each assigned and many unassigned code
// points between a letter, a digit and a dot.
func TestPathsAgreeOnEveryCharacter(t *testing.T) {
	g := mustGPT2(t)
	var text strings.Builder
	step := rune(1)
	for r := rune(0); r <= utf8.MaxRune; r += step {
		if r > 0x30000 {
			step = 0x3D // beyond the planes in use, samples
		}
		if !utf8.ValidRune(r) {
			continue
		}
		text.WriteString("a" + string(r) + "1" + string(r) + ".")
		if text.Len() > 1<<14 {
			samePaths(t, g, text.String())
			text.Reset()
		}
		if testing.Short() {
			step = 0x3D
		}
	}
	samePaths(t, g, text.String())
}

// TestLongPieceIsFast feeds what takes seconds in a quadratic merge. The digests,
// of the ids as u32 in little-endian order, were made by the Rust library
// tokenizers from the published vocab.json and merges.txt.
func TestLongPieceIsFast(t *testing.T) {
	g := mustGPT2(t)
	for name, tt := range map[string]struct{ text, digest string }{
		"one letter":   {strings.Repeat("a", 64000), "4c8f52e6a938c493caf460b7bfded4826a9cc3dea46e4bda47f1243a07c6d93a"},
		"many letters": {strings.Repeat("antidisestablishmentarianism", 64000/28), "e3145c695850f484a6d373dda6cd30511d73ef844ec11cfb0ffe1360cca7110a"},
		"digits":       {strings.Repeat("0123456789", 6400), "167b59661be338bac86a087c5d12b915749a3d99e1d5d6c6b413fd21075c709d"},
		"spaces":       {strings.Repeat(" ", 64000), "7264c3194aaf1a1dbf515f1b465cdd02375a71e729c483e7b63fd059fef38b66"},
		"signs":        {strings.Repeat("=-", 32000), "c3d7a924015057a7bf2d1dd726a7f3c5e06f4ab1cf90ab5c7cb9ed379904b575"},
	} {
		begin := time.Now()
		ids := g.Encode(tt.text)
		if took := time.Since(begin); took > time.Second {
			t.Errorf("%s: 64,000 bytes took %v", name, took)
		}
		var raw []byte
		for _, id := range ids {
			raw = binary.LittleEndian.AppendUint32(raw, uint32(id))
		}
		if sum := sha256.Sum256(raw); hex.EncodeToString(sum[:]) != tt.digest {
			t.Errorf("%s: other ids, %d of them", name, len(ids))
		}
		if back, err := g.Decode(ids); err != nil || string(back) != tt.text {
			t.Errorf("%s: does not come back (%v)", name, err)
		}
	}
}

// TestPathsAgreeAroundTheSwitch lets pieces grow past longPiece.
func TestPathsAgreeAroundTheSwitch(t *testing.T) {
	g := mustGPT2(t)
	for _, unit := range []string{"a", "ab", "x1", " ", "\n", "é", "==", "abcdefg"} {
		for n := longPiece - 4; n <= longPiece+4; n++ {
			text := strings.Repeat(unit, n)[:n]
			if !utf8.ValidString(text) {
				continue
			}
			text = "start " + text + " end"
			if got := g.Encode(text); !slices.Equal(got, g.library(text)) {
				t.Errorf("%d bytes of %q differ", n, unit)
			}
		}
	}
}

// TestLongRowsAreFastToo: a row of ordinary words above longRow.
func TestLongRowsAreFastToo(t *testing.T) {
	g := mustGPT2(t)
	unit := corpus.Text(1) + "\n"
	one := g.Encode(unit)
	n := longRow/len(unit) + 1
	got := g.Encode(strings.Repeat(unit, n))
	if !slices.Equal(got, slices.Repeat(one, n)) {
		t.Errorf("%d tokens of %d repeated rows, want %d", len(got), n, n*len(one))
	}
}

// TestWrongMergeOrderIsSeen gives the merger a wrong order of ranks and expects
// other tokens: the comparison above can fail.
func TestWrongMergeOrderIsSeen(t *testing.T) {
	g := mustGPT2(t)
	wrong := make(ranks, len(g.ranks))
	for token, rank := range g.ranks {
		wrong[token] = len(g.ranks) - 1 - rank
	}
	m := merger{ranks: wrong, longest: g.longest}
	text := "indistinguishable"
	var spelt []string
	for _, id := range m.parts(nil, text, noRank) {
		spelt = append(spelt, g.tokens[len(g.ranks)-1-int(id)])
	}
	var want []string
	for _, id := range g.library(text) {
		want = append(want, g.tokens[id])
	}
	if slices.Equal(spelt, want) {
		t.Errorf("reversed ranks also give %q", spelt)
	}
}

func FuzzPaths(f *testing.F) {
	g := mustGPT2(f)
	for _, v := range vectors {
		f.Add(v.text)
	}
	f.Add("\xff\xc0a\x80 '\xed\xa0\x80")
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 1<<12 {
			return // the library is quadratic
		}
		samePaths(t, g, text)
		if back, err := g.Decode(g.Encode(text)); err != nil || utf8.ValidString(text) && string(back) != text {
			t.Fatalf("%q came back as %q (%v)", text, back, err)
		}
	})
}

func BenchmarkEncode(b *testing.B) {
	g := mustGPT2(b)
	var text strings.Builder
	for row := range uint64(100) {
		text.WriteString(corpus.Text(row))
	}
	rows := text.String()
	for _, path := range []struct {
		name   string
		encode func(string) []int32
	}{{"tiktoken", g.library}, {"own", g.bpe.Encode}, {"nano", Nano().Encode}} {
		b.Run(path.name, func(b *testing.B) {
			b.SetBytes(int64(len(rows)))
			for b.Loop() {
				path.encode(rows)
			}
		})
	}
	b.Run("long", func(b *testing.B) {
		long := strings.Repeat("a", 64000)
		b.SetBytes(int64(len(long)))
		for b.Loop() {
			g.Encode(long)
		}
	})
}
