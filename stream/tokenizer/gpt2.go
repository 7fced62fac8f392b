package tokenizer

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"strconv"
	"sync"

	"github.com/pkoukk/tiktoken-go"
	"github.com/pkoukk/tiktoken-go-loader/assets"

	"lockstep/internal/fault"
)

const (
	gpt2Size = 50257

	// r50kFile holds GPT-2's tokens, as OpenAI publishes them: a line with
	// base64 bytes and rank for each. The digest is the one in OpenAI's
	// tiktoken; it is checked because it decides every token, hence every bit.
	r50kFile   = "r50k_base.tiktoken"
	r50kDigest = "306cd27f03c1a714eca7108e03d66b7dc042abe8c258b44c199a7ed9838dd930"

	// longPiece is the length in bytes of a piece above which tiktoken-go is
	// not asked: its merge is quadratic in it. longRow is the same for rows: its
	// regular expression takes some forty bytes of memory for each of text.
	longPiece = 512
	longRow   = 1 << 20
)

// gpt2 is GPT-2's encoding. Rows of ordinary text go through tiktoken-go; long
// ones and those with a long piece go through bpe, which gives the same tokens.
type gpt2 struct {
	*bpe
	tiktoken *tiktoken.Tiktoken
}

// GPT2 returns GPT-2's tokenizer, 50,257 tokens. It is built once, at the first
// call, in some 80 ms; all callers share it. An error (fault.SelfTest) means
// that this binary was built from other ranks than the published ones.
func GPT2() (Tokenizer, error) { return loadGPT2() }

var loadGPT2 = sync.OnceValues(func() (Tokenizer, error) {
	data, err := assets.Assets.ReadFile(r50kFile)
	if err != nil {
		return nil, fault.Errorf(fault.SelfTest, "tokenizer gpt2: embedded ranks: %w", err)
	}
	return newGPT2(data)
})

// newGPT2 builds the encoding from the bytes of r50kFile.
func newGPT2(data []byte) (Tokenizer, error) {
	sum := sha256.Sum256(data)
	if got := hex.EncodeToString(sum[:]); got != r50kDigest {
		return nil, fault.Errorf(fault.SelfTest, "tokenizer gpt2: the embedded ranks have SHA-256 %s, not %s; build lockstep from unchanged modules", got, r50kDigest)
	}
	tokens, err := parseRanks(data)
	if err != nil {
		return nil, err
	}
	b := newBPE("gpt2", tokens)
	// The library's own constructor by name goes through a global loader that
	// downloads; its parts are public, so the ranks are handed over directly.
	special := map[string]int{EndOfText: len(tokens)}
	core, err := tiktoken.NewCoreBPE(b.ranks, special, pattern)
	if err != nil {
		return nil, fault.Errorf(fault.SelfTest, "tokenizer gpt2: %w", err)
	}
	encoding := &tiktoken.Encoding{
		Name: tiktoken.MODEL_R50K_BASE, PatStr: pattern, MergeableRanks: b.ranks,
		SpecialTokens: special, ExplicitNVocab: gpt2Size,
	}
	return &gpt2{bpe: b, tiktoken: tiktoken.NewTiktoken(core, encoding, map[string]any{EndOfText: true})}, nil
}

// parseRanks reads lines "base64 rank" whose ranks must be 0, 1, 2 and so on.
func parseRanks(data []byte) ([]string, error) {
	var tokens []string
	for line := range bytes.Lines(data) {
		line = bytes.TrimSuffix(line, []byte("\n"))
		text, rank, _ := bytes.Cut(line, []byte(" "))
		token, err := base64.StdEncoding.DecodeString(string(text))
		if n, errRank := strconv.Atoi(string(rank)); err != nil || errRank != nil || n != len(tokens) {
			return nil, fault.Errorf(fault.SelfTest, "tokenizer gpt2: line %d of the embedded ranks is %q, not a base64 token and its number", len(tokens)+1, line)
		}
		tokens = append(tokens, string(token))
	}
	return tokens, nil
}

// Encode uses EncodeOrdinary, the one method of tiktoken-go that knows no
// special tokens and therefore never panics over them.
func (g *gpt2) Encode(text string) []int32 {
	if len(text) > longRow || longestPiece(text) > longPiece {
		return g.bpe.Encode(text)
	}
	wide := g.tiktoken.EncodeOrdinary(text)
	ids := make([]int32, len(wide))
	for i, id := range wide {
		ids[i] = int32(id)
	}
	return ids
}

func (g *gpt2) EncodeWithSpecial(text string) []int32 { return encodeWithSpecial(g, text) }
