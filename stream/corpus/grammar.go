package corpus

import (
	"fmt"
	"strconv"
	"strings"
)

// grammar is grammar.txt, ready for use.
type grammar struct {
	tables map[string]*table
	binds  []bind            // in the order of the file
	vars   map[string]int    // index in binds by name
	names  []string          // of the rules, in the order of the file
	rules  map[string][]rule // alternatives by name
}

// table is a list of entries with named columns.
type table struct {
	columns []string
	entries [][]string
}

// kind says how a variable gets its value.
type kind uint8

const (
	entry  kind = iota // an entry of table
	number             // a number from low to high
	sum                // a + b
	minus              // a - b
)

// bind gives a variable its value at the start of a story.
type bind struct {
	kind      kind
	table     string
	low, high int // bounds of a number, of a sum or difference too
	a, b      int // indexes in binds
}

// rule is one alternative: parts to be written one behind the other.
type rule []part

// part is literal text, a rule to expand, or a variable's column.
type part struct {
	literal string
	rule    string
	bind    int
	column  int
	capital bool
	isVar   bool
}

// The columns of a number.
var numberColumns = []string{"word", "digits"}

// parser reads grammar.txt line by line. An entry or alternative belongs to the
// table or rule declared last.
type parser struct {
	g     *grammar
	table *table
	rule  string
}

func parseGrammar(text string) (*grammar, error) {
	p := parser{g: &grammar{tables: map[string]*table{}, vars: map[string]int{}, rules: map[string][]rule{}}}
	for n, line := range strings.Split(text, "\n") {
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if err := p.line(line); err != nil {
			return nil, fmt.Errorf("grammar line %d: %w", n+1, err)
		}
	}
	return p.g, p.g.check()
}

func (p *parser) line(line string) error {
	words := strings.Fields(line)
	switch {
	case words[0] == "table" && len(words) > 2:
		p.table, p.rule = &table{columns: words[2:]}, ""
		p.g.tables[words[1]] = p.table
		return nil
	case words[0] == "rule" && len(words) == 2:
		p.table, p.rule = nil, words[1]
		p.g.names = append(p.g.names, words[1])
		return nil
	case words[0] == "bind" && len(words) == 3:
		if p.g.tables[words[2]] == nil {
			return fmt.Errorf("no table %q", words[2])
		}
		return p.bind(words[1], bind{kind: entry, table: words[2]})
	case words[0] == "number" && len(words) == 4:
		low, errLow := strconv.Atoi(words[2])
		high, errHigh := strconv.Atoi(words[3])
		if errLow != nil || errHigh != nil {
			return fmt.Errorf("bounds %q and %q are not numbers", words[2], words[3])
		}
		return p.bind(words[1], bind{kind: number, low: low, high: high})
	case (words[0] == "sum" || words[0] == "minus") && len(words) == 4:
		return p.compute(words)
	case p.table != nil:
		return p.entry(line)
	case p.rule != "":
		return p.alternative(line)
	}
	return fmt.Errorf("cannot read %q", line)
}

func (p *parser) bind(name string, b bind) error {
	if _, twice := p.g.vars[name]; twice {
		return fmt.Errorf("variable %q is bound twice", name)
	}
	if b.low > b.high || b.low < 0 || b.high >= len(numberWords) {
		return fmt.Errorf("variable %q may be %d to %d; there are words for 0 to %d", name, b.low, b.high, len(numberWords)-1)
	}
	p.g.vars[name] = len(p.g.binds)
	p.g.binds = append(p.g.binds, b)
	p.table, p.rule = nil, ""
	return nil
}

func (p *parser) compute(words []string) error {
	a, okA := p.g.vars[words[2]]
	b, okB := p.g.vars[words[3]]
	if !okA || !okB {
		return fmt.Errorf("%s of unknown variables", words[0])
	}
	x, y := p.g.binds[a], p.g.binds[b]
	v := bind{kind: sum, a: a, b: b, low: x.low + y.low, high: x.high + y.high}
	if words[0] == "minus" {
		v.kind, v.low, v.high = minus, x.low-y.high, x.high-y.low
	}
	return p.bind(words[1], v)
}

func (p *parser) entry(line string) error {
	columns := strings.Split(line, " | ")
	if len(columns) != len(p.table.columns) {
		return fmt.Errorf("%d columns instead of %d", len(columns), len(p.table.columns))
	}
	p.table.entries = append(p.table.entries, columns)
	return nil
}

// alternative cuts a line at its <rule> and {variable} marks.
func (p *parser) alternative(line string) error {
	var r rule
	line = strings.ReplaceAll(line, " / ", "\n")
	for line != "" {
		at := strings.IndexAny(line, "<{")
		if at < 0 {
			at = len(line)
		}
		if at > 0 {
			r = append(r, part{literal: line[:at]})
			line = line[at:]
			continue
		}
		next, rest, err := p.mark(line)
		if err != nil {
			return err
		}
		r = append(r, next)
		line = rest
	}
	p.g.rules[p.rule] = append(p.g.rules[p.rule], r)
	return nil
}

// mark reads the <rule> or {variable} at the start of line.
func (p *parser) mark(line string) (next part, rest string, err error) {
	closing := ">"
	if line[0] == '{' {
		closing = "}"
	}
	inside, rest, ok := strings.Cut(line[1:], closing)
	if !ok {
		return part{}, "", fmt.Errorf("%q is not closed", line)
	}
	if line[0] == '<' {
		return part{rule: inside}, rest, nil
	}
	next, err = p.variable(inside)
	return next, rest, err
}

// variable resolves "hero", "Hero", "hero.they" or "Hero.they".
func (p *parser) variable(mark string) (part, error) {
	name, column, hasColumn := strings.Cut(mark, ".")
	at, ok := p.g.vars[strings.ToLower(name)]
	if !ok {
		return part{}, fmt.Errorf("no variable %q", name)
	}
	v := part{isVar: true, bind: at, capital: name != strings.ToLower(name)}
	if !hasColumn {
		return v, nil
	}
	columns := numberColumns
	if b := p.g.binds[at]; b.kind == entry {
		columns = p.g.tables[b.table].columns
	}
	for i, c := range columns {
		if c == column {
			v.column = i
			return v, nil
		}
	}
	return part{}, fmt.Errorf("variable %q has no column %q", name, column)
}

// check finds rules that are used but not written.
func (g *grammar) check() error {
	if len(g.rules["story"]) == 0 {
		return fmt.Errorf("grammar: no rule story")
	}
	for _, name := range g.names {
		for _, alternative := range g.rules[name] {
			for _, p := range alternative {
				if p.rule != "" && len(g.rules[p.rule]) == 0 {
					return fmt.Errorf("grammar: rule %q uses %q, which is not there", name, p.rule)
				}
			}
		}
	}
	return nil
}
