package observe

import (
	"bytes"
	"encoding/json"
	"errors"
	"testing"
)

func TestPrintable(t *testing.T) {
	for text, want := range map[string]string{
		"":                        "",
		"plain, 見る\n\tand \uFFFD": "plain, 見る\n\tand \uFFFD",
		"\x1b[2J\x00\r\x7f":       `\u001b[2J\u0000\u000d\u007f`,
		"\u009b31m\u0080":         `\u009b31m\u0080`,
		"a\x9bb\xe2\x80":          `a\x9bb\xe2\x80`,
	} {
		if got := Printable(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// TestPrintableJSON: a JSON text says the same before and after.
func TestPrintableJSON(t *testing.T) {
	text := "\x1b]0;title\x07 \u009b2J \x7f \u2028 plain \n"
	raw, err := json.Marshal(text)
	if err != nil {
		t.Fatal(err)
	}
	var back string
	if err := json.Unmarshal([]byte(Printable(string(raw))), &back); err != nil || back != text {
		t.Errorf("%q, %v", back, err)
	}
}

// TestTerminalIsNotDriven gives a terminal the text of others beside its own
// styles.
func TestTerminalIsNotDriven(t *testing.T) {
	var out bytes.Buffer
	term := &Terminal{w: &out, width: func() int { return 0 }, color: true}
	term.Line("%s %s %v", term.Bold("own"), "\x1b[2J", errors.New("server said \u009b2J"))
	if want := "\x1b[1mown\x1b[0m \\u001b[2J server said \\u009b2J\n"; out.String() != want {
		t.Errorf("%q, want %q", out.String(), want)
	}
	term.width = func() int { return 80 }
	out.Reset()
	term.Status("fetching %s", "\x1b]0;x\x07")
	if want := `fetching \u001b]0;x\u0007`; out.String() != want {
		t.Errorf("%q, want %q", out.String(), want)
	}
}
