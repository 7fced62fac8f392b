package tokenizer

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"testing"

	"lockstep/internal/testdata"
)

// goldenFiles pins every byte. merges.txt and vocab.json of gpt2 have the
// digests that OpenAI's own tiktoken lists for vocab.bpe and encoder.json; the
// tokenizer.json of both was loaded by transformers 5.23.0.
var goldenFiles = map[string]map[string]string{
	"gpt2": {
		"merges.txt":              "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5",
		"special_tokens_map.json": "6f50ab5a5a509a1c309d6171f339b196a900dc9c99ad0408ff23bb615fdae7ad",
		"tokenizer.json":          "f6ed3d307010c244c22aeffbde05f419cf277c23e64cf98b673cac5449cfeff5",
		"tokenizer_config.json":   "e8c6d18970a2cc0a6a320fc7675aebd3f6345b707f44a5f6a4926b7bc614e013",
		"vocab.json":              "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783",
	},
	"nano": {
		"merges.txt":              "6b753ed679cbe6ced8d044dfefb18e14986b0266a0e295003f3ed6888533f6b9",
		"special_tokens_map.json": "6f50ab5a5a509a1c309d6171f339b196a900dc9c99ad0408ff23bb615fdae7ad",
		"tokenizer.json":          "04b6ca435fb7c8872b82145d7fd6db7cb86bb3eec7520f7aab1954dfb6eeed62",
		"tokenizer_config.json":   "fb84b0a5c08946831fa964c1fcac8d576f4824a27904686ed08708854fae0208",
		"vocab.json":              "65ed4393f3921e64e99852498dc0eb0d00d3c6b799b342f8696aeeb03411104e",
	},
}

func TestFilesAreGolden(t *testing.T) {
	for _, tok := range []Tokenizer{mustGPT2(t), Nano()} {
		golden := goldenFiles[tok.Name()]
		found := tok.Files()
		if len(found) != len(golden) {
			t.Errorf("%s: %d files", tok.Name(), len(found))
		}
		clear(tok.Files()[0].Data) // a caller may do so with its copy
		for i, f := range tok.Files() {
			if i > 0 && found[i-1].Name >= f.Name {
				t.Errorf("%s: %s is not in its place", tok.Name(), f.Name)
			}
			sum := sha256.Sum256(f.Data)
			if got := hex.EncodeToString(sum[:]); got != golden[f.Name] {
				t.Errorf("%s: %s has SHA-256 %s, want %s", tok.Name(), f.Name, got, golden[f.Name])
			}
		}
	}
}

// TestFilesEqualPublished compares with the files of OpenAI and of Hugging
// Face, which had no part in making ours.
func TestFilesEqualPublished(t *testing.T) {
	ours := map[string][]byte{}
	for _, f := range mustGPT2(t).Files() {
		ours[f.Name] = f.Data
	}
	for name, published := range map[string]string{
		"vocab.json": "encoder.json", "merges.txt": "vocab.bpe", "tokenizer.json": "hf_tokenizer.json",
	} {
		want, err := os.ReadFile(testdata.Path(t, "tokenizer", published))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(ours[name], want) {
			t.Errorf("%s differs from the published %s", name, published)
		}
	}
}

// TestJSONFilesParse reads ours as JSON and compares them with the vocabulary.
func TestJSONFilesParse(t *testing.T) {
	for _, tok := range []Tokenizer{mustGPT2(t), Nano()} {
		for _, f := range tok.Files() {
			switch f.Name {
			case "merges.txt":
			case "vocab.json":
				var vocab map[string]int32
				if err := json.Unmarshal(f.Data, &vocab); err != nil || len(vocab) != tok.Size() || vocab[EndOfText] != tok.EndOfText() {
					t.Errorf("%s: vocab.json has %d tokens (%v)", tok.Name(), len(vocab), err)
				}
			default:
				if !json.Valid(f.Data) {
					t.Errorf("%s: %s is not JSON", tok.Name(), f.Name)
				}
			}
		}
	}
}
