package tokenizer

import (
	"unicode"
	"unicode/utf8"
)

// pattern cuts text into the pieces inside which tokens are merged. It is
// GPT-2's, as tiktoken-go writes it for r50k_base: contractions, then runs of
// letters, of numbers and of everything else, each with at most one space in
// front, then white space, of which a run leaves its last character to the
// piece that follows.
const pattern = `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`

// class is what pattern distinguishes.
type class uint8

const (
	other class = iota
	letter
	number
	space
)

func classOf(r rune) class {
	if r < utf8.RuneSelf {
		return asciiClass[r]
	}
	switch {
	case unicode.IsLetter(r):
		return letter
	case unicode.IsNumber(r):
		return number
	case unicode.IsSpace(r):
		return space
	}
	return other
}

var asciiClass = func() (t [utf8.RuneSelf]class) {
	for r := range rune(utf8.RuneSelf) {
		switch {
		case unicode.IsLetter(r):
			t[r] = letter
		case unicode.IsNumber(r):
			t[r] = number
		case unicode.IsSpace(r):
			t[r] = space
		}
	}
	return t
}()

// nextPiece returns the length in bytes of the piece at the start of text,
// which is not empty: the first match of pattern, without a regular expression.
func nextPiece(text string) int {
	if n := contraction(text); n > 0 {
		return n
	}
	r, n := utf8.DecodeRuneInString(text)
	c := classOf(r)
	if c != space {
		return n + run(text[n:], c)
	}
	if r == ' ' && n < len(text) {
		next, size := utf8.DecodeRuneInString(text[n:])
		if c := classOf(next); c != space {
			return n + size + run(text[n+size:], c)
		}
	}
	return whiteSpace(text)
}

// contraction returns the length of the contraction at the start of text, or 0.
// Case matters and only U+0027 is an apostrophe, as in the original.
func contraction(text string) int {
	if len(text) < 2 || text[0] != '\'' {
		return 0
	}
	switch text[1] {
	case 's', 't', 'm', 'd':
		return 2
	}
	if len(text) >= 3 {
		switch text[1:3] {
		case "re", "ve", "ll":
			return 3
		}
	}
	return 0
}

// run returns the length of the run of class c at the start of text.
func run(text string, c class) int {
	n := 0
	for n < len(text) {
		r, size := utf8.DecodeRuneInString(text[n:])
		if classOf(r) != c {
			break
		}
		n += size
	}
	return n
}

// whiteSpace is `\s+(?!\S)|\s+`: the whole run at the end of the text, else the
// run without its last character, else that one character.
func whiteSpace(text string) int {
	n, last := 0, 0
	for n < len(text) {
		r, size := utf8.DecodeRuneInString(text[n:])
		if classOf(r) != space {
			break
		}
		n, last = n+size, size
	}
	if n < len(text) && n > last {
		return n - last
	}
	return n
}

// longestPiece returns the length in bytes of the longest piece of text.
func longestPiece(text string) int {
	longest := 0
	for len(text) > 0 {
		n := nextPiece(text)
		longest = max(longest, n)
		text = text[n:]
	}
	return longest
}
