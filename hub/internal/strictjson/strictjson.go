// Package strictjson reads and writes the few JSON shapes that this room keeps
// in files: objects of known fields, arrays, strings and natural numbers. It is
// for callers that must refuse what encoding/json lets pass: duplicate keys,
// text after the value, unpaired surrogates, numbers that lose digits. Anything
// it cannot read is an error with a byte offset; there is no generic value, but
// one may be skipped.
package strictjson

import (
	"bytes"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// SyntaxError says where the text stops being the JSON that was expected.
type SyntaxError struct {
	Offset int    // bytes from the start of the text
	What   string // what is wrong there
}

func (e *SyntaxError) Error() string { return fmt.Sprintf("byte %d: %s", e.Offset, e.What) }

// EncodingError says that the text is not UTF-8.
type EncodingError struct{ Offset int }

func (e *EncodingError) Error() string { return fmt.Sprintf("byte %d: not UTF-8", e.Offset) }

// DuplicateError says that an object has a key twice. Keys are compared after
// their escapes are resolved.
type DuplicateError struct {
	Offset int
	Key    string
}

func (e *DuplicateError) Error() string {
	return fmt.Sprintf("byte %d: the key %q appears twice", e.Offset, e.Key)
}

// Reader walks one JSON text from left to right. Errors are final: after one,
// further calls give meaningless results. The zero Reader reads the empty text.
type Reader struct {
	text []byte
	pos  int
}

// NewReader returns a Reader of text, which must be UTF-8 throughout.
func NewReader(text []byte) (*Reader, error) {
	for i := 0; i < len(text); {
		if text[i] < utf8.RuneSelf {
			i++
			continue
		}
		r, n := utf8.DecodeRune(text[i:])
		if r == utf8.RuneError && n == 1 {
			return nil, &EncodingError{Offset: i}
		}
		i += n
	}
	return &Reader{text: text}, nil
}

// Object reads an object and calls field for each key in order; field must read
// the key's value. A key that appears twice is a DuplicateError.
func (r *Reader) Object(field func(key string) error) error {
	if err := r.expect('{', "an object"); err != nil {
		return err
	}
	if r.accept('}') {
		return nil
	}
	seen := make(map[string]struct{})
	for {
		r.space()
		at := r.pos
		key, err := r.Text()
		if err != nil {
			return err
		}
		if _, twice := seen[key]; twice {
			return &DuplicateError{Offset: at, Key: key}
		}
		seen[key] = struct{}{}
		if err := r.expect(':', "a colon"); err != nil {
			return err
		}
		if err := field(key); err != nil {
			return err
		}
		if r.accept('}') {
			return nil
		}
		if err := r.expect(',', "a comma or a closing brace"); err != nil {
			return err
		}
	}
}

// Array reads an array and calls item for each element; item must read it.
func (r *Reader) Array(item func() error) error {
	if err := r.expect('[', "an array"); err != nil {
		return err
	}
	if r.accept(']') {
		return nil
	}
	for {
		if err := item(); err != nil {
			return err
		}
		if r.accept(']') {
			return nil
		}
		if err := r.expect(',', "a comma or a closing bracket"); err != nil {
			return err
		}
	}
}

// Text reads a string.
func (r *Reader) Text() (string, error) {
	if err := r.expect('"', "a string"); err != nil {
		return "", err
	}
	var out []byte
	start := r.pos // of the run of plain bytes not yet copied to out
	for r.pos < len(r.text) {
		switch c := r.text[r.pos]; {
		case c == '"':
			plain := r.text[start:r.pos]
			r.pos++
			if out == nil {
				return string(plain), nil
			}
			return string(append(out, plain...)), nil
		case c == '\\':
			out = append(out, r.text[start:r.pos]...)
			r.pos++
			char, err := r.escape()
			if err != nil {
				return "", err
			}
			out = utf8.AppendRune(out, char)
			start = r.pos
		case c < ' ':
			return "", r.syntax("a control character inside a string")
		default:
			r.pos++
		}
	}
	return "", r.syntax("the text ends inside a string")
}

// escape reads what follows a backslash.
func (r *Reader) escape() (rune, error) {
	if r.pos == len(r.text) {
		return 0, r.syntax("the text ends inside a string")
	}
	c := r.text[r.pos]
	r.pos++
	switch c {
	case '"', '\\', '/':
		return rune(c), nil
	case 'b':
		return '\b', nil
	case 'f':
		return '\f', nil
	case 'n':
		return '\n', nil
	case 'r':
		return '\r', nil
	case 't':
		return '\t', nil
	case 'u':
		return r.unicode()
	}
	r.pos--
	return 0, r.syntax("an unknown escape")
}

// unicode reads the four hex digits after \u, and the second half of a
// surrogate pair where the first asks for one.
func (r *Reader) unicode() (rune, error) {
	first, err := r.hex4()
	if err != nil || !utf16.IsSurrogate(first) {
		return first, err
	}
	if r.pos+1 >= len(r.text) || r.text[r.pos] != '\\' || r.text[r.pos+1] != 'u' {
		return 0, r.syntax("an unpaired surrogate")
	}
	r.pos += 2
	second, err := r.hex4()
	if err != nil {
		return 0, err
	}
	pair := utf16.DecodeRune(first, second)
	if pair == utf8.RuneError {
		return 0, r.syntax("an unpaired surrogate")
	}
	return pair, nil
}

func (r *Reader) hex4() (rune, error) {
	if len(r.text)-r.pos < 4 {
		return 0, r.syntax("the text ends inside an escape")
	}
	var v rune
	for range 4 {
		c := r.text[r.pos]
		switch {
		case '0' <= c && c <= '9':
			v = v<<4 | rune(c-'0')
		case 'a' <= c && c <= 'f':
			v = v<<4 | rune(c-'a'+10)
		case 'A' <= c && c <= 'F':
			v = v<<4 | rune(c-'A'+10)
		default:
			return 0, r.syntax("not a hex digit")
		}
		r.pos++
	}
	return v, nil
}

// Int reads a natural number up to 2^63-1, written with digits only: no sign, no
// leading zero, no fraction, no exponent.
func (r *Reader) Int() (int64, error) {
	r.space()
	start := r.pos
	for r.pos < len(r.text) && '0' <= r.text[r.pos] && r.text[r.pos] <= '9' {
		r.pos++
	}
	digits := r.text[start:r.pos]
	if len(digits) == 0 {
		return 0, r.syntax("expected a natural number")
	}
	if digits[0] == '0' && len(digits) > 1 {
		return 0, &SyntaxError{Offset: start, What: "a number with a leading zero"}
	}
	if r.pos < len(r.text) {
		switch r.text[r.pos] {
		case '.', 'e', 'E':
			return 0, r.syntax("expected a natural number, not a fraction")
		}
	}
	var v int64
	for _, d := range digits {
		if v > (math.MaxInt64-int64(d-'0'))/10 {
			return 0, &SyntaxError{Offset: start, What: "a number above 2^63-1"}
		}
		v = v*10 + int64(d-'0')
	}
	return v, nil
}

// maxDepth bounds how deep a skipped value may be nested.
const maxDepth = 32

// Skip reads a value of any kind that its caller has no use for.
func (r *Reader) Skip() error { return r.skip(0) }

func (r *Reader) skip(depth int) error {
	if depth == maxDepth {
		return r.syntax("a value nested too deep")
	}
	r.space()
	if r.pos == len(r.text) {
		return r.syntax("the text ends where a value is due")
	}
	switch c := r.text[r.pos]; {
	case c == '"':
		_, err := r.Text()
		return err
	case c == '{':
		return r.Object(func(string) error { return r.skip(depth + 1) })
	case c == '[':
		return r.Array(func() error { return r.skip(depth + 1) })
	}
	for _, word := range []string{"true", "false", "null"} {
		if bytes.HasPrefix(r.text[r.pos:], []byte(word)) {
			r.pos += len(word)
			return nil
		}
	}
	number := numbers.Find(r.text[r.pos:])
	if number == nil {
		return r.syntax("expected a value")
	}
	r.pos += len(number)
	return nil
}

// numbers are those of RFC 8259.
var numbers = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?`)

// End checks that nothing but white space follows.
func (r *Reader) End() error {
	r.space()
	if r.pos != len(r.text) {
		return r.syntax("text after the end")
	}
	return nil
}

func (r *Reader) space() {
	for r.pos < len(r.text) {
		switch r.text[r.pos] {
		case ' ', '\t', '\n', '\r':
			r.pos++
		default:
			return
		}
	}
}

// accept skips white space and takes c if it is next.
func (r *Reader) accept(c byte) bool {
	r.space()
	if r.pos < len(r.text) && r.text[r.pos] == c {
		r.pos++
		return true
	}
	return false
}

func (r *Reader) expect(c byte, what string) error {
	if r.accept(c) {
		return nil
	}
	if r.pos == len(r.text) {
		return r.syntax("the text ends where " + what + " is due")
	}
	return r.syntax("expected " + what)
}

func (r *Reader) syntax(what string) error { return &SyntaxError{Offset: r.pos, What: what} }

// AppendText appends s as a JSON string with the fewest escapes: the quote, the
// backslash, and control characters (short forms where JSON has them). This is
// how serde_json writes, so headers equal the reference implementation's.
// s must be UTF-8.
func AppendText(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	for i := 0; i < len(s); i++ {
		switch c := s[i]; c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\b':
			dst = append(dst, '\\', 'b')
		case '\f':
			dst = append(dst, '\\', 'f')
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			if c < ' ' {
				dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
			} else {
				dst = append(dst, c)
			}
		}
	}
	return append(dst, '"')
}

// AppendInt appends a natural number.
func AppendInt(dst []byte, v int64) []byte { return strconv.AppendInt(dst, v, 10) }
