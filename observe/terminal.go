package observe

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"golang.org/x/term"
)

// Terminal writes lines that stay and, on a real terminal, one status line
// below them that is rewritten in place. Elsewhere (a pipe, a file, CI) the
// status line is left out and every line is plain text. Safe for concurrent
// use.
type Terminal struct {
	mu     sync.Mutex
	w      io.Writer
	width  func() int // columns, or 0 where w is no terminal
	color  bool
	status string
	drawn  time.Time // when the status line was drawn last
}

// calm is how long a status line stays at least: what changes faster than this
// costs time and cannot be read.
const calm = 50 * time.Millisecond

// NewTerminal writes to f, normally os.Stderr. plain forces plain lines;
// color is granted on a terminal unless noColor is set.
func NewTerminal(f *os.File, plain, noColor bool) *Terminal {
	t := &Terminal{w: f, width: func() int { return 0 }}
	if !plain && term.IsTerminal(int(f.Fd())) {
		t.width = func() int {
			w, _, err := term.GetSize(int(f.Fd()))
			if err != nil || w < 20 {
				return 80
			}
			return w
		}
		t.color = !noColor
	}
	return t
}

// NewPlainTerminal writes plain lines to w.
func NewPlainTerminal(w io.Writer) *Terminal {
	return &Terminal{w: w, width: func() int { return 0 }}
}

// Line writes a line that stays. Errors and strings among args are made
// Printable.
func (t *Terminal) Line(format string, args ...any) {
	makePrintable(args)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.erase()
	fmt.Fprintf(t.w, format+"\n", args...)
	t.draw()
}

// Fit drops columns of a line, set apart by " | ", from the right until it fits
// the terminal.
func (t *Terminal) Fit(line string) string {
	w := t.width()
	for w > 0 && utf8.RuneCountInString(line) > w {
		i := strings.LastIndex(line, " | ")
		if i < 0 {
			break
		}
		line = line[:i]
	}
	return line
}

// Wrap writes text behind an indent, broken between words where the terminal
// ends, or after 100 columns.
func (t *Terminal) Wrap(indent, text string) {
	width := 100
	if w := t.width(); w > 0 {
		width = w
	}
	line := indent
	for _, word := range strings.Fields(text) {
		if line != indent && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > width {
			t.Line("%s", line)
			line = indent
		}
		if line != indent {
			line += " "
		}
		line += word
	}
	if line != indent {
		t.Line("%s", line)
	}
}

// Status replaces the status line; "" removes it. Of lines that follow each other
// at once, only some are drawn. Errors and strings among args are made Printable.
func (t *Terminal) Status(format string, args ...any) {
	makePrintable(args)
	t.mu.Lock()
	defer t.mu.Unlock()
	text := fmt.Sprintf(format, args...)
	if text != "" && t.status != "" && time.Since(t.drawn) < calm {
		t.status = text
		return
	}
	t.erase()
	t.status = text
	t.draw()
}

func (t *Terminal) erase() {
	if t.width() > 0 && t.status != "" {
		fmt.Fprint(t.w, "\r\x1b[K")
	}
}

func (t *Terminal) draw() {
	if w := t.width(); w > 0 && t.status != "" {
		fmt.Fprint(t.w, Clip(t.status, w-1))
		t.drawn = time.Now()
	}
}

// Styled is text of this program's own, with the codes of its style.
type Styled string

// Bold, Dim, Red and Green style s where the terminal shows color.
func (t *Terminal) Bold(s string) Styled  { return t.style("1", s) }
func (t *Terminal) Dim(s string) Styled   { return t.style("2", s) }
func (t *Terminal) Red(s string) Styled   { return t.style("31", s) }
func (t *Terminal) Green(s string) Styled { return t.style("32", s) }

func (t *Terminal) style(code, s string) Styled {
	s = Printable(s)
	if !t.color {
		return Styled(s)
	}
	return Styled("\x1b[" + code + "m" + s + "\x1b[0m")
}

// Clip cuts s to at most n characters.
func Clip(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	return string([]rune(s)[:max(n, 0)])
}
