package tokenizer

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
	"unicode"

	"lockstep/internal/fault"
	"lockstep/internal/testdata"
	"lockstep/stream/corpus"
)

func mustGPT2(t testing.TB) *gpt2 {
	t.Helper()
	tok, err := GPT2()
	if err != nil {
		t.Fatal(err)
	}
	return tok.(*gpt2)
}

// vectors are GPT-2's tokens as Hugging Face's tokenizers 0.23.3 gives them.
var vectors = []struct {
	text string
	ids  []int32
}{
	{"", nil},
	{"The sea, the sea!", []int32{464, 5417, 11, 262, 5417, 0}},
	{"I can't; you'Re, they've 'll", []int32{40, 460, 470, 26, 345, 6, 3041, 11, 484, 1053, 705, 297}},
	{" \n\n  two  spaces ", []int32{220, 628, 220, 734, 220, 9029, 220}},
	{"naïve café — 東京 😀\u0085x", []int32{2616, 38776, 40304, 851, 10545, 251, 109, 12859, 105, 30325, 222, 126, 227, 87}},
	{"1234 ½ Ⅷ ٣", []int32{1065, 2682, 25208, 2343, 227, 100, 18923, 96}},
	{"a\u00a0b\u200bc\u3000d", []int32{64, 1849, 65, 9525, 66, 5099, 222, 67}},
	{"\x00\x7f\ufffd", []int32{188, 221, 4210}},
	{"    def f(x):\n\treturn x\r\n", []int32{220, 220, 220, 825, 277, 7, 87, 2599, 198, 197, 7783, 2124, 201, 198}},
}

func TestVectors(t *testing.T) {
	g := mustGPT2(t)
	for _, v := range vectors {
		if got := g.Encode(v.text); !slices.Equal(got, v.ids) {
			t.Errorf("Encode(%q) = %d, want %d", v.text, got, v.ids)
		}
		if got := g.bpe.Encode(v.text); !slices.Equal(got, v.ids) {
			t.Errorf("own path: Encode(%q) = %d, want %d", v.text, got, v.ids)
		}
	}
}

func TestThirdPartyVectors(t *testing.T) {
	g := mustGPT2(t)
	file, err := os.Open(testdata.Path(t, "tokenizer", "thirdparty_vectors.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	n := 0
	for lines := bufio.NewScanner(file); lines.Scan(); n++ {
		var v struct {
			Source, Text, Special string
			IDs                   []int32
		}
		if err := json.Unmarshal(lines.Bytes(), &v); err != nil {
			t.Fatal(err)
		}
		encode := g.Encode
		if v.Special == "all" {
			encode = g.EncodeWithSpecial
		}
		if got := encode(v.Text); !slices.Equal(got, v.IDs) {
			t.Errorf("%s: %q gives %d, want %d", v.Source, v.Text, got, v.IDs)
		}
		if got, err := g.Decode(v.IDs); err != nil || string(got) != v.Text {
			t.Errorf("%s: %d decode to %q, want %q (%v)", v.Source, v.IDs, got, v.Text, err)
		}
	}
	if n < 100 {
		t.Errorf("only %d vectors", n)
	}
}

// TestFineWebTokenCounts compares with the count that FineWeb publishes for
// every document.
func TestFineWebTokenCounts(t *testing.T) {
	g := mustGPT2(t)
	data, err := os.ReadFile(testdata.Path(t, "fineweb_layout", "fineweb_200.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(data) {
		var doc struct {
			ID, Text   string
			TokenCount int `json:"token_count"`
		}
		if err := json.Unmarshal(line, &doc); err != nil {
			t.Fatal(err)
		}
		if got := len(g.Encode(doc.Text)); got != doc.TokenCount {
			t.Errorf("document %s: %d tokens, want %d", doc.ID, got, doc.TokenCount)
		}
	}
}

// TestCorpusTokensAreGolden covers 256 rows of the corpus. The hashes over
// int32 little-endian ids were computed from our tokenizer.json by Hugging
// Face's tokenizers 0.23.3; the digests pin the vocabularies themselves.
func TestCorpusTokensAreGolden(t *testing.T) {
	for _, c := range []struct {
		tok          Tokenizer
		size         int
		tokens, self string
	}{
		{mustGPT2(t), 50257, "0168be5e5f40110069fa2c1e3c1539467c42d25b66c3ab86495cb9573e5e92c5", "22918dede3761158fd167ff479507a8dcff44c61a713cee4fa78d1e895d00f84"},
		{Nano(), 512, "0646d953f51f37754915e074ecd258f7ae4e1e7ee590a7a6acf6748064d4b391", "9e4ac039a5bebf4ff2de6e0fe41bf45f5ef163479ddb7de7ea12c0c1c1259d6c"},
	} {
		h := sha256.New()
		for i := range uint64(256) {
			text := corpus.Text(i * corpus.Rows / 256)
			ids := c.tok.Encode(text)
			var b []byte
			for _, id := range ids {
				b = binary.LittleEndian.AppendUint32(b, uint32(id))
			}
			h.Write(b)
			if back, err := c.tok.Decode(ids); err != nil || string(back) != text {
				t.Fatalf("%s: row %d does not come back: %v", c.tok.Name(), i, err)
			}
		}
		if got := hex.EncodeToString(h.Sum(nil)); got != c.tokens {
			t.Errorf("%s: tokens of the corpus hash to %s, want %s", c.tok.Name(), got, c.tokens)
		}
		if c.tok.Size() != c.size || c.tok.EndOfText() != int32(c.size-1) {
			t.Errorf("%s: size %d, end of text %d", c.tok.Name(), c.tok.Size(), c.tok.EndOfText())
		}
		if unicode.Version != "15.0.0" {
			t.Skipf("the digest was recorded under Unicode 15.0.0, this toolchain has %s", unicode.Version)
		}
		if got := c.tok.Digest().String(); got != c.self {
			t.Errorf("%s: digest %s, want %s", c.tok.Name(), got, c.self)
		}
	}
}

func TestEveryTokenIsItself(t *testing.T) {
	for _, b := range []*bpe{mustGPT2(t).bpe, Nano().(*bpe)} {
		m := b.merger()
		for id, token := range b.tokens[:b.EndOfText()] {
			if got := m.parts(nil, token, noRank); !slices.Equal(got, []int32{int32(id)}) {
				t.Errorf("%s: token %d %q merges to %d", b.name, id, token, got)
			}
		}
	}
}

func TestDecodeArbitraryIDs(t *testing.T) {
	g := mustGPT2(t)
	ids := []int32{163, 50256, 0, 447, 188} // half characters and the special token
	out, err := g.Decode(ids)
	if err != nil {
		t.Fatal(err)
	}
	if want := g.tokens[163] + EndOfText + "!" + g.tokens[447] + "\x00"; string(out) != want {
		t.Errorf("Decode(%d) = %q, want %q", ids, out, want)
	}
	for _, bad := range []int32{-1, 50257, 1 << 30} {
		_, err := g.Decode([]int32{464, bad})
		var unknown *UnknownTokenError
		if !errors.As(err, &unknown) || unknown.ID != bad || unknown.Index != 1 || fault.KindOf(err) != fault.Damaged {
			t.Errorf("Decode of %d: error %v", bad, err)
		}
	}
}

func TestSpecialTokenOnlyWhenAsked(t *testing.T) {
	for _, tok := range []Tokenizer{mustGPT2(t), Nano()} {
		text := "one<|endoftext|>two<|endoftext|>"
		if slices.Contains(tok.Encode(text), tok.EndOfText()) {
			t.Errorf("%s: Encode gave the special token", tok.Name())
		}
		end := tok.EndOfText()
		want := slices.Concat(tok.Encode("one"), []int32{end}, tok.Encode("two"), []int32{end})
		if got := tok.EncodeWithSpecial(text); !slices.Equal(got, want) {
			t.Errorf("%s: EncodeWithSpecial = %d, want %d", tok.Name(), got, want)
		}
	}
}

func TestConcurrentUse(t *testing.T) {
	g := mustGPT2(t)
	text := corpus.Text(5)
	want := g.Encode(text)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				if !slices.Equal(g.Encode(text), want) {
					t.Error("tokens changed")
				}
			}
		})
	}
	wg.Wait()
}

func TestOtherRanksAreRefused(t *testing.T) {
	if _, err := newGPT2([]byte("IQ== 0\n")); fault.KindOf(err) != fault.SelfTest {
		t.Errorf("other ranks: %v", err)
	}
	for name, data := range map[string]string{
		"no rank":        "IQ==\n",
		"no base64":      "!! 0\n",
		"rank left out":  "IQ== 0\nIg== 2\n",
		"rank no number": "IQ== x\n",
	} {
		if _, err := parseRanks([]byte(data)); fault.KindOf(err) != fault.SelfTest {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestByNameAndForVocabulary(t *testing.T) {
	for _, name := range []string{"gpt2", "nano"} {
		a, err := ByName(name)
		if err != nil || a.Name() != name {
			t.Fatalf("ByName(%q): %v", name, err)
		}
		if b, err := ForVocabulary(a.Size()); err != nil || b != a {
			t.Errorf("ForVocabulary(%d): %v", a.Size(), err)
		}
	}
	if _, err := ByName("gpt3"); fault.KindOf(err) != fault.Config {
		t.Errorf("ByName of an unknown name: %v", err)
	}
	if _, err := ForVocabulary(50304); fault.KindOf(err) != fault.Config {
		t.Errorf("ForVocabulary of an unknown size: %v", err)
	}
}

func ExampleTokenizer() {
	tok, err := GPT2()
	if err != nil {
		panic(err)
	}
	ids := tok.Encode("The sea, the sea!")
	text, _ := tok.Decode(ids)
	fmt.Println(ids)
	fmt.Println(string(text))
	// Output:
	// [464 5417 11 262 5417 0]
	// The sea, the sea!
}
