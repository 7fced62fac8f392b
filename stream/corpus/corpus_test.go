package corpus

import (
	"fmt"
	"strings"
	"sync"
	"testing"
)

// golden is the identity of builtin/1. It may never change: another text is
// another version, with another name.
const golden = "5cb648523d9429009369d8064bff11aab0c9a2455f9636b6ca3dca8dfe5a9c63"

func TestIdentityIsGolden(t *testing.T) {
	if got := Identity().String(); got != golden {
		t.Errorf("identity of %s is %s, want %s; a changed grammar needs a new version", Name, got, golden)
	}
}

func TestRowsAreReadableAndOfOneSize(t *testing.T) {
	for row := range uint64(2000) {
		text := Text(row * (Rows / 2000))
		if n := len(strings.Fields(text)); n < 150 || n > 300 {
			t.Errorf("row %d has %d words", row, n)
		}
		if strings.ContainsAny(text, "<>{}|") || strings.Contains(text, "  ") || text != strings.TrimSpace(text) {
			t.Errorf("row %d has a mark or a stray space: %q", row, text)
		}
		for _, line := range strings.Split(text, "\n") {
			if c := line[0]; c != '"' && (c < 'A' || c > 'Z') {
				t.Errorf("row %d: a line begins with %q", row, line[:1])
			}
		}
	}
}

// TestCountsAreTrue reads the sums that the stories write.
func TestCountsAreTrue(t *testing.T) {
	sums := 0
	for row := range uint64(500) {
		for _, word := range []string{"because ", "stone: "} {
			for _, s := range strings.Split(Text(row), word)[1:] {
				var a, b, c int
				var sign rune
				if n, _ := fmt.Sscanf(s, "%d %c %d = %d", &a, &sign, &b, &c); n != 4 {
					continue
				}
				sums++
				if sign == '+' && a+b != c || sign == '-' && a-b != c {
					t.Errorf("row %d says %q", row, s[:12])
				}
			}
		}
	}
	if sums < 100 {
		t.Errorf("only %d sums in 500 rows", sums)
	}
}

func TestRowsDiffer(t *testing.T) {
	seen := map[string]uint64{}
	for row := range uint64(3000) {
		text := Text(row)
		if first, twice := seen[text]; twice {
			t.Fatalf("rows %d and %d are equal", first, row)
		}
		seen[text] = row
	}
}

func TestTextIsAPureFunction(t *testing.T) {
	want := Text(Rows - 1)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 50 {
				if Text(Rows-1) != want {
					t.Error("the last row changed")
				}
			}
		})
	}
	wg.Wait()
}

func TestTextPanicsBeyondTheEnd(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("row Rows gave a text")
		}
	}()
	Text(Rows)
}

// TestBrokenGrammars feeds the parser what must not get through.
func TestBrokenGrammars(t *testing.T) {
	const table = "table p name they\nAnna | she\nBen | he\n"
	for name, text := range map[string]string{
		"no story":             "rule other\ntext\n",
		"text before any rule": "hello there\n",
		"missing column":       "table p name they\nAnna\nrule story\nx\n",
		"unknown table":        "bind a p\nrule story\nx\n",
		"unknown variable":     table + "bind a p\nrule story\n{b}\n",
		"unknown column":       table + "bind a p\nrule story\n{a.its}\n",
		"unknown rule":         "rule story\n<other>\n",
		"mark not closed":      "rule story\n{hero\n",
		"rule not closed":      "rule story\n<other\n",
		"bound twice":          table + "bind a p\nbind a p\nrule story\nx\n",
		"bounds not numbers":   "number n one 2\nrule story\nx\n",
		"bounds reversed":      "number n 3 2\nrule story\nx\n",
		"sum without words":    "number n 1 15\nsum m n n\nrule story\nx\n",
		"difference below 0":   "number n 1 3\nminus m n n\nrule story\nx\n",
		"sum of nothing":       "sum m n n\nrule story\nx\n",
	} {
		if _, err := parseGrammar(text); err == nil {
			t.Errorf("%s: parsed", name)
		}
	}
}

func BenchmarkText(b *testing.B) {
	n := 0
	for i := 0; b.Loop(); i++ {
		n += len(Text(uint64(i % Rows)))
	}
	b.SetBytes(int64(n / b.N))
}
