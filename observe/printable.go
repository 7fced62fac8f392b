package observe

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Printable returns text as a terminal may be given it: control characters (C0
// but newline and tab, DEL, C1), with which text of others could move the cursor
// or forge a screen, are written as \u00XX, and bytes that are not UTF-8 as \xXX.
// In JSON the first form stands for the same character as before.
func Printable(s string) string {
	if utf8.ValidString(s) && !strings.ContainsFunc(s, acts) {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, s[0])
		case acts(r):
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteString(s[:n])
		}
		s = s[n:]
	}
	return b.String()
}

// acts reports whether a terminal might act on r.
func acts(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\t' }

// makePrintable replaces those arguments of a format that may hold text of
// others: errors and strings, but not what is Styled.
func makePrintable(args []any) {
	for i, a := range args {
		switch x := a.(type) {
		case error:
			args[i] = Printable(x.Error())
		case string:
			args[i] = Printable(x)
		}
	}
}
