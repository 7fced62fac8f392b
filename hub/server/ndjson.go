package server

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

const (
	maxField = 1 << 20 // bytes of any string but a file's content
	maxDepth = 16      // of values that nobody asked for
)

// errJSON says that a line is not the JSON it should be.
var errJSON = errors.New("not valid JSON")

// lineReader reads JSON from a stream, token by token: a line of a commit may
// be hundreds of megabytes long, nearly all of it one string.
type lineReader struct {
	in *bufio.Reader
}

func newLineReader(r io.Reader) *lineReader { return &lineReader{bufio.NewReaderSize(r, 64<<10)} }

// next skips white space and returns the next byte without taking it; io.EOF at
// the end of the stream.
func (l *lineReader) next() (byte, error) {
	for {
		b, err := l.in.ReadByte()
		if err != nil {
			return 0, err
		}
		if b != ' ' && b != '\t' && b != '\r' && b != '\n' {
			return b, l.in.UnreadByte()
		}
	}
}

// expect takes one byte behind white space.
func (l *lineReader) expect(want byte) error {
	b, err := l.next()
	if err == nil && b != want {
		err = fmt.Errorf("%w: %q where %q should be", errJSON, b, want)
	}
	if err != nil {
		return unexpected(err)
	}
	_, err = l.in.ReadByte()
	return err
}

// accept takes one byte if it is next.
func (l *lineReader) accept(want byte) (bool, error) {
	b, err := l.next()
	if err != nil || b != want {
		return false, unexpected(err)
	}
	_, err = l.in.ReadByte()
	return true, err
}

// object reads an object; field must read each key's value.
func (l *lineReader) object(field func(key string) error) error {
	if err := l.expect('{'); err != nil {
		return err
	}
	if done, err := l.accept('}'); done || err != nil {
		return err
	}
	for {
		key, err := l.text()
		if err == nil {
			err = l.expect(':')
		}
		if err == nil {
			err = field(key)
		}
		if err != nil {
			return err
		}
		if done, err := l.accept('}'); done || err != nil {
			return err
		}
		if err := l.expect(','); err != nil {
			return err
		}
	}
}

// text reads a string of at most maxField bytes.
func (l *lineReader) text() (string, error) {
	var b capped
	if err := l.textTo(&b); err != nil {
		return "", err
	}
	return string(b.data), nil
}

// capped is a buffer with a limit.
type capped struct{ data []byte }

func (c *capped) Write(p []byte) (int, error) {
	if len(c.data)+len(p) > maxField {
		return 0, fmt.Errorf("%w: a string is longer than %d bytes", errTooLarge, maxField)
	}
	c.data = append(c.data, p...)
	return len(p), nil
}

// textTo reads a string of any length and writes it without its escapes.
func (l *lineReader) textTo(w io.Writer) error {
	if err := l.expect('"'); err != nil {
		return err
	}
	var run [4096]byte
	n := 0
	for {
		b, err := l.in.ReadByte()
		if err != nil {
			return unexpected(err)
		}
		if n > len(run)-utf8.UTFMax || b == '"' {
			if _, err := w.Write(run[:n]); err != nil {
				return err
			}
			n = 0
		}
		switch {
		case b == '"':
			return nil
		case b == '\\':
			r, err := l.escape()
			if err != nil {
				return err
			}
			n += utf8.EncodeRune(run[n:], r)
		case b < ' ':
			return fmt.Errorf("%w: a control character in a string", errJSON)
		default:
			run[n] = b
			n++
		}
	}
}

// escape reads what follows a backslash.
func (l *lineReader) escape() (rune, error) {
	b, err := l.in.ReadByte()
	if err != nil {
		return 0, unexpected(err)
	}
	switch b {
	case '"', '\\', '/':
		return rune(b), nil
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
		return l.unicode()
	}
	return 0, fmt.Errorf("%w: the escape \\%c", errJSON, b)
}

// unicode reads four hex digits, and the other half of a surrogate pair.
func (l *lineReader) unicode() (rune, error) {
	high, err := l.hex4()
	if err != nil || !utf16.IsSurrogate(high) {
		return high, err
	}
	for _, want := range []byte{'\\', 'u'} {
		if b, err := l.in.ReadByte(); err != nil || b != want {
			return 0, fmt.Errorf("%w: half a surrogate pair", errJSON)
		}
	}
	low, err := l.hex4()
	r := utf16.DecodeRune(high, low)
	if err == nil && r == utf8.RuneError {
		err = fmt.Errorf("%w: half a surrogate pair", errJSON)
	}
	return r, err
}

func (l *lineReader) hex4() (rune, error) {
	var digits [4]byte
	if _, err := io.ReadFull(l.in, digits[:]); err != nil {
		return 0, unexpected(err)
	}
	n, err := strconv.ParseUint(string(digits[:]), 16, 16)
	if err != nil {
		return 0, fmt.Errorf("%w: \\u%s", errJSON, digits)
	}
	return rune(n), nil
}

// integer reads a whole number that is not negative.
func (l *lineReader) integer() (int64, error) {
	digits, err := l.bare()
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%w: %q is not a size", errJSON, clip(digits))
	}
	return n, nil
}

// bare reads what stands without quotes: numbers, true, false, null.
func (l *lineReader) bare() (string, error) {
	if _, err := l.next(); err != nil {
		return "", unexpected(err)
	}
	var b []byte
	for len(b) < 64 {
		c, err := l.in.ReadByte()
		if errors.Is(err, io.EOF) && len(b) > 0 {
			return string(b), nil
		}
		if err != nil {
			return "", unexpected(err)
		}
		if c != '+' && c != '-' && c != '.' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && c != 'E' {
			break
		}
		b = append(b, c)
	}
	if len(b) == 0 || len(b) == 64 {
		return "", fmt.Errorf("%w: neither a value nor its end", errJSON)
	}
	return string(b), l.in.UnreadByte()
}

// skip reads a value that nobody asked for.
func (l *lineReader) skip(depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("%w: nested more than %d deep", errTooLarge, maxDepth)
	}
	b, err := l.next()
	if err != nil {
		return unexpected(err)
	}
	switch b {
	case '"':
		return l.textTo(io.Discard)
	case '{':
		return l.object(func(string) error { return l.skip(depth + 1) })
	case '[':
		return l.array(func() error { return l.skip(depth + 1) })
	}
	_, err = l.bare()
	return err
}

func (l *lineReader) array(item func() error) error {
	if err := l.expect('['); err != nil {
		return err
	}
	if done, err := l.accept(']'); done || err != nil {
		return err
	}
	for {
		if err := item(); err != nil {
			return err
		}
		if done, err := l.accept(']'); done || err != nil {
			return err
		}
		if err := l.expect(','); err != nil {
			return err
		}
	}
}

// unexpected turns the end of the stream inside a value into an error.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
