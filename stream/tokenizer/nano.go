package tokenizer

import (
	"maps"
	"slices"
	"sync"

	"lockstep/stream/corpus"
)

const (
	nanoSize   = 512
	nanoMerges = nanoSize - 256 - 1 // all but the bytes and EndOfText
	nanoRows   = 256                // rows of the corpus that it is learned from
)

// Nano returns the tokenizer of small models: 256 bytes in GPT-2's order, 255
// merges learned from the first rows of the built-in corpus, and EndOfText. It
// is learned at the first call, in some 20 ms, and always the same.
func Nano() Tokenizer { return loadNano() }

var loadNano = sync.OnceValue(func() Tokenizer {
	counts := map[string]int{}
	for row := range uint64(nanoRows) {
		for text := corpus.Text(row); len(text) > 0; {
			n := nextPiece(text)
			counts[text[:n]]++
			text = text[n:]
		}
	}
	return newBPE("nano", learn(counts, nanoMerges))
})

// word is a piece of the text that is learned from, and how often it is there.
type word struct {
	ids   []int32
	count int
}

// learn returns the 256 bytes and n merges: each time the pair of neighbours
// that is most frequent inside the pieces, the lowest ids first among equals.
// It merges in the order in which the tokens will be applied, so every token is
// the merge of exactly one pair, as merges.txt wants it.
func learn(pieces map[string]int, n int) []string {
	tokens := make([]string, 0, 256+n)
	var id [256]int32
	for i, b := range byteOrder {
		id[b] = int32(i)
		tokens = append(tokens, string([]byte{b}))
	}
	var words []word
	for _, piece := range slices.Sorted(maps.Keys(pieces)) {
		w := word{count: pieces[piece]}
		for i := range len(piece) {
			w.ids = append(w.ids, id[piece[i]])
		}
		words = append(words, w)
	}
	counter := pairCounter{size: cap(tokens), counts: make([]int, cap(tokens)*cap(tokens))}
	for range n {
		left, right := counter.mostFrequent(words)
		tokens = append(tokens, tokens[left]+tokens[right])
		for i := range words {
			words[i].ids = replace(words[i].ids, left, right, int32(len(tokens)-1))
		}
	}
	return tokens
}

// pairCounter counts pairs of ids below size; its counts are 0 between calls.
type pairCounter struct {
	size   int
	counts []int // by left*size + right
	seen   []int // the indexes in counts that are not 0
}

// mostFrequent returns the most frequent pair of neighbours, and among equally
// frequent ones that of the lowest ids.
func (c *pairCounter) mostFrequent(words []word) (left, right int32) {
	c.seen = c.seen[:0]
	for _, w := range words {
		for i := range len(w.ids) - 1 {
			at := int(w.ids[i])*c.size + int(w.ids[i+1])
			if c.counts[at] == 0 {
				c.seen = append(c.seen, at)
			}
			c.counts[at] += w.count
		}
	}
	best := c.seen[0]
	for _, at := range c.seen {
		if n := c.counts[at]; n > c.counts[best] || n == c.counts[best] && at < best {
			best = at
		}
	}
	for _, at := range c.seen {
		c.counts[at] = 0
	}
	return int32(best / c.size), int32(best % c.size)
}

// replace joins every pair left, right in ids, from the left, in place.
func replace(ids []int32, left, right, joined int32) []int32 {
	out := ids[:0]
	for i := 0; i < len(ids); i++ {
		if ids[i] == left && i+1 < len(ids) && ids[i+1] == right {
			out = append(out, joined)
			i++
			continue
		}
		out = append(out, ids[i])
	}
	return out
}
