package observe

import (
	"strings"
	"unicode/utf8"
)

// Bar draws a part of a whole, 0 to 1, as width cells: ━━━━━━──────.
func Bar(part float64, width int) string {
	full := 0
	if part > 0 { // false for NaN
		full = int(min(part, 1) * float64(width))
	}
	return strings.Repeat("━", full) + strings.Repeat("─", width-full)
}

// The bar of a status line takes the room that its words leave, within these, in
// steps of eight: it does not twitch with every digit that comes and goes.
const (
	shortBar = 8
	longBar  = 32
)

// Progress replaces the status line by a bar and words behind it; empty words
// are left out. Where the terminal is narrow, the last words are cut off.
func (t *Terminal) Progress(part float64, words ...string) {
	text := ""
	for _, w := range words {
		if w != "" {
			text += "  " + w
		}
	}
	room := t.width() - 1 - utf8.RuneCountInString(text)
	t.Status("%s%s", Bar(part, min(max(room&^7, shortBar), longBar)), text)
}

// Live reports whether status lines show: it is a terminal that somebody may be
// watching.
func (t *Terminal) Live() bool { return t.width() > 0 }
