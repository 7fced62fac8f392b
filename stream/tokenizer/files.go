package tokenizer

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// byteOrder lists the 256 bytes in the order of their tokens: first those whose
// Latin-1 character is visible, then the others, both ascending.
var byteOrder = func() (order [256]byte) {
	n := 0
	for _, want := range []bool{true, false} {
		for b := range 256 {
			if visible(b) == want {
				order[n] = byte(b)
				n++
			}
		}
	}
	return order
}()

func visible(b int) bool {
	return b >= '!' && b <= '~' || b >= 0xA1 && b <= 0xAC || b >= 0xAE && b <= 0xFF
}

// byteRune is GPT-2's alphabet for writing tokens as text: a visible byte is its
// Latin-1 character, the others are U+0100, U+0101 and so on.
var byteRune = func() (runes [256]rune) {
	hidden := rune(256)
	for b := range 256 {
		if visible(b) {
			runes[b] = rune(b)
			continue
		}
		runes[b] = hidden
		hidden++
	}
	return runes
}()

// spell writes the bytes of a token in GPT-2's alphabet.
func spell(token string) string {
	var s strings.Builder
	for i := range len(token) {
		s.WriteRune(byteRune[token[i]])
	}
	return s.String()
}

// mergePair is one line of merges.txt.
type mergePair struct{ left, right string }

// merges recovers, for each token of two bytes or more, the pair whose merge
// makes it: the two parts that are left when its bytes are encoded with lower
// ranks only. The ranks alone thus give merges.txt; nothing is copied.
func (b *bpe) merges() []mergePair {
	m := b.merger()
	var pairs []mergePair
	var ids []int32
	for id, token := range b.tokens[:b.EndOfText()] {
		if len(token) == 1 {
			continue
		}
		if ids = m.parts(ids[:0], token, int32(id)); len(ids) != 2 {
			panic("tokenizer: a token is not the merge of two lower ones")
		}
		pairs = append(pairs, mergePair{b.tokens[ids[0]], b.tokens[ids[1]]})
	}
	return pairs
}

// files writes the five files that Hugging Face's AutoTokenizer knows.
func files(b *bpe) []File {
	pairs := b.merges()
	return []File{
		{"merges.txt", mergesFile(pairs)},
		{"special_tokens_map.json", []byte(specialTokensMap)},
		{"tokenizer.json", tokenizerFile(b, pairs)},
		{"tokenizer_config.json", fmt.Appendf(nil, tokenizerConfig, b.EndOfText())},
		{"vocab.json", vocabFile(b)},
	}
}

func mergesFile(pairs []mergePair) []byte {
	out := []byte("#version: 0.2\n")
	for _, p := range pairs {
		out = fmt.Appendf(out, "%s %s\n", spell(p.left), spell(p.right))
	}
	return out
}

// vocabFile is one line, in the manner of Python's json.dumps, as OpenAI wrote
// encoder.json: tokens in the order of their ids, all characters ASCII.
func vocabFile(b *bpe) []byte {
	out := []byte("{")
	for id := range b.tokens {
		if id > 0 {
			out = append(out, ", "...)
		}
		out = appendASCII(out, b.written(id))
		out = fmt.Appendf(out, ": %d", id)
	}
	return append(out, '}')
}

// written is how the files name token id.
func (b *bpe) written(id int) string {
	if int32(id) == b.EndOfText() {
		return EndOfText
	}
	return spell(b.tokens[id])
}

// tokenizerFile is the description that the Rust library reads, laid out as it
// writes it.
func tokenizerFile(b *bpe, pairs []mergePair) []byte {
	out := fmt.Appendf(nil, tokenizerHead, b.EndOfText())
	for id := range b.tokens {
		if id > 0 {
			out = append(out, ',')
		}
		out = append(out, "\n      "...)
		out = appendJSON(out, b.written(id))
		out = fmt.Appendf(out, ": %d", id)
	}
	out = append(out, "\n    },\n    \"merges\": ["...)
	for i, p := range pairs {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, "\n      "...)
		out = appendJSON(out, spell(p.left)+" "+spell(p.right))
	}
	return append(out, "\n    ]\n  }\n}"...)
}

// appendJSON appends s as a JSON string. Tokens are written without control
// characters, so only the quote and the backslash need an escape.
func appendJSON(out []byte, s string) []byte {
	out = append(out, '"')
	for _, r := range s {
		if r == '"' || r == '\\' {
			out = append(out, '\\')
		}
		out = utf8.AppendRune(out, r)
	}
	return append(out, '"')
}

// appendASCII is appendJSON with everything above ASCII as \u escapes.
func appendASCII(out []byte, s string) []byte {
	out = append(out, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			out = append(out, '\\', byte(r))
		case r < utf8.RuneSelf:
			out = append(out, byte(r))
		default:
			out = fmt.Appendf(out, "\\u%04x", r)
		}
	}
	return append(out, '"')
}

const specialTokensMap = `{
  "bos_token": "<|endoftext|>",
  "eos_token": "<|endoftext|>",
  "unk_token": "<|endoftext|>"
}
`

// tokenizerConfig says nothing of lengths, which are the model's, and leaves
// white space before punctuation alone, so that decoding gives back the bytes.
const tokenizerConfig = `{
  "add_prefix_space": false,
  "added_tokens_decoder": {
    "%d": {
      "content": "<|endoftext|>",
      "lstrip": false,
      "normalized": true,
      "rstrip": false,
      "single_word": false,
      "special": true
    }
  },
  "bos_token": "<|endoftext|>",
  "clean_up_tokenization_spaces": false,
  "eos_token": "<|endoftext|>",
  "tokenizer_class": "GPT2Tokenizer",
  "unk_token": "<|endoftext|>"
}
`

const tokenizerHead = `{
  "version": "1.0",
  "truncation": null,
  "padding": null,
  "added_tokens": [
    {
      "id": %d,
      "content": "<|endoftext|>",
      "single_word": false,
      "lstrip": false,
      "rstrip": false,
      "normalized": true,
      "special": true
    }
  ],
  "normalizer": null,
  "pre_tokenizer": {
    "type": "ByteLevel",
    "add_prefix_space": false,
    "trim_offsets": true,
    "use_regex": true
  },
  "post_processor": {
    "type": "ByteLevel",
    "add_prefix_space": true,
    "trim_offsets": false,
    "use_regex": true
  },
  "decoder": {
    "type": "ByteLevel",
    "add_prefix_space": true,
    "trim_offsets": true,
    "use_regex": true
  },
  "model": {
    "type": "BPE",
    "dropout": null,
    "unk_token": null,
    "continuing_subword_prefix": "",
    "end_of_word_suffix": "",
    "fuse_unk": false,
    "byte_fallback": false,
    "vocab": {`
