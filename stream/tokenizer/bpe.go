package tokenizer

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"lockstep/internal/merkle"
)

// bpe is a byte-pair encoding: all that GPT2 and Nano have in common. It is
// never written to after newBPE.
type bpe struct {
	name    string
	tokens  []string // bytes by id; the last is EndOfText, which is in no rank
	ranks   ranks
	longest int // bytes of the longest token
	digest  merkle.Digest
	files   func() []File // made once; a node asks for them in every epoch
}

// newBPE returns the encoding whose tokens are tokens, by id, and EndOfText
// behind them. Every single byte must be among them.
func newBPE(name string, tokens []string) *bpe {
	b := &bpe{name: name, tokens: append(tokens[:len(tokens):len(tokens)], EndOfText), ranks: make(ranks, len(tokens))}
	for id, t := range tokens {
		b.ranks[t] = id
		b.longest = max(b.longest, len(t))
	}
	b.digest = digest(name, b.tokens)
	b.files = sync.OnceValue(func() []File { return files(b) })
	return b
}

// digest is SHA-256 over the form drawn in FORMATS.md.
func digest(name string, tokens []string) merkle.Digest {
	buf := []byte("lockstep/tokenizer/1")
	for _, s := range []string{name, pattern, unicode.Version} {
		buf = binary.LittleEndian.AppendUint32(buf, uint32(len(s)))
		buf = append(buf, s...)
	}
	buf = binary.LittleEndian.AppendUint32(buf, uint32(len(tokens)))
	for _, t := range tokens {
		buf = binary.LittleEndian.AppendUint32(buf, uint32(len(t)))
		buf = append(buf, t...)
	}
	return sha256.Sum256(buf)
}

func (b *bpe) Name() string          { return b.name }
func (b *bpe) Digest() merkle.Digest { return b.digest }
func (b *bpe) Size() int             { return len(b.tokens) }
func (b *bpe) EndOfText() int32      { return int32(len(b.tokens) - 1) }

func (b *bpe) Files() []File {
	made := slices.Clone(b.files())
	for i := range made {
		made[i].Data = bytes.Clone(made[i].Data)
	}
	return made
}

// Encode cuts text into pieces and merges each.
func (b *bpe) Encode(text string) []int32 {
	if !utf8.ValidString(text) {
		text = string([]rune(text)) // one U+FFFD for each bad byte
	}
	m := b.merger()
	var ids []int32
	for len(text) > 0 {
		n := nextPiece(text)
		ids = m.encode(ids, text[:n])
		text = text[n:]
	}
	return ids
}

func (b *bpe) EncodeWithSpecial(text string) []int32 { return encodeWithSpecial(b, text) }

func (b *bpe) Decode(ids []int32) ([]byte, error) {
	var out []byte
	for i, id := range ids {
		if id < 0 || int(id) >= len(b.tokens) {
			return nil, &UnknownTokenError{Tokenizer: b.name, Index: i, ID: id, Size: len(b.tokens)}
		}
		out = append(out, b.tokens[id]...)
	}
	return out, nil
}

func (b *bpe) merger() *merger { return &merger{ranks: b.ranks, longest: b.longest} }

// encodeWithSpecial encodes the stretches between the special tokens.
func encodeWithSpecial(t Tokenizer, text string) []int32 {
	var ids []int32
	for {
		before, after, found := strings.Cut(text, EndOfText)
		ids = append(ids, t.Encode(before)...)
		if !found {
			return ids
		}
		ids = append(ids, t.EndOfText())
		text = after
	}
}
