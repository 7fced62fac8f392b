package tokenizer

import (
	"slices"
	"testing"
)

// TestLearnTakesTheMostFrequentPair follows three merges by hand. In
// "abab abab ac" the pair ab is there 4 times; then (ab)(ab) 2 times; then ac
// and nothing else is left, once.
func TestLearnTakesTheMostFrequentPair(t *testing.T) {
	tokens := learn(map[string]int{"abab": 2, "ac": 1}, 3)
	if got, want := tokens[256:], []string{"ab", "abab", "ac"}; !slices.Equal(got, want) {
		t.Errorf("learned %q, want %q", got, want)
	}
}

// TestLearnBreaksTiesByLowestIDs: all three pairs occur once. In GPT-2's order
// "a" is before "b", and visible characters are before the space.
func TestLearnBreaksTiesByLowestIDs(t *testing.T) {
	tokens := learn(map[string]int{" a": 1, "bb": 1, "ab": 1}, 3)
	if got, want := tokens[256:], []string{"ab", "bb", " a"}; !slices.Equal(got, want) {
		t.Errorf("learned %q, want %q", got, want)
	}
}

// TestNanoLearnsWords: a tokenizer this small still shortens its own corpus to
// less than half the bytes.
func TestNanoLearnsWords(t *testing.T) {
	tok := Nano()
	text := "They walked back to the mill, because the wind was strong."
	if n := len(tok.Encode(text)); 2*n > len(text) {
		t.Errorf("%d tokens for %d bytes", n, len(text))
	}
	for b := range 256 {
		ids := tok.Encode(string([]byte{byte(b)}))
		if b < 0x80 && len(ids) != 1 {
			t.Errorf("byte %#x has tokens %d", b, ids)
		}
	}
}
